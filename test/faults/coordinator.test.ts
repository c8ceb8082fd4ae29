/** A coordinator that is killed, frozen or stopped in the middle of a job. */
import { expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { CreatePipelineRequest } from '../../proto/generated/pps.js';
import { countsOf } from '../support/stack-client.js';
import { startStack } from '../support/stack.js';
import { until } from '../support/until.js';
import { endsOf } from './history.js';
import { DATUMS, disturb, expectedOutput, inputs, slowCopy } from './job.js';

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

it('frozen for a minute while another one takes over: every commit is finished once', async () => {
  await using stack = await startStack({ workers: 0 });
  await stack.client.createRepo('in');
  await stack.client.put('in', inputs(DATUMS));
  // It is alone, so the pipeline is its own.
  await stack.client.createPipeline(slowCopy('copy', 'in', 0.5));
  const other = await stack.addCoordinator();
  const join = `${other.address},${stack.address}`;
  for (let i = 0; i < 2; i += 1) await stack.addWorker({ slots: 2, join });
  await stack.client.running('copy', 8);
  stack.coordinator.pause();
  const thawed = systemClock.sleep(60_000, { signal: NEVER });
  await other.client.put('in', inputs(4, DATUMS));
  expect((await other.client.ended('copy')).restart).toBeGreaterThan(0);
  await other.client.ended('copy', 2);
  await thawed;
  stack.coordinator.resume();
  await until('it takes a commit', () =>
    stack.client.put('in', inputs(4, DATUMS + 4)).then(() => true),
  );
  const totals = [DATUMS, DATUMS + 4, DATUMS + 8];
  for (const [at, total] of totals.entries()) {
    const job = await stack.client.ended('copy', at + 1);
    const skipped = totals[at - 1] ?? 0;
    expect({ ...countsOf(job), reason: job.reason }).toEqual({
      ...{ state: 'JOB_SUCCESS', reason: '', processed: total - skipped, skipped, failed: 0 },
      ...{ recovered: 0, total },
    });
    const commit = job.outputCommit?.id ?? '';
    expect(await stack.client.files('copy', commit)).toEqual(expectedOutput(total));
  }
  expect(await stack.client.jobs('copy')).toEqual(await other.client.jobs('copy'));
  const ends = await endsOf(stack.etcd.url, 'copy');
  expect(Object.keys(ends)).toHaveLength(6);
  expect(new Set(Object.values(ends))).toEqual(new Set([1]));
});

it('killed while three jobs run at once: they end in order, nothing runs twice', async () => {
  await using stack = await startStack({ workers: 2, slots: 2 });
  const { client } = stack;
  await client.createRepo('in');
  const request = slowCopy('copy', 'in', 0);
  const stdin = ['if [ -e /pfs/in/f0000 ]; then sleep 8; fi', ...(request.transform?.stdin ?? [])];
  const transform = { ...request.transform, stdin };
  await client.createPipeline(CreatePipelineRequest.fromPartial({ ...request, transform }));
  for (let i = 0; i < 3; i += 1) await client.put('in', inputs(1, i));
  await client.running('copy', 1, 2);
  await client.running('copy', 1, 3);
  await stack.killCoordinator();
  await stack.restartCoordinator();
  for (let i = 0; i < 3; i += 1) {
    const job = await client.ended('copy', i + 1);
    expect({ ...countsOf(job), reason: job.reason }).toEqual({
      ...{ state: 'JOB_SUCCESS', reason: '', processed: 1, skipped: i, failed: 0 },
      ...{ recovered: 0, total: i + 1 },
    });
    expect(job.restart).toBeGreaterThan(0);
    expect(await client.files('copy', job.outputCommit?.id ?? '')).toEqual(expectedOutput(i + 1));
  }
});
