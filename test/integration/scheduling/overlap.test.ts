/** Jobs of one pipeline that run at once: what each may begin with, and in which order they end. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { abortable, NEVER } from '../../../core/signals.js';
import type { JobRecord } from '../../../coordinator/pipelines/index.js';
import { startEtcd, type EtcdServer } from '../../support/etcd.js';
import { startNats, type NatsServer } from '../../support/nats.js';
import { until } from '../../support/until.js';
import type { Code, QueueWorker } from './queue-worker.js';
import {
  commit,
  datums,
  ended,
  jobs,
  logs,
  openSchedulingStack,
  output,
  pfs,
  pipeline,
  type Coordinator,
  type SchedulingStack,
} from './stack.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
let nats: NatsServer;
let stack: SchedulingStack;
let at: Coordinator;
let gate: Gate;
/** Queues are shared by the tests, so each has a pipeline of its own name. */
let copy = '';
let count = 0;

beforeAll(async () => {
  [etcd, nats] = await Promise.all([startEtcd({ fsync: false }), startNats()]);
});
afterAll(async () => {
  await Promise.all([etcd[Symbol.asyncDispose](), nats[Symbol.asyncDispose]()]);
});
beforeEach(async () => {
  gate = new Gate();
  copy = `copy${(count += 1)}`;
  stack = await openSchedulingStack(etcd, nats);
  at = await stack.coordinator();
  await stack.base.versioning.createRepo({ name: 'in' }, wait);
});
afterEach(async () => {
  gate.open();
  await stack[Symbol.asyncDispose]();
});

/** Datums stand in it until it is opened for them. */
class Gate {
  readonly #standing = new Map<string, (() => void)[]>();
  #open = false;
  /** Datums that fail when they are let through. */
  readonly broken = new Set<string>();

