/** Cron inputs on real servers: when ticks come, how they look, and that none comes twice. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { messageOf } from '../../core/errors.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { ticking } from '../../coordinator/cron/index.js';
import type { Pipelines } from '../../coordinator/pipelines/index.js';
import { DeletePipelineRequest, type CronInput, type Input } from '../../proto/generated/pps.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { startNats, type NatsServer } from '../support/nats.js';
import { until } from '../support/until.js';
import { WallClock } from '../support/wall-clock.js';
import type { Code } from './scheduling/queue-worker.js';
import {
  commit,
  ended,
  none,
  openSchedulingStack,
  output,
  pfs,
  pipeline,
  type Coordinator,
  type SchedulingStack,
} from './scheduling/stack.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
let nats: NatsServer;
let stack: SchedulingStack;
let clock: WallClock;
let at: Coordinator;

const beside = (pipelines: Pipelines) => {
  const { storage, versioning } = stack.base;
  return [ticking({ storage, versioning, clock, log: silentLog, loadSpec: pipelines.loadSpec })];
};

beforeAll(async () => {
  [etcd, nats] = await Promise.all([startEtcd({ fsync: false }), startNats()]);
});
afterAll(async () => {
  await Promise.all([etcd[Symbol.asyncDispose](), nats[Symbol.asyncDispose]()]);
});
beforeEach(async () => {
  stack = await openSchedulingStack(etcd, nats);
  clock = new WallClock('2024-01-05T12:00:00Z');
  at = await stack.coordinator({ beside });
});
afterEach(async () => {
  await stack[Symbol.asyncDispose]();
});

const START = { seconds: Date.parse('2024-01-01T00:00:00Z') / 1000, nanos: 0 };

function cron(spec: string, more: Partial<CronInput> = {}): Input {
  const input = { name: 'tick', repo: '', commit: '', spec, overwrite: false, start: START };
  return { ...none(), cron: { ...input, ...more } };
}

/** Files of a branch, in order. */
async function files(repo: string): Promise<string[]> {
  const { versioning, storage } = stack.base;
  const head = (await versioning.inspectBranch({ repo, name: 'master' }, wait)).head;
  const record = head && (await versioning.commit({ repo, id: head }, wait));
  const names: string[] = [];
  if (!record) return names;
  const root = await versioning.openTree(record, wait);
  for await (const { name } of storage.trees.list(root, '', wait)) names.push(name);
  return names;
}

async function commits(repo: string): Promise<number> {
  let count = 0;
  const all = { repo, number: 0, reverse: false };
  for await (const _commit of stack.base.versioning.listCommits(all, wait)) count += 1;
  return count;
}

const ticked = (repo: string, count: number): Promise<unknown> =>
  until(`${count} ticks of ${repo}`, async () => (await commits(repo)) >= count);
const days = (...list: number[]): string[] => list.map((day) => `2024-01-0${day}T00:00:00Z`);

