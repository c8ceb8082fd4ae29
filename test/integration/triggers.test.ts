/** Branch triggers on a real etcd: when they fire, and what is refused with which words. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { NEVER } from '../../core/signals.js';
import type { CommitRecord, TriggerRecord } from '../../coordinator/versioning/index.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
let stack: VersioningStack;

beforeAll(async () => {
  etcd = await startEtcd({ fsync: false });
});
afterAll(async () => {
  await etcd[Symbol.asyncDispose]();
});
beforeEach(async () => {
  stack = await openVersioningStack(etcd);
  await stack.versioning.createRepo({ name: 'in' }, wait);
});
afterEach(async () => {
  await stack[Symbol.asyncDispose]();
});

const trigger = (name: string, more: Partial<TriggerRecord>): Promise<unknown> => {
  const full = { branch: 'master', ...more };
  return stack.versioning.createBranch({ repo: 'in', name, trigger: full }, wait);
};
/** A commit on master, finished at the given time of day. */
const commitAt = (time: string, branch = 'master'): Promise<CommitRecord> => {
  const content = { kind: 'empty', finished: Date.parse(`2024-03-01T${time}Z`) } as const;
  return stack.versioning.buildCommit({ repo: 'in', branch }, content, wait);
};
const head = async (name: string): Promise<string | undefined> =>
  (await stack.versioning.inspectBranch({ repo: 'in', name }, wait)).head;
const put = async (text: string): Promise<CommitRecord> => {
  const run = await stack.put({ [`/${text}`]: text });
  return stack.versioning.oneShot({ repo: 'in', name: 'master' }, [run], wait);
};
const failure = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'it did not fail',
    (error: unknown) => `${codeOf(error)} ${messageOf(error)}`,
  );

describe('cron', () => {
  it('moves the branch once per period, with the first commit in any case', async () => {
    await trigger('hourly', { cronSpec: '0 * * * *' });
    const first = await commitAt('10:20:00');
    expect(await head('hourly')).toBe(first.id);
    await commitAt('10:59:00');
    expect(await head('hourly')).toBe(first.id);
    // The hour itself is not past yet.
    await commitAt('11:00:00');
    expect(await head('hourly')).toBe(first.id);
    const next = await commitAt('11:00:01');
    expect(await head('hourly')).toBe(next.id);
    await commitAt('11:30:00');
    expect(await head('hourly')).toBe(next.id);
  });

  it('takes descriptors and names, and goes by the time of the head, not of the branch', async () => {
    await trigger('daily', { cronSpec: '@daily' });
    await trigger('often', { cronSpec: '@every 10m' });
    await trigger('fridays', { cronSpec: '30 11 * * FRI' });
    const one = await commitAt('10:00:00');
    const two = await commitAt('10:09:00');
    const three = await commitAt('10:11:00');
    expect([await head('daily'), await head('often')]).toEqual([one.id, three.id]);
    const four = await commitAt('11:31:00');
    expect([await head('daily'), await head('fridays')]).toEqual([one.id, four.id]);
    expect(two.finished).toBeLessThan(three.finished as number);
  });

  it('counts as one condition among others', async () => {
    await trigger('any', { cronSpec: '@hourly', commits: 2 });
    await trigger('every', { cronSpec: '@hourly', commits: 2, all: true });
    const one = await commitAt('10:00:00');
    expect([await head('any'), await head('every')]).toEqual([one.id, undefined]);
    const two = await commitAt('10:01:00');
    expect([await head('any'), await head('every')]).toEqual([one.id, two.id]);
    const three = await commitAt('10:02:00');
    expect([await head('any'), await head('every')]).toEqual([three.id, two.id]);
    await commitAt('10:03:00');
    const five = await commitAt('11:03:00');
    expect([await head('any'), await head('every')]).toEqual([five.id, five.id]);
  });
});

describe('any trigger', () => {
  it('without conditions fires always with `all`, and else never', async () => {
    await trigger('always', { all: true });
    await trigger('never', {});
    const one = await put('x');
    expect([await head('always'), await head('never')]).toEqual([one.id, undefined]);
  });

  it('looks at growth in bytes; shrinking and a missing source do nothing', async () => {
    await trigger('grown', { size: '1K' });
    await trigger('lost', { branch: 'nowhere', size: '1' });
    await put('a');
    expect(await head('grown')).toBeUndefined();
    const big = await put('b'.repeat(1_000));
    expect(await head('grown')).toBe(big.id);
    await commitAt('10:00:00');
    expect(await head('grown')).toBe(big.id);
    expect(await head('lost')).toBeUndefined();
  });

  it('follows the source when it is pointed at a finished commit, and stays when not given', async () => {
    const { versioning } = stack;
    const one = await put('x');
    await trigger('copy', { commits: 1 });
    await versioning.createBranch({ repo: 'in', name: 'copy' }, wait);
    await versioning.createBranch(
      { repo: 'in', name: 'master', head: { repo: 'in', id: one.id } },
      wait,
    );
    expect(await head('copy')).toBe(one.id);
    const open = await versioning.startCommit({ repo: 'in', branch: 'master' }, wait);
    expect(await head('copy')).toBe(one.id);
    await versioning.finishCommit(open, {}, wait);
    expect(await head('copy')).toBe(open.id);
  });
});

it('refuses what can not work', async () => {
  const refused = (more: Partial<TriggerRecord>): Promise<string> => failure(trigger('x', more));
  expect(await refused({ branch: '' })).toBe(
    'INVALID_INPUT triggers must specify a branch to trigger on',
  );
  expect(await refused({ cronSpec: 'often' })).toBe(
    'INVALID_INPUT invalid trigger cron spec: Expected exactly 5 fields, found 1: often',
  );
  expect(await refused({ size: 'many' })).toBe('INVALID_INPUT invalid trigger size: many');
  expect(await refused({ commits: -1 })).toBe(
    "INVALID_INPUT can't trigger on a negative number of commits",
  );
  expect(await refused({ branch: 'x' })).toBe('INVALID_INPUT triggers cannot form a loop');
  await trigger('y', { branch: 'x', commits: 1 });
  await trigger('z', { branch: 'y', commits: 1 });
  expect(await refused({ branch: 'z', commits: 1 })).toBe(
    'INVALID_INPUT triggers cannot form a loop',
  );
});