  get standing(): string[] {
    return [...this.#standing].flatMap(([name, all]) => all.map(() => name)).sort();
  }

  /** For one datum, or for all from now on. */
  open(name?: string): void {
    if (name === undefined) this.#open = true;
    for (const [one, all] of [...this.#standing]) {
      if (name !== undefined && one !== name) continue;
      this.#standing.delete(one);
      for (const pass of all) pass();
    }
  }

  async pass(name: string): Promise<void> {
    if (!this.#open) {
      await new Promise<void>((resolve) => {
        this.#standing.set(name, [...(this.#standing.get(name) ?? []), resolve]);
      });
    }
    if (this.broken.has(name)) throw new Error(`${name} is broken`);
  }
}

/** Copies its files, each datum after it passed the gate under its content. */
const gated: Code = async ({ files, signal }) => {
  const out: Record<string, string> = {};
  for (const [name, text] of files) {
    await abortable(gate.pass(text), signal);
    out[name.slice(name.indexOf(':') + 1)] = text;
  }
  return out;
};

const slots = (constant: number) => ({ parallelismSpec: { constant, coefficient: 0 } });

async function stands(...names: string[]): Promise<void> {
  await until(`${names.join(', ')} run`, () => String(gate.standing) === String(names.sort()));
}

async function job(name: string, count: number, holds: (job: JobRecord) => boolean) {
  return until(`job ${count} of ${name}`, async () => {
    const one = (await jobs(stack, name))[count - 1];
    return one && holds(one) ? one : undefined;
  });
}

async function stopJob({ id }: JobRecord): Promise<void> {
  await at.pipelines.stopJob(id, wait);
}

describe('jobs of one pipeline', () => {
  it('run at once, each with what is new in its commit, and end in the order of commits', async () => {
    const worker = await stack.worker(at, { slots: 6, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), slots(6));
    for (const name of ['a', 'b', 'c', 'd', 'e', 'f'])
      await commit(stack, 'in', { [`/${name}`]: name });
    await stands('a', 'b', 'c', 'd', 'e', 'f');
    const first = await job(copy, 1, () => true);
    for (const name of ['f', 'e', 'd', 'c', 'b']) gate.open(name);
    const last = await job(copy, 6, ({ reason, processed }) => processed === 1 && reason !== '');
    expect(last).toMatchObject({ state: 'RUNNING', total: 6, skipped: 0 });
    expect(last.reason).toBe(
      `waiting for job ${first.id}: jobs of a pipeline end in the order of their commits`,
    );
    expect((await datums(at, last)).map(({ state }) => state).sort()).toEqual([
      ...['STARTING', 'STARTING', 'STARTING', 'STARTING', 'STARTING', 'SUCCESS'],
    ]);
    gate.open('a');
    await ended(stack, copy, 6);
    const all = await jobs(stack, copy);
    for (const [index, one] of all.entries()) {
      const counts = { total: index + 1, processed: 1, skipped: index, failed: 0 };
      expect(one).toMatchObject({ state: 'SUCCESS', reason: '', ...counts });
      const names = ['a', 'b', 'c', 'd', 'e', 'f'].slice(0, index + 1);
      expect(Object.values(await output(stack, one))).toEqual(names);
    }
    const ends = all.map(({ finishedMs }) => finishedMs ?? 0);
    expect([...ends].sort((a, b) => a - b)).toEqual(ends);
    expect(worker.ran.sort()).toEqual(['/a', '/b', '/c', '/d', '/e', '/f']);
    const told = await logs(at, { pipeline: copy, job: last.id, master: true });
    expect(told).toContain(
      '6 datums: 0 were done before, 1 to run in 1 tasks, 5 are with earlier jobs',
    );
    expect(await datums(at, all.at(-1) as JobRecord)).toHaveLength(6);
  });

  it('run one by one with one slot, and when every datum runs in every job', async () => {
    await stack.worker(at, { slots: 4, code: gated });
    await pipeline(at, `one${copy}`, pfs('in', '/*'), slots(1));
    await pipeline(at, `every${copy}`, pfs('in', '/*'), {
      ...slots(4),
      reprocessSpec: 'every_job',
    });
    await commit(stack, 'in', { '/a': 'a' });
    await commit(stack, 'in', { '/b': 'b' });
    await stands('a', 'a');
    gate.open();
    expect(await ended(stack, `one${copy}`, 2)).toMatchObject({ processed: 1, skipped: 1 });
    expect(await ended(stack, `every${copy}`, 2)).toMatchObject({ processed: 2, skipped: 0 });
    for (const name of [`one${copy}`, `every${copy}`]) {
      const [before, after] = (await jobs(stack, name)) as [JobRecord, JobRecord];
      expect(after.startedMs).toBeGreaterThanOrEqual(before.finishedMs ?? Infinity);
    }
  });

  it('begin beside others only while slots are left', async () => {
    await stack.worker(at, { slots: 4, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), slots(2));
    await commit(stack, 'in', { '/a': 'a', '/b': 'b' });
    await commit(stack, 'in', { '/c': 'c' });
    await stands('a', 'b');
    expect(await jobs(stack, copy)).toHaveLength(1);
    gate.open('b');
    await stands('a', 'c');
    expect(await jobs(stack, copy)).toHaveLength(2);
  });

  it('wait with all their datums when there are too many to be compared', async () => {
    // The first coordinator of a test owns its pipelines: one with another bound comes instead.
    await at[Symbol.asyncDispose]();
    at = await stack.coordinator({ besideMax: 2 });
    await stack.worker(at, { slots: 6, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), slots(6));
    await commit(stack, 'in', { '/a': 'a' });
    await commit(stack, 'in', { '/b': 'b', '/c': 'c', '/d': 'd' });
    const second = await job(copy, 2, ({ reason }) => reason !== '');
    expect(second).toMatchObject({ state: 'STARTING', total: 0 });
    expect(second.reason).toMatch(/^waiting for job [0-9a-f]{32}: /);
    await stands('a');
    gate.open();
    const counts = { total: 4, processed: 3, skipped: 1 };
    expect(await ended(stack, copy, 2)).toMatchObject({ state: 'SUCCESS', reason: '', ...counts });
  });

  it('fail for a failed input when their turn has come', async () => {
    await stack.worker(at, { slots: 6, code: gated });
    const first = `first${copy}`;
    await pipeline(at, first, pfs('in', '/*'), { ...slots(6), datumTries: 1 });
    await pipeline(at, copy, pfs(first, '/*'), slots(6));
    gate.broken.add('b');
    await commit(stack, 'in', { '/a': 'a' });
    await stands('a');
    gate.open('a');
    await stands('a');
    await commit(stack, 'in', { '/b': 'b' });
    await stands('a', 'b');
    gate.open('b');
    const second = await job(copy, 2, ({ reason }) => reason !== '');
    expect(second).toMatchObject({ state: 'STARTING' });
    expect(second.reason).toMatch(/^waiting for job /);
    gate.open();
    const failed = { state: 'FAILURE', reason: `inputs ${first} failed` };
    expect(await ended(stack, copy, 2)).toMatchObject(failed);
    expect(await ended(stack, copy, 1)).toMatchObject({ state: 'SUCCESS', processed: 1 });
  });

  it('run a file anew that changed while an earlier job has it', async () => {
    const worker = await stack.worker(at, { slots: 4, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), slots(4));
    await commit(stack, 'in', { '/a': 'old', '/b': 'b' });
    await commit(stack, 'in', { '/a': 'new' });
    await stands('b', 'new', 'old');
    gate.open();
    const second = await ended(stack, copy, 2);
    expect(second).toMatchObject({ state: 'SUCCESS', total: 2, processed: 1, skipped: 1 });
    expect(await output(stack, second)).toEqual({ '/a': 'new', '/b': 'b' });
    const first = await ended(stack, copy, 1);
    expect(await output(stack, first)).toEqual({ '/a': 'old', '/b': 'b' });
    expect(worker.ran.sort()).toEqual(['/a', '/a', '/b']);
  });

  it('run what the job before them failed, and fail for the same reason as one by one', async () => {
    const worker = await stack.worker(at, { slots: 4, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), { ...slots(4), datumTries: 1 });
    gate.broken.add('a');
    await commit(stack, 'in', { '/a': 'a' });
    await commit(stack, 'in', { '/b': 'b' });
    await commit(stack, 'in', { '/a': 'c' });
    await stands('a', 'b', 'c');
    gate.open();
    const counts = { total: 2, processed: 1, skipped: 0, failed: 1 };
    expect(await ended(stack, copy, 1)).toMatchObject({ state: 'FAILURE', failed: 1 });
    const second = await ended(stack, copy, 2);
    expect(second).toMatchObject({ state: 'FAILURE', ...counts });
    expect(second.reason).toContain('a is broken');
    const third = await ended(stack, copy, 3);
    expect(third).toMatchObject({ state: 'SUCCESS', total: 2, processed: 1, skipped: 1 });
    expect(await output(stack, third)).toEqual({ '/a': 'c', '/b': 'b' });
    expect(worker.ran.sort()).toEqual(['/a', '/a', '/a', '/b']);
  });

  it('do the work of a job before them that is stopped, and go on when a later one is', async () => {
    const worker = await stack.worker(at, { slots: 6, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), slots(6));
    for (const name of ['a', 'b', 'c']) await commit(stack, 'in', { [`/${name}`]: name });
    await stands('a', 'b', 'c');
    const [first, second] = (await jobs(stack, copy)) as [JobRecord, JobRecord];
    gate.open('b');
    await job(copy, 2, ({ processed }) => processed === 1);
    await stopJob(second);
    await job(copy, 2, ({ state }) => state === 'KILLED');
    expect(await job(copy, 1, () => true)).toMatchObject({ state: 'RUNNING' });
    await stopJob(first);
    await job(copy, 1, ({ state }) => state === 'KILLED');
    gate.open();
    const third = await ended(stack, copy, 3);
    expect(third).toMatchObject({ state: 'SUCCESS', total: 3, processed: 2, skipped: 1 });
    expect(await output(stack, third)).toEqual({ '/a': 'a', '/b': 'b', '/c': 'c' });
    expect(worker.ran.filter((path) => path === '/b')).toHaveLength(1);
  });

  it('go on when the job, or the commit, of another one is deleted', async () => {
    await stack.worker(at, { slots: 6, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), slots(6));
    const [, second] = [
      await commit(stack, 'in', { '/a': 'a' }),
      await commit(stack, 'in', { '/b': 'b' }),
      await commit(stack, 'in', { '/c': 'c' }),
    ];
    await stands('a', 'b', 'c');
    const [first] = (await jobs(stack, copy)) as [JobRecord];
    await at.pipelines.deleteJob(first.id, wait);
    await until('the job is gone', async () => (await jobs(stack, copy)).length === 2);
    await stack.base.versioning.deleteCommit({ repo: 'in', id: second?.id ?? '' }, wait);
    await until('its job is gone', async () => (await jobs(stack, copy)).length === 1);
    gate.open();
    const third = await ended(stack, copy, 1);
    expect(third).toMatchObject({ state: 'SUCCESS', total: 3, failed: 0 });
    expect(await output(stack, third)).toEqual({ '/a': 'a', '/b': 'b', '/c': 'c' });
  });

  it('of an older spec are killed together, and the next spec goes on with what they did', async () => {
    const worker = await stack.worker(at, { slots: 6, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), slots(6));
    for (const name of ['a', 'b', 'c']) await commit(stack, 'in', { [`/${name}`]: name });
    await stands('a', 'b', 'c');
    gate.open('c');
    await job(copy, 3, ({ processed }) => processed === 1);
    await pipeline(at, copy, pfs('in', '/*'), { ...slots(6), update: true });
    gate.open();
    const fourth = await ended(stack, copy, 4);
    expect((await jobs(stack, copy)).map(({ state }) => state)).toEqual([
      ...['KILLED', 'KILLED', 'KILLED', 'SUCCESS'],
    ]);
    expect(fourth).toMatchObject({ total: 3, failed: 0 });
    expect(await output(stack, fourth)).toEqual({ '/a': 'a', '/b': 'b', '/c': 'c' });
    expect(worker.ran.filter((path) => path === '/c')).toHaveLength(1);
  });

  it('that wait do not use up their time', async () => {
    await stack.worker(at, { slots: 4, code: gated });
    const jobTimeout = { seconds: 2, nanos: 0 };
    await pipeline(at, copy, pfs('in', '/*'), slots(4));
    await commit(stack, 'in', { '/a': 'a' });
    await stands('a');
    // Killed when its time is up, which begins for the second job only then.
    await pipeline(at, 'timed', pfs('in', '/*'), { ...slots(4), jobTimeout });
    await commit(stack, 'in', { '/b': 'b' });
    const first = await ended(stack, 'timed', 1);
    expect(first).toMatchObject({ state: 'KILLED', reason: 'job timed out' });
    expect(await job('timed', 2, () => true)).toMatchObject({ state: 'RUNNING' });
    gate.open();
    expect(await ended(stack, 'timed', 2)).toMatchObject({ state: 'SUCCESS', total: 2 });
  });

  it('are taken over together: what ran does not run again', async () => {
    const other = await stack.coordinator({ replica: 'other' });
    const workers: QueueWorker[] = [await stack.worker(other, { slots: 4, code: gated })];
    await pipeline(other, copy, pfs('in', '/*'), slots(4));
    for (const name of ['a', 'b', 'c']) await commit(stack, 'in', { [`/${name}`]: name });
    await stands('a', 'b', 'c');
    gate.open('c');
    await job(copy, 3, ({ processed }) => processed === 1);
    const owner = at.scheduler.status().owned.includes(copy) ? at : other;
    const rest = owner === at ? other : at;
    if (rest !== other) workers.push(await stack.worker(rest, { slots: 4, code: gated }));
    await owner[Symbol.asyncDispose]();
    await job(copy, 3, ({ restart, reason }) => restart > 0 && reason !== '');
    gate.open();
    const third = await ended(stack, copy, 3);
    expect(third).toMatchObject({ state: 'SUCCESS', total: 3, processed: 1, skipped: 2 });
    expect(await output(stack, third)).toEqual({ '/a': 'a', '/b': 'b', '/c': 'c' });
    const ran = workers.flatMap((worker) => worker.ran);
    expect(ran.filter((path) => path === '/c')).toHaveLength(1);
  });

  it('get what a worker took with it done by others at once', async () => {
    const lost = await stack.worker(at, { slots: 2, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), slots(3));
    for (const name of ['a', 'b', 'c']) await commit(stack, 'in', { [`/${name}`]: name });
    await stands('a', 'b');
    const other = await stack.worker(at, { slots: 3, code: gated });
    await stands('a', 'b', 'c');
    await lost[Symbol.asyncDispose]();
    await stands('a', 'a', 'b', 'b', 'c');
    gate.open();
    const third = await ended(stack, copy, 3);
    expect(third).toMatchObject({ state: 'SUCCESS', total: 3, processed: 1, skipped: 2 });
    expect(other.ran.sort()).toEqual(['/a', '/b', '/c']);
  });

  it('go on when the queue has lost everything, those that only wait included', async () => {
    const worker = await stack.worker(at, { slots: 4, code: gated });
    await pipeline(at, copy, pfs('in', '/*'), { ...slots(4), datumTries: 1 });
    for (const name of ['a', 'b', 'c']) await commit(stack, 'in', { [`/${name}`]: name });
    await stands('a', 'b', 'c');
    gate.open('b');
    await job(copy, 2, ({ reason }) => reason !== '');
    await nats.kill9();
    await nats.wipe();
    await nats.restart();
    // What the first job fails is left to the second one.
    gate.broken.add('a');
    gate.open('a');
    await job(copy, 1, ({ state }) => state === 'FAILURE');
    gate.broken.delete('a');
    gate.open();
    const third = await ended(stack, copy, 3);
    expect(third).toMatchObject({ state: 'SUCCESS', total: 3, processed: 1, skipped: 2 });
    expect(await ended(stack, copy, 2)).toMatchObject({ state: 'SUCCESS', processed: 2 });
    expect(await output(stack, third)).toEqual({ '/a': 'a', '/b': 'b', '/c': 'c' });
    expect(worker.ran.filter((path) => path === '/b')).toHaveLength(1);
  });

  it('end as they do one by one, whatever the commits', async () => {
    const history = fc.array(
      fc.dictionary(fc.constantFrom('/a', '/b', '/c', '/d'), fc.constantFrom('1', '2', 'bad'), {
        ...{ minKeys: 1, maxKeys: 2 },
      }),
      { minLength: 6, maxLength: 6 },
    );
    const code: Code = async (input) => {
      const fast = input.datum.inputs[0]?.repo === 'in' && input.spec.pipeline.startsWith('fast');
      if (fast) await gate.pass('any');
      const texts = [...input.files.values()];
      if (texts.includes('bad')) throw new Error('bad');
      return { '/all': texts.join(), [`/${input.datum.id}`]: texts.join() };
    };
    await stack.worker(at, { slots: 24, code });
    await pipeline(at, `fast${copy}`, pfs('in', '/*'), { ...slots(20), datumTries: 1 });
    await pipeline(at, `strict${copy}`, pfs('in', '/*'), { ...slots(1), datumTries: 1 });
    const [commits] = fc.sample(history, { numRuns: 1, seed: 7 });
    for (const files of commits ?? []) await commit(stack, 'in', files);
    await until(
      'all jobs run at once',
      async () => (await jobs(stack, `fast${copy}`)).length === 6,
    );
    gate.open();
    for (let nth = 1; nth <= 6; nth += 1) {
      const [fast, strict] = [
        await ended(stack, `fast${copy}`, nth),
        await ended(stack, `strict${copy}`, nth),
      ];
      const { state, total, processed, skipped, failed, reason } = strict;
      expect(fast).toMatchObject({ state, total, processed, skipped, failed });
      expect(fast.reason.slice(0, 22)).toBe(reason.slice(0, 22));
      if (state === 'SUCCESS')
        expect(await output(stack, fast)).toEqual(await output(stack, strict));
    }
  });
});
