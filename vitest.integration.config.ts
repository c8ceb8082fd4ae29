import { defineConfig } from 'vitest/config';

/** Tests on real servers: etcd, nats-server, S3, our own processes. Few at a time: two cores. */
export default defineConfig({
  test: {
    include: ['test/integration/**/*.test.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
    pool: 'forks',
    // Commands run on the host: no registry is asked for the images that specs name.
    env: { TUSK_CONTAINER_ENGINE: 'none' },
    // Real servers on two cores: a test that fails runs once more, and counts if it fails again.
    retry: 1,
    maxWorkers: 2,
    globalSetup: ['test/support/global-setup.ts'],
  },
});
