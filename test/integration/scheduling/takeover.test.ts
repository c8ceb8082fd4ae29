/** Owners and workers that go at the worst moments: the next one ends the job, nothing counts twice. */
import { beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../../core/clock.js';
import { silentLog } from '../../../core/log.js';
import { abortable } from '../../../core/signals.js';
import type { JobRecord } from '../../../coordinator/pipelines/index.js';
import { Storage, type ObjectStore } from '../../../storage/index.js';
import { until } from '../../support/until.js';
import type { QueueWorker, QueueWorkerOptions } from './queue-worker.js';
import {
  commit,
  copy,
  ended,
  jobs,
  output,
  pfs,
  pipeline,
  schedulingServers,
  type SchedulingStack,
} from './stack.js';

const servers = schedulingServers();
let stack: SchedulingStack;
let files: Record<string, string>;

beforeEach(async () => {
  stack = await servers.stack();
});

async function fill(count: number): Promise<void> {
  files = {};
  for (let i = 0; i < count; i += 1) files[`/d${i % 10}/f${i}`] = `content ${i}`;
  await commit(stack, 'in', files);
}

/** A store of which some puts do not come to an end. */
class Held {
  /** Puts of these kinds wait; `after` of them pass first. */
  kind: string | undefined;
  after = 0;
  waiting = 0;
  readonly storage: Storage;

  constructor(objects: ObjectStore) {
    const hold = (key: string): boolean => {
      if (this.kind === undefined || !key.startsWith(`${this.kind}/`)) return false;
      this.after -= 1;
      return this.after < 0;
    };
    const held: ObjectStore = {
      place: objects.place,
      counts: objects.counts,
      put: async (key, bytes, options) => {
        if (hold(key)) {
          this.waiting += 1;
          await abortable(new Promise(() => undefined), options.signal);
        }
        return objects.put(key, bytes, options);
      },
      get: (key, options) => objects.get(key, options),
      head: (key, options) => objects.head(key, options),
      list: (prefix, options) => objects.list(prefix, options),
      delete: (keys, options) => objects.delete(keys, options),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
    this.storage = new Storage(held, { epoch: 1, log: silentLog, clock: systemClock });
  }
}

async function jobIs(what: string, holds: (job: JobRecord) => boolean): Promise<JobRecord> {
  return until(`the job ${what}`, async () => (await jobs(stack, 'copy')).find(holds));
}

/** The only job: every datum counted once, the output whole. */
async function expectWhole(): Promise<JobRecord> {
  const job = await ended(stack, 'copy', 1, 60_000);
  const total = Object.keys(files).length;
  const counts = { total, processed: total, skipped: 0, failed: 0, recovered: 0 };
  expect(job).toMatchObject({ state: 'SUCCESS', reason: '', ...counts });
  expect(await output(stack, job)).toEqual(files);
  expect(await jobs(stack, 'copy')).toHaveLength(1);
  return job;
}

const parallelismSpec = { constant: 4, coefficient: 0 };

describe('an owner that is gone', () => {
  it('while it writes down the datums: the next one begins anew', async () => {
    await fill(40);
    const held = new Held(stack.base.storage.objects);
    held.kind = 'blob';
    const first = await stack.coordinator({ replica: 'one', storage: held.storage });
    await pipeline(first, 'copy', pfs('in', '/*/*'), { parallelismSpec });
    await until('the plan is held up', () => held.waiting > 0);
    expect(await jobIs('has begun', () => true)).toMatchObject({ state: 'STARTING' });
    const second = await stack.coordinator({ replica: 'two' });
    const worker = await stack.worker(second, { slots: 4, code: copy });
    await first[Symbol.asyncDispose]();
    await expectWhole();
    expect(worker.ran).toHaveLength(40);
  });

  it('after a part of the plan was put to work: the next one adds the rest', async () => {
    await fill(2_200);
    const held = new Held(stack.base.storage.objects);
    const first = await stack.coordinator({
      ...{ replica: 'one', storage: held.storage, earlyFrom: 100 },
    });
    // The spec of the job, four segments and the partial plan itself.
    held.kind = 'blob';
    held.after = 6;
    await pipeline(first, 'copy', pfs('in', '/*/*'), { parallelismSpec });
    const worker = await stack.worker(first, { slots: 4, code: copy });
    await jobIs('is partly planned', (job) => job.plan !== undefined && held.waiting > 0);
    await until('datums run', () => worker.ran.length > 20);
    const second = await stack.coordinator({ replica: 'two' });
    await first[Symbol.asyncDispose]();
    const other = await stack.worker(second, { slots: 4, code: copy });
    expect((await expectWhole()).restart).toBeGreaterThan(0);
    // Only what was in flight runs twice.
    const ran = worker.ran.length + other.ran.length;
    expect(ran).toBeLessThan(2_200 + 8 * 32);
  });

  it('between the last result and the end of the job: no datum runs again', async () => {
    await fill(40);
    const held = new Held(stack.base.storage.objects);
    const first = await stack.coordinator({ replica: 'one', storage: held.storage });
    await pipeline(first, 'copy', pfs('in', '/*/*'), { parallelismSpec });
    await jobIs('is planned', (job) => job.plan !== undefined);
    held.kind = 'page';
    const worker = await stack.worker(first, { slots: 4, code: copy });
    await jobIs('merges', (job) => job.state === 'MERGING' && held.waiting > 0);
    await stack.coordinator({ replica: 'two' });
    await first[Symbol.asyncDispose]();
    await expectWhole();
    expect(worker.ran).toHaveLength(40);
  });
});

describe('a worker that is gone', () => {
  const forever = (): Promise<void> => new Promise(() => undefined);

  /** The first worker stands still at its first task until it is killed; another one does the rest. */
  async function lostAt(point: 'stored' | 'told'): Promise<QueueWorker> {
    await fill(40);
    const at = await stack.coordinator();
    let stands = 0;
    const stand: QueueWorkerOptions['at'] = (where) => {
      if (where !== point) return undefined;
      stands += 1;
      return forever();
    };
    const first = await stack.worker(at, { slots: 1, code: copy, at: stand });
    await pipeline(at, 'copy', pfs('in', '/*/*'), { parallelismSpec });
    await until('the worker stands still', () => stands > 0);
    const second = await stack.worker(at, { slots: 4, code: copy });
    await first[Symbol.asyncDispose]();
    return second;
  }

  it('after it stored its outputs, before it said so: they are made again', async () => {
    const second = await lostAt('stored');
    await expectWhole();
    expect(second.ran).toHaveLength(40);
  });

  it('after it said so, before its task was taken off the queue: nothing counts twice', async () => {
    const second = await lostAt('told');
    await expectWhole();
    expect(second.ran.length).toBeGreaterThanOrEqual(39);
  });
});
