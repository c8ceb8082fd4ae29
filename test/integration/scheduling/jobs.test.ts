/** Jobs from commit to output, on real etcd, NATS and a directory store. */
import { beforeEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../core/signals.js';
import { until } from '../../support/until.js';
import { RecoveredError, type Code } from './queue-worker.js';
import {
  commit,
  datums,
  ended,
  jobs,
  logs,
  none,
  output,
  pfs,
  pipeline,
  remove,
  schedulingServers,
  type Coordinator,
  type SchedulingStack,
} from './stack.js';

const wait = { signal: NEVER };
const servers = schedulingServers();
let stack: SchedulingStack;
let at: Coordinator;

beforeEach(async () => {
  stack = await servers.stack();
  at = await stack.coordinator();
});

/** Writes each input file in capitals under its own path. */
const capitals: Code = ({ files, log }) => {
  const out: Record<string, string> = {};
  for (const [name, text] of files) {
    log(`reading ${name}`);
    out[name.slice(name.indexOf(':') + 1)] = text.toUpperCase();
  }
  return out;
};

describe('a job', () => {
  it('processes every datum once and shows output, datums, counters and logs', async () => {
    await stack.worker(at, { slots: 4, code: capitals });
    await commit(stack, 'in', { '/a': 'one', '/b': 'two', '/c/d': 'three' });
    await pipeline(at, 'up', pfs('in', '/*'));
    const job = await ended(stack, 'up', 1);
    expect(job).toMatchObject({ state: 'SUCCESS', total: 3, processed: 3, skipped: 0, reason: '' });
    expect(await output(stack, job)).toEqual({ '/a': 'ONE', '/b': 'TWO' });
    const rows = await datums(at, job);
    expect(rows.map((row) => row.state)).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS']);
    expect(rows.flatMap((row) => row.files.map((file) => file.path))).toEqual(['/a', '/b', '/c']);
    expect((await logs(at, { pipeline: 'up', job: job.id })).sort()).toEqual([
      'reading in:/a',
      'reading in:/b',
    ]);
    const [first] = rows;
    expect(await logs(at, { pipeline: 'up', datum: first?.id ?? '' })).toEqual(['reading in:/a']);
    expect(await logs(at, { pipeline: 'up', filters: ['/b'] })).toEqual([]);
    expect((await logs(at, { pipeline: 'up', master: true })).length).toBeGreaterThan(0);
  });

  it('runs only what is new or changed, and drops what is gone', async () => {
    const worker = await stack.worker(at, { slots: 4, code: capitals });
    await commit(stack, 'in', { '/a': 'one', '/b': 'two', '/c': 'three' });
    await pipeline(at, 'up', pfs('in', '/*'));
    await ended(stack, 'up', 1);
    worker.ran.length = 0;

    await commit(stack, 'in', { '/d': 'four' });
    const second = await ended(stack, 'up', 2);
    expect(second).toMatchObject({ state: 'SUCCESS', total: 4, processed: 1, skipped: 3 });
    expect(worker.ran).toEqual(['/d']);

    await commit(stack, 'in', { '/a': 'uno' });
    const third = await ended(stack, 'up', 3);
    expect(third).toMatchObject({ processed: 1, skipped: 3 });

    await remove(stack, 'in', '/b');
    const fourth = await ended(stack, 'up', 4);
    expect(fourth).toMatchObject({ total: 3, processed: 0, skipped: 3 });
    expect(await output(stack, fourth)).toEqual({ '/a': 'UNO', '/c': 'THREE', '/d': 'FOUR' });
    expect((await datums(at, fourth)).map((row) => row.state)).toEqual(Array(3).fill('SKIPPED'));

    await commit(stack, 'in', { '/a': 'one', '/b': 'two' });
    const fifth = await ended(stack, 'up', 5);
    expect(fifth).toMatchObject({ total: 4, processed: 0, skipped: 4 });
    expect(worker.ran).toEqual(['/d', '/a']);
    expect((await output(stack, fifth))['/a']).toBe('ONE');
  });

  it('joins what several datums write to one path in datum order', async () => {
    const code: Code = ({ files }) => ({ '/all': [...files.values()].join('') });
    await stack.worker(at, { slots: 4, code });
    await commit(stack, 'in', { '/a': 'a', '/b': 'b', '/c': 'c' });
    await pipeline(at, 'all', pfs('in', '/*'));
    expect(await output(stack, await ended(stack, 'all', 1))).toEqual({ '/all': 'abc' });
    await commit(stack, 'in', { '/aa': 'x' });
    await remove(stack, 'in', '/b');
    expect(await output(stack, await ended(stack, 'all', 2))).toEqual({ '/all': 'axbc' });
    expect(await output(stack, await ended(stack, 'all', 3))).toEqual({ '/all': 'axc' });
  });

  it('fails with a reason, fails what depends on it, and reuses what worked', async () => {
    let broken = true;
    const code: Code = (input) => {
      if (broken && input.files.has('in:/b')) throw new Error('exit status 3: no such luck');
      return capitals(input);
    };
    const worker = await stack.worker(at, { slots: 2, code });
    await pipeline(at, 'up', pfs('in', '/*'));
    await pipeline(at, 'next', pfs('up', '/*'));
    await commit(stack, 'in', { '/a': 'one', '/b': 'two' });
    const failed = await ended(stack, 'up', 1);
    expect(failed).toMatchObject({ state: 'FAILURE', processed: 1, failed: 1 });
    expect(failed.reason).toMatch(/^failed to process datum: [0-9a-f]{64} \(in:\/b\): exit status/);
    expect((await datums(at, failed)).map((row) => row.state)).toEqual(['FAILED', 'SUCCESS']);
    const after = await ended(stack, 'next', 1);
    expect(after).toMatchObject({ state: 'FAILURE', reason: 'inputs up failed' });
    broken = false;
    worker.ran.length = 0;
    await commit(stack, 'in', { '/c': 'three' });
    const fixed = await ended(stack, 'up', 2);
    expect(fixed).toMatchObject({ state: 'SUCCESS', processed: 2, skipped: 1 });
    expect((await ended(stack, 'next', 2)).state).toBe('SUCCESS');
    expect(await output(stack, fixed)).toEqual({ '/a': 'ONE', '/b': 'TWO', '/c': 'THREE' });
  });

  it('counts recovered datums, and runs them again next time', async () => {
    const code: Code = () => {
      throw new RecoveredError('handled');
    };
    await stack.worker(at, { slots: 1, code });
    await commit(stack, 'in', { '/a': 'one' });
    await pipeline(at, 'up', pfs('in', '/*'));
    expect(await ended(stack, 'up', 1)).toMatchObject({ state: 'SUCCESS', recovered: 1 });
    await commit(stack, 'in', { '/b': 'two' });
    expect(await ended(stack, 'up', 2)).toMatchObject({ recovered: 2, skipped: 0 });
  });

  it('succeeds at once without datums; `/` on its output finds nothing', async () => {
    const cross = [pfs('in', '/*.none'), { ...pfs('in', '/') }];
    if (cross[1]?.pfs) cross[1].pfs.name = 'whole';
    await pipeline(at, 'up', { ...none(), cross });
    await pipeline(at, 'next', pfs('up', '/'));
    await commit(stack, 'in', { '/a': 'one' });
    expect(await ended(stack, 'up', 1)).toMatchObject({ state: 'SUCCESS', total: 0 });
    expect(await ended(stack, 'next', 1)).toMatchObject({ state: 'SUCCESS', total: 0 });
  });

  it('says that it waits for workers, and goes on when one joins', async () => {
    await commit(stack, 'in', { '/a': 'one' });
    await pipeline(at, 'up', pfs('in', '/*'));
    await until('the job says why', async () =>
      (await jobs(stack, 'up'))[0]?.reason.startsWith('waiting for workers'),
    );
    await stack.worker(at, { slots: 1, code: capitals });
    expect(await ended(stack, 'up', 1)).toMatchObject({ state: 'SUCCESS', reason: '' });
  });

  it('fails when two datums disagree whether a path is a file', async () => {
    const code: Code = ({ files }) => {
      const path = files.has('in:/a') ? '/x' : '/x/y';
      return { [path]: 'a file' };
    };
    await stack.worker(at, { slots: 2, code });
    await commit(stack, 'in', { '/a': 'one', '/b': 'two' });
    await pipeline(at, 'up', pfs('in', '/*'));
    expect(await ended(stack, 'up', 1)).toMatchObject({
      state: 'FAILURE',
      reason: 'could not merge path "/x" which is a different type in different hashtrees',
    });
  });

  it('ends when its time is up', async () => {
    await stack.worker(at, { slots: 1, code: ({ signal }) => untilAborted(signal) });
    await commit(stack, 'in', { '/a': 'one' });
    const jobTimeout = { seconds: 1, nanos: 0 };
    await pipeline(at, 'up', pfs('in', '/*'), { jobTimeout });
    expect(await ended(stack, 'up', 1)).toMatchObject({ state: 'KILLED', reason: 'job timed out' });
  });

  it('goes on with the new spec after an update, and reuses what did not change', async () => {
    const worker = await stack.worker(at, { slots: 2, code: capitals });
    await commit(stack, 'in', { '/a': 'one', '/b': 'two' });
    await pipeline(at, 'up', pfs('in', '/*'));
    await ended(stack, 'up', 1);
    await pipeline(at, 'up', pfs('in', '/*'), { update: true, description: 'changed' });
    expect(await ended(stack, 'up', 2)).toMatchObject({ version: 2, skipped: 2, processed: 0 });
    await pipeline(at, 'up', pfs('in', '/*'), { update: true, reprocess: true });
    expect(await ended(stack, 'up', 3)).toMatchObject({ version: 3, skipped: 0, processed: 2 });
    expect(worker.ran).toHaveLength(4);
    await at.pipelines.delete(
      {
        pipeline: { name: 'up' },
        all: false,
        force: false,
        keepRepo: false,
        splitTransaction: false,
      },
      wait,
    );
    await until('nobody owns the pipeline', () => at.scheduler.status().owned.length === 0);
  });

  it('is killed by a stop, and its finished datums are kept', async () => {
    const code: Code = async (input) => {
      if (input.files.has('in:/slow')) await untilAborted(input.signal);
      return capitals(input);
    };
    const worker = await stack.worker(at, { slots: 2, code });
    await commit(stack, 'in', { '/a': 'one', '/slow': '0' });
    await pipeline(at, 'up', pfs('in', '/*'));
    const running = await until('one datum is done', async () =>
      (await jobs(stack, 'up')).find((job) => job.processed === 1),
    );
    const live = await datums(at, running);
    expect(live.map((row) => row.state).sort()).toEqual(['STARTING', 'SUCCESS']);
    await at.pipelines.stopJob(running.id, wait);
    const killed = await ended(stack, 'up', 1);
    expect(killed).toMatchObject({ state: 'KILLED', reason: '' });
    await worker[Symbol.asyncDispose]();
    await remove(stack, 'in', '/slow');
    expect(await ended(stack, 'up', 2)).toMatchObject({ state: 'SUCCESS', skipped: 1, total: 1 });
  });
});

async function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener('abort', () => reject(new Error('stopped')), { once: true });
  });
}
