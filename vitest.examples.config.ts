import { defineConfig } from 'vitest/config';

/** The tutorials and clients in examples/: one at a time, each on a stack of its own. */
export default defineConfig({
  test: {
    include: ['test/examples/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 1,
    fileParallelism: false,
  },
});
