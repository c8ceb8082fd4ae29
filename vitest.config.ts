import { defineConfig } from 'vitest/config';

/** Unit tests live beside the code; everything under test/ needs real servers. */
export default defineConfig({
  test: {
    include: [
      '{core,proto,storage,http,queue,coordinator,worker,cli}/**/*.test.ts',
      'test/tidy.test.ts',
    ],
    testTimeout: 20_000,
    pool: 'forks',
  },
});
