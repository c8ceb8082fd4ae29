import { defineConfig } from 'vitest/config';

/** Servers and processes are killed, stopped and cut off; one at a time, they need the machine. */
export default defineConfig({
  test: {
    include: ['test/faults/**/*.test.ts'],
    testTimeout: 300_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // Commands run on the host: no registry is asked for the images that specs name.
    env: { TUSK_CONTAINER_ENGINE: 'none' },
    // Real servers on two cores: a test that fails runs once more, and counts if it fails again.
    retry: 1,
    maxWorkers: 1,
    fileParallelism: false,
    globalSetup: ['test/support/global-setup.ts'],
  },
});
