/** Jobs through trouble: the end is right, the output whole, no datum counted twice. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { JobRecord } from '../../../coordinator/pipelines/index.js';
import { until } from '../../support/until.js';
import type { Code } from './queue-worker.js';
import {
  commit,
  ended,
  jobs,
  output,
  pfs,
  pipeline,
  schedulingServers,
  type SchedulingStack,
} from './stack.js';

const DATUMS = 120;
const servers = schedulingServers('each test');
let stack: SchedulingStack;
let files: Record<string, string>;

beforeEach(async () => {
  stack = await servers.stack();
  files = {};
  for (let i = 0; i < DATUMS; i += 1) files[`/f${i}`] = `content ${i}`;
  await commit(stack, 'in', files);
});

/** Copies its input after a while, so that a job takes some seconds. */
const slowly: Code = async ({ files: inputs }) => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  const out: Record<string, string> = {};
  for (const [name, text] of inputs) out[name.slice(name.indexOf(':') + 1)] = text;
  return out;
};

async function midway(): Promise<JobRecord> {
  return until('the job is midway', async () =>
    (await jobs(stack, 'copy')).find((job) => job.processed > DATUMS / 10),
  );
}

async function expectWhole(timeoutMs = 60_000): Promise<JobRecord> {
  const job = await ended(stack, 'copy', 1, timeoutMs);
  expect(job).toMatchObject({
    state: 'SUCCESS',
    reason: '',
    ...{ total: DATUMS, processed: DATUMS, skipped: 0, failed: 0 },
  });
  expect(await output(stack, job)).toEqual(files);
  expect(await jobs(stack, 'copy')).toHaveLength(1);
  return job;
}

describe('a job in trouble', () => {
  it('survives a worker that goes in the middle of its datums', async () => {
    const at = await stack.coordinator();
    const doomed = await stack.worker(at, { slots: 2, code: slowly });
    await stack.worker(at, { slots: 2, code: slowly });
    await pipeline(at, 'copy', pfs('in', '/*'));
    await midway();
    await doomed[Symbol.asyncDispose]();
    // Sooner than the queue would hand its tasks out again by itself.
    await expectWhole(20_000);
  });

  it('goes on at once when the only task in flight is lost', async () => {
    const at = await stack.coordinator();
    const doomed = await stack.worker(at, { slots: 1, code: slowly });
    const parallelismSpec = { constant: 1, coefficient: 0 };
    await pipeline(at, 'copy', pfs('in', '/*'), { parallelismSpec });
    await midway();
    await doomed[Symbol.asyncDispose]();
    await stack.worker(at, { slots: 1, code: slowly });
    // The queue by itself would wait 30 s for the lost one.
    await expectWhole(25_000);
  });

  it('is taken over from an owner that still thinks it is alive', async () => {
    const zombie = await stack.coordinator({ replica: 'same' });
    await stack.worker(zombie, { slots: 4, code: slowly });
    await pipeline(zombie, 'copy', pfs('in', '/*'));
    await midway();
    // The same replica name, as after a restart: it takes the lock at once.
    const next = await stack.coordinator({ replica: 'same' });
    await until('the new process owns the pipeline', () =>
      next.scheduler.status().owned.includes('copy'),
    );
    expect((await expectWhole()).restart).toBeGreaterThan(0);
  });

  it('goes to another coordinator when its own stops', async () => {
    const first = await stack.coordinator({ replica: 'one' });
    const second = await stack.coordinator({ replica: 'two' });
    await stack.worker(first, { slots: 2, code: slowly });
    await stack.worker(second, { slots: 2, code: slowly });
    await pipeline(first, 'copy', pfs('in', '/*'));
    await midway();
    const owner = first.scheduler.status().owned.length > 0 ? first : second;
    await owner[Symbol.asyncDispose]();
    await expectWhole();
  });

  it('survives a killed nats-server', async () => {
    const at = await stack.coordinator();
    await stack.worker(at, { slots: 4, code: slowly });
    await pipeline(at, 'copy', pfs('in', '/*'));
    await midway();
    await servers.nats.kill9();
    await servers.nats.restart();
    await expectWhole();
  });

  it('survives a nats-server that lost everything', async () => {
    const at = await stack.coordinator();
    await stack.worker(at, { slots: 4, code: slowly });
    await pipeline(at, 'copy', pfs('in', '/*'));
    await midway();
    await servers.nats.kill9();
    await servers.nats.wipe();
    await servers.nats.restart();
    await expectWhole();
  });

  it('survives etcd standing still for longer than a lease', async () => {
    const at = await stack.coordinator();
    await stack.worker(at, { slots: 4, code: slowly });
    await pipeline(at, 'copy', pfs('in', '/*'));
    await midway();
    servers.etcd.pause();
    await new Promise((resolve) => setTimeout(resolve, 13_000));
    servers.etcd.resume();
    await expectWhole();
  });
});
