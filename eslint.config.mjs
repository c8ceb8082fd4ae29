// Typed rules that catch the mistakes this kind of code makes, and the house's import directions.
import tseslint from 'typescript-eslint';

/** folder → folders it must not import (docs/architecture.md has the table). */
const never = {
  core: ['proto', 'storage', 'http', 'queue', 'coordinator', 'worker', 'cli'],
  proto: ['storage', 'http', 'queue', 'coordinator', 'worker', 'cli'],
  storage: ['proto', 'http', 'queue', 'coordinator', 'worker', 'cli'],
  http: ['proto', 'queue', 'coordinator', 'worker', 'cli'],
  queue: ['proto', 'storage', 'http', 'coordinator', 'worker', 'cli'],
  coordinator: ['worker', 'cli'],
  worker: ['coordinator', 'cli'],
  cli: ['storage', 'http', 'queue', 'coordinator', 'worker'],
};

/** package → the only places that may import it. */
const homes = {
  etcd3: ['coordinator/meta/'],
  nats: ['queue/'],
  '@aws-sdk/client-s3': ['storage/s3-'],
  '@grpc/grpc-js': [
    'proto/',
    'coordinator/rpc/',
    'coordinator/server',
    'coordinator/main',
    'worker/join',
    'cli/',
  ],
};

const folders = Object.entries(never).map(([folder, banned]) => ({
  files: [`${folder}/**/*.ts`],
  ignores: ['**/*.test.ts'],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            regex: `^(\\.\\./)+(${[...banned, 'test', 'bench', 'examples'].join('|')})/`,
            message: `${folder}/ may not import this folder; see docs/architecture.md`,
          },
        ],
        paths: Object.entries(homes)
          .filter(([, places]) => !places.some((place) => place.startsWith(`${folder}/`)))
          .map(([name]) => ({ name, message: `${name} has one home; see eslint.config.mjs` })),
      },
    ],
  },
}));

export default tseslint.config(
  { ignores: ['dist/', 'node_modules/', 'proto/generated/', 'examples/*/data/', 'coverage/'] },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { project: './tsconfig.json' } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/ban-ts-comment': 'error',
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
      'no-var': 'error',
      'prefer-const': 'error',
    },
  },
  ...folders,
  {
    files: [
      'test/**/*.ts',
      'bench/**/*.ts',
      'examples/**/*.ts',
      'cli/**/*.ts',
      '*/main.ts',
      '*/*-main.ts',
    ],
    rules: { 'no-console': 'off' },
  },
);
