/** A nats-server that is killed, frozen, or loses what it has stored, in the middle of a job. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { CreatePipelineRequest } from '../../proto/generated/pps.js';
import { countsOf } from '../support/stack-client.js';
import { startStack } from '../support/stack.js';
import { disturb, inputs } from './job.js';

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

it('killed every 3 s while ten thousand datums run: each counts once', async () => {
  const count = 10_000;
  const all = inputs(count);
  await using stack = await startStack({ workers: 2, slots: 4 });
  const { client, nats } = stack;
  await client.createRepo('in');
  await client.put('in', all);
  // One process per slot for all datums: it is the queue that is to be kept busy, not the machine.
  const helper = readFileSync(
    join(import.meta.dirname, '../../examples/warm/tusk_warm.py'),
    'utf8',
  );
  const handle = [
    'import shutil, time',
    '@serve',
    'def handle(datum):',
    '    time.sleep(0.01)',
    '    shutil.copy(datum.env["in"], "/pfs/out/")',
    '    shutil.copy(datum.env["in"], "/pfs/out/all")',
  ];
  await client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name: 'copy' },
      transform: { cmd: ['python3', '-c', `${helper}\n${handle.join('\n')}`], datumBatching: true },
      parallelismSpec: { constant: 8 },
      input: { pfs: { repo: 'in', branch: 'master', glob: '/*', name: 'in' } },
    }),
  );
  await client.running('copy', 0);
  let kills = 0;
  const over = new AbortController();
  const killing = (async () => {
    while (!over.signal.aborted) {
      await nats.kill9();
      await nats.restart();
      kills += 1;
      await systemClock.sleep(3_000, over).catch(() => undefined);
    }
  })();
  const job = await client.ended('copy', 1, 200_000);
  over.abort();
  await killing;
  expect(kills).toBeGreaterThan(3);
  expect({ ...countsOf(job), reason: job.reason }).toEqual({
    ...{ state: 'JOB_SUCCESS', reason: '', processed: count, skipped: 0, failed: 0 },
    ...{ recovered: 0, total: count },
  });
  // What all datums wrote to one file is joined in their order: each one is there, once.
  const { stdout } = await stack.tusk(['get', 'file', 'copy@master:/all']);
  expect(stdout).toBe(Object.values(all).join(''));
  expect(await client.list('copy', 'master')).toEqual(['/all', ...Object.keys(all)].sort());
  expect((await stack.tusk(['get', 'file', 'copy@master:/f9999'])).stdout).toBe(all['/f9999']);
});
