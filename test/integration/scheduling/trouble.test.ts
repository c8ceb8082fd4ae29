/** Jobs whose owner or workers go: the end is right, the output whole, no datum counted twice. */
import { beforeEach, describe, expect, it } from 'vitest';
import { until } from '../../support/until.js';
import { slowly, SlowJob } from './slow-job.js';
import { pfs, pipeline, schedulingServers, type SchedulingStack } from './stack.js';

const servers = schedulingServers('each test');
let stack: SchedulingStack;
let job: SlowJob;

beforeEach(async () => {
  stack = await servers.stack();
  job = await SlowJob.prepare(stack);
});

describe('a job in trouble', () => {
  it('survives a worker that goes in the middle of its datums', async () => {
    const at = await stack.coordinator();
    const doomed = await stack.worker(at, { slots: 2, code: slowly });
    await stack.worker(at, { slots: 2, code: slowly });
    await pipeline(at, 'copy', pfs('in', '/*'));
    await job.midway();
    await doomed[Symbol.asyncDispose]();
    // Sooner than the queue would hand its tasks out again by itself.
    await job.expectWhole(20_000);
  });

  it('goes on at once when the only task in flight is lost', async () => {
    const at = await stack.coordinator();
    const doomed = await stack.worker(at, { slots: 1, code: slowly });
    const parallelismSpec = { constant: 1, coefficient: 0 };
    await pipeline(at, 'copy', pfs('in', '/*'), { parallelismSpec });
    await job.midway();
    await doomed[Symbol.asyncDispose]();
    await stack.worker(at, { slots: 1, code: slowly });
    // The queue by itself would wait 30 s for the lost one.
    await job.expectWhole(25_000);
  });

  it('is taken over from an owner that still thinks it is alive', async () => {
    const zombie = await stack.coordinator({ replica: 'same' });
    await stack.worker(zombie, { slots: 4, code: slowly });
    await pipeline(zombie, 'copy', pfs('in', '/*'));
    await job.midway();
    // The same replica name, as after a restart: it takes the lock at once.
    const next = await stack.coordinator({ replica: 'same' });
    await until('the new process owns the pipeline', () =>
      next.scheduler.status().owned.includes('copy'),
    );
    expect((await job.expectWhole()).restart).toBeGreaterThan(0);
  });

  it('goes to another coordinator when its own stops', async () => {
    const first = await stack.coordinator({ replica: 'one' });
    const second = await stack.coordinator({ replica: 'two' });
    await stack.worker(first, { slots: 2, code: slowly });
    await stack.worker(second, { slots: 2, code: slowly });
    await pipeline(first, 'copy', pfs('in', '/*'));
    await job.midway();
    const owner = first.scheduler.status().owned.length > 0 ? first : second;
    await owner[Symbol.asyncDispose]();
    await job.expectWhole();
  });
});
