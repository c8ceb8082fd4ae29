/** A nats-server that is killed, frozen, or loses what it has stored, in the middle of a job. */
import { it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { disturb } from './job.js';

it('killed and started again', async () => {
  await disturb({}, async ({ nats }) => {
    await nats.kill9();
    await nats.restart();
  });
});

it('killed, its store wiped, started again: tasks are published anew', async () => {
  await disturb({}, async ({ nats }) => {
    await nats.kill9();
    await nats.wipe();
    await nats.restart();
  });
});

it('frozen for 15 s', async () => {
  await disturb({}, async ({ nats }) => {
    nats.pause();
    await systemClock.sleep(15_000, { signal: NEVER });
    nats.resume();
  });
});
