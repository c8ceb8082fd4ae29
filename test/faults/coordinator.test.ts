/** A coordinator that is killed, frozen or stopped in the middle of a job. */
import { it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { disturb } from './job.js';

it('killed and started again: the job goes on', async () => {
  await disturb({}, async (stack) => {
    await stack.killCoordinator();
    await stack.restartCoordinator();
  });
});

it('killed three times in a row', async () => {
  await disturb({}, async (stack) => {
    for (let round = 1; round <= 3; round += 1) {
      await stack.killCoordinator();
      await stack.restartCoordinator();
      await stack.client.running('copy', 8 + 4 * round);
    }
  });
});

it('stopped in an orderly way and started again', async () => {
  await disturb({}, async (stack) => {
    await stack.restartCoordinator();
  });
});

it('frozen for longer than its lease', async () => {
  await disturb({}, async ({ coordinator }) => {
    coordinator.pause();
    await systemClock.sleep(13_000, { signal: NEVER });
    coordinator.resume();
  });
});
