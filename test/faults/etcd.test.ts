/** An etcd that is stopped, killed or frozen for 10 s in the middle of a job. */
import { it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { disturb } from './job.js';

const AWAY_MS = 10_000;

it('stopped for 10 s', async () => {
  await disturb({}, async ({ etcd }) => {
    await etcd.stop();
    await systemClock.sleep(AWAY_MS, { signal: NEVER });
    await etcd.restart();
  });
});

it('killed and started again after 10 s', async () => {
  await disturb({}, async ({ etcd }) => {
    await etcd.kill9();
    await systemClock.sleep(AWAY_MS, { signal: NEVER });
    await etcd.restart();
  });
});

it('frozen for 10 s', async () => {
  await disturb({}, async ({ etcd }) => {
    etcd.pause();
    await systemClock.sleep(AWAY_MS, { signal: NEVER });
    etcd.resume();
  });
});
