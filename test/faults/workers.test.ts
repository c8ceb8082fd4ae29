/** Workers that die or freeze in the middle of a datum. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startStack } from '../support/stack.js';
import { until } from '../support/until.js';
import { endsOf } from './history.js';
import { disturb, expectUndisturbed, inputs, slowCopy } from './job.js';

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

it('the only worker freezes: it is given up, and a new one ends the job', async () => {
  await disturb({ workers: 1, slots: 4 }, async (stack) => {
    const [frozen] = stack.workers;
    frozen?.pause();
    await stack.addWorker({ slots: 4 });
    const log = join(stack.dir, 'coordinator.json');
    await until('it is given up', () => readFileSync(log, 'utf8').includes('worker left'));
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

it('one worker after the other is killed while another one joins: nothing counts twice', async () => {
  await disturb({ workers: 3 }, async (stack) => {
    for (let round = 1; round <= 6; round += 1) {
      const [job] = await stack.client.jobs('copy');
      if (job && job.dataProcessed === job.dataTotal) break;
      await stack.workers[round - 1]?.kill9();
      await stack.addWorker({ slots: 2 });
      await stack.client.running('copy', 8 + 2 * round);
    }
  });
});

it('twenty workers are killed one by one: every datum counts once, the output is whole', async () => {
  const datums = 280;
  await using stack = await startStack({ workers: 0 });
  const { client } = stack;
  for (let i = 0; i < 20; i += 1) await stack.addWorker({ slots: 1 });
  const log = join(stack.dir, 'coordinator.json');
  const joined = (): number => readFileSync(log, 'utf8').split('"worker joined"').length - 1;
  await until('they have joined', () => joined() === 20, 120_000);
  await client.createRepo('in');
  await client.put('in', inputs(datums));
  await client.createPipeline(slowCopy('copy', 'in', 2, 20));
  let done = 0;
  for (const [at, worker] of [...stack.workers].entries()) {
    const job = await client.running('copy', done + 3);
    done = job.dataProcessed;
    expect({ at, left: job.dataTotal > done }).toEqual({ at, left: true });
    await worker.kill9();
    // Who comes to help shall not be killed too.
    if (at === 17) await stack.addWorker({ slots: 16 });
  }
  await expectUndisturbed(stack, datums);
  const ends = await endsOf(stack.etcd.url, 'copy');
  expect(Object.values(ends)).toEqual([1, 1]);
});
