/** Workers that die or freeze in the middle of a datum. */
import { it } from 'vitest';
import { until } from '../support/until.js';
import { disturb } from './job.js';

it('one of two workers is killed: the other one ends the job', async () => {
  await disturb({}, async ({ workers }) => {
    await workers[0]?.kill9();
  });
});

it('every worker is killed: a new one ends the job', async () => {
  await disturb({}, async (stack) => {
    await Promise.all(stack.workers.map((worker) => worker.kill9()));
    await stack.addWorker({ slots: 4 });
  });
});

it('a worker freezes and wakes up after others did its work: nothing counts twice', async () => {
  await disturb({ workers: 2 }, async (stack) => {
    const [first] = stack.workers;
    first?.pause();
    const [job] = await stack.client.jobs('copy');
    await until('the others get on', async () => {
      const [now] = await stack.client.jobs('copy');
      return now && now.dataProcessed >= (job?.dataProcessed ?? 0) + 10;
    });
    first?.resume();
  });
});
