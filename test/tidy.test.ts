/**
 * House style as a test (docs/architecture.md): import directions, banned calls, file length.
 * Lint checks most of it while you type; this reads the files themselves and can not be disabled
 * by a comment.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const FOLDERS = [
  'core',
  'proto',
  'storage',
  'http',
  'queue',
  'coordinator',
  'worker',
  'cli',
] as const;

const ALLOWED: Record<(typeof FOLDERS)[number], readonly string[]> = {
  core: [],
  proto: ['core'],
  storage: ['core'],
  http: ['core', 'storage'],
  queue: ['core'],
  coordinator: ['core', 'proto', 'storage', 'http', 'queue'],
  worker: ['core', 'proto', 'storage', 'http', 'queue'],
  cli: ['core', 'proto'],
};

interface Source {
  readonly file: string;
  readonly text: string;
  readonly test: boolean;
}

function sources(folder: string): Source[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)))
    .filter((file) => !file.startsWith('proto/generated/'))
    .map((file) => ({
      file,
      text: readFileSync(join(ROOT, file), 'utf8'),
      test: file.endsWith('.test.ts') || file.endsWith('.contract.ts'),
    }));
}

const all = FOLDERS.flatMap((folder) => sources(folder));

/** call → files that may use it (they are where the thing lives). */
const BANNED: readonly { what: RegExp; but: RegExp; instead: string }[] = [
  {
    what: /\bDate\.now\(|\bnew Date\(\)/,
    but: /^(core\/clock|proto\/streams|cli\/)/,
    instead: 'a Clock',
  },
  { what: /\bMath\.random\b/, but: /^core\/retry/, instead: 'an injected random source' },
  {
    what: /\bconsole\./,
    but: /^cli\/|main\.ts$/,
    instead: 'a Log',
  },
  {
    what: /\bprocess\.env\b/,
    but: /^cli\/|main\.ts$|config\.ts$/,
    instead: 'the config module',
  },
  { what: /\bprocess\.exit\(/, but: /main\.ts$/, instead: 'process.exitCode' },
  { what: /\bas any\b|@ts-ignore|@ts-nocheck/, but: /^$/, instead: 'a real type' },
];

describe('tidy', () => {
  it('keeps import directions', () => {
    const bad = all
      .filter((source) => !source.test)
      .flatMap(({ file, text }) => {
        const own = file.split('/')[0] as (typeof FOLDERS)[number];
        return [...text.matchAll(/from '((?:\.\.?\/)[^']+)'/g)]
          .map((match) => relative(ROOT, join(ROOT, file, '..', match[1] as string)))
          .map((target) => target.split('/')[0] as string)
          .filter((folder) => folder !== own && !ALLOWED[own].includes(folder))
          .map((folder) => `${file} imports ${folder}/`);
      });
    expect(bad).toEqual([]);
  });

  it('uses no banned calls', () => {
    const bad = all
      .filter((source) => !source.test)
      .flatMap(({ file, text }) =>
        BANNED.filter(({ what, but }) => what.test(text) && !but.test(file)).map(
          ({ what, instead }) => `${file}: ${String(what)}; use ${instead}`,
        ),
      );
    expect(bad).toEqual([]);
  });

  it('keeps files short enough to read', () => {
    const long = all.filter(({ text }) => text.split('\n').length > 501).map(({ file }) => file);
    expect(long).toEqual([]);
  });

  it('has no skipped or focused tests', () => {
    const bad = [...all, ...sources('test')]
      .filter(({ text }) => /\b(?:it|test|describe)\.(?:skip|only|todo)\b/.test(text))
      .map(({ file }) => file)
      .filter((file) => file !== 'test/tidy.test.ts');
    expect(bad).toEqual([]);
  });
});