describe('a clock', () => {
  it('makes what is overdue as one commit each, then waits, and starts jobs', async () => {
    const names: Code = ({ files: inputs }) =>
      Object.fromEntries([...inputs].map(([name]) => [`/${name.split('/')[1]}`, name]));
    await stack.worker(at, { slots: 2, code: names });
    await pipeline(at, 'p', cron('@daily'));
    await ticked('p_tick', 4);
    expect(await files('p_tick')).toEqual(days(2, 3, 4, 5));
    expect(await commits('p_tick')).toBe(4);
    expect((await stack.base.versioning.inspectRepo('p_tick', wait)).description).toBe(
      'Cron tick repo for pipeline p.',
    );
    clock.set('2024-01-06T00:00:00Z');
    await ticked('p_tick', 5);
    const job = await ended(stack, 'p', 5);
    expect(job).toMatchObject({ state: 'SUCCESS', total: 5, processed: 1, skipped: 4 });
    expect(Object.keys(await output(stack, job))).toEqual(days(2, 3, 4, 5, 6).map((d) => `/${d}`));
  });

  it('keeps only the newest file with overwrite', async () => {
    await pipeline(at, 'p', cron('0 0 * * *', { overwrite: true }));
    await ticked('p_tick', 4);
    await until('the last tick', async () => (await files('p_tick'))[0] === days(5)[0]);
    expect(await files('p_tick')).toEqual(days(5));
    expect(await commits('p_tick')).toBe(4);
  });

  it('goes on after a restart, and beside a second coordinator, without a tick twice', async () => {
    await pipeline(at, 'p', cron('@every 24h'));
    await ticked('p_tick', 4);
    const second = await stack.coordinator({ replica: 'second', beside });
    clock.set('2024-01-06T00:00:00Z');
    await ticked('p_tick', 5);
    await at[Symbol.asyncDispose]();
    clock.set('2024-01-08T00:00:00Z');
    await ticked('p_tick', 7);
    const third = await stack.coordinator({ replica: 'third', beside });
    await second[Symbol.asyncDispose]();
    clock.set('2024-01-09T00:00:00Z');
    await ticked('p_tick', 8);
    expect(third.scheduler.status().owned).toEqual(['p']);
    expect(await files('p_tick')).toEqual(days(2, 3, 4, 5, 6, 7, 8, 9));
    expect(await commits('p_tick')).toBe(8);
  });

  it('stands still while its pipeline is stopped, and makes up for it', async () => {
    await pipeline(at, 'p', cron('@daily'));
    await ticked('p_tick', 4);
    await at.pipelines.stop('p', wait);
    await pipeline(at, 'other', cron('@daily', { name: 'other' }));
    clock.set('2024-01-07T00:00:00Z');
    // The clock of the other one has been seen to tick, so this one had its chance.
    await ticked('other_other', 6);
    expect(await commits('p_tick')).toBe(4);
    await at.pipelines.start('p', wait);
    await ticked('p_tick', 6);
    expect(await files('p_tick')).toEqual(days(2, 3, 4, 5, 6, 7));
  });

  it('is shared by pipelines that name the same repo, and goes with the last of them', async () => {
    const shared = cron('@daily', { repo: 'clock' });
    await pipeline(at, 'a', shared);
    await pipeline(at, 'b', shared);
    await ticked('clock', 4);
    clock.set('2024-01-06T00:00:00Z');
    await ticked('clock', 5);
    expect(await files('clock')).toEqual(days(2, 3, 4, 5, 6));
    expect(await commits('clock')).toBe(5);
    const remove = (name: string, more = {}): Promise<void> =>
      at.pipelines.delete(DeletePipelineRequest.fromPartial({ pipeline: { name }, ...more }), wait);
    await at.pipelines.stop('b', wait);
    await remove('a');
    expect(await commits('clock')).toBe(5);
    await remove('b', { keepRepo: true });
    expect(await commits('clock')).toBe(5);
    await pipeline(at, 'b', shared);
    await remove('b');
    await expect(stack.base.versioning.inspectRepo('clock', wait)).rejects.toThrow('not found');
  });

  it('deletes an unfinished commit that it finds at its start', async () => {
    const { versioning } = stack.base;
    await versioning.createRepo({ name: 'p_tick' }, wait);
    const open = await versioning.startCommit({ repo: 'p_tick', branch: 'master' }, wait);
    await pipeline(at, 'p', cron('@daily'));
    await until('ticks', async () => (await files('p_tick')).length === 4);
    expect(await versioning.commit(open, wait)).toBeUndefined();
  });

  it('waits for the commit that a user has open', async () => {
    const { versioning } = stack.base;
    await pipeline(at, 'p', cron('@daily'));
    await ticked('p_tick', 4);
    const open = await versioning.startCommit({ repo: 'p_tick', branch: 'master' }, wait);
    clock.set('2024-01-06T00:00:00Z');
    await versioning.finishCommit(open, {}, wait);
    clock.set('2024-01-06T00:00:01Z');
    await until('the tick', async () => (await files('p_tick')).length === 5);
    expect(await commits('p_tick')).toBe(6);
  });

  it('follows an update of its spec', async () => {
    await pipeline(at, 'p', cron('@yearly'));
    await pipeline(at, 'p', cron('@daily'), { update: true });
    await ticked('p_tick', 4);
    expect(await files('p_tick')).toEqual(days(2, 3, 4, 5));
  });
});

describe('run cron', () => {
  it('ticks now, on every cron input', async () => {
    const late = { start: { seconds: START.seconds * 2, nanos: 0 } };
    const input = {
      ...none(),
      cross: [cron('@daily', late), cron('@daily', { ...late, name: 'b' })],
    };
    await pipeline(at, 'p', input);
    await at.pipelines.runCron('p', wait);
    for (const repo of ['p_tick', 'p_b']) {
      const [name, ...more] = await files(repo);
      expect(more).toEqual([]);
      expect(Math.abs(Date.parse(name ?? '') - Date.now())).toBeLessThan(60_000);
    }
  });

  it('says what is missing', async () => {
    await stack.base.versioning.createRepo({ name: 'in' }, wait);
    await commit(stack, 'in', { '/a': 'x' });
    await pipeline(at, 'plain', pfs('in', '/*'));
    const text = async (name: string): Promise<string> =>
      at.pipelines.runCron(name, wait).then(
        () => 'done',
        (error: unknown) => messageOf(error),
      );
    expect(await text('plain')).toBe('pipeline must have a cron input');
    expect(await text('nowhere')).toBe('pipeline "nowhere" not found');
  });
});
