/** Deleting repos: at once, piece by piece behind a tombstone, and all of them. */
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { NEVER } from '../../core/signals.js';
import { repoKey, type CommitRecord, type RepoRecord } from '../../coordinator/versioning/index.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const wait = { signal: NEVER };
const COMMITS = 130;
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
  for (const name of ['a', 'b', 'c']) await stack.versioning.createRepo({ name }, wait);
});
afterEach(async () => {
  await stack[Symbol.asyncDispose]();
});

const master = (repo: string) => ({ repo, name: 'master' });
const provenance = (repo: string, from: string): Promise<unknown> =>
  stack.versioning.createBranch({ ...master(repo), provenance: [master(from)] }, wait);
const failure = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'it did not fail',
    (error: unknown) => `${codeOf(error)} ${messageOf(error)}`,
  );
async function commits(count: number): Promise<CommitRecord[]> {
  const made: CommitRecord[] = [];
  for (let i = 0; i < count; i += 1) {
    made.push(
      await stack.versioning.oneShot(master('a'), [await stack.put({ '/x': `${i}` })], wait),
    );
  }
  return made;
}
/** Keys that name a repo. */
async function keysOf(repo: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of stack.meta.scan('', { ...wait, keysOnly: true })) {
    if (key.split('/').includes(repo) && !key.startsWith('gen/')) keys.push(key);
  }
  return keys;
}
const piecemeal = (repo: string, force = false): Promise<void> =>
  stack.versioning.deleteRepoPiecemeal(repo, { force }, wait);
const healthy = async (): Promise<string[]> => {
  const found: string[] = [];
  for await (const each of stack.versioning.fsck({ fix: false }, wait)) {
    found.push('error' in each ? each.error : each.fix);
  }
  return found;
};

it('piece by piece leaves nothing of many commits, finished or open', async () => {
  const { versioning } = stack;
  const made = await commits(COMMITS);
  const open = await versioning.startCommit({ repo: 'a', branch: 'master' }, wait);
  await versioning.registerRuns(open, [await stack.put({ '/y': 'y' })], 'request', wait);
  await provenance('a', 'b');
  await piecemeal('a');
  expect(await keysOf('a')).toEqual([]);
  expect(await failure(versioning.resolveCommit({ repo: 'a', id: open.id }, wait))).toContain(
    'NOT_FOUND',
  );
  await versioning.createRepo({ name: 'a' }, wait);
  const first = made[0] as CommitRecord;
  expect(await versioning.commit(first, wait)).toBeUndefined();
  expect(await healthy()).toEqual([]);
  await piecemeal('missing');
});

it('piece by piece obeys the rule for branches that others read', async () => {
  const { versioning } = stack;
  await provenance('b', 'a');
  await commits(2);
  expect(await failure(piecemeal('a'))).toContain('deleting it would break those branches');
  expect((await versioning.inspectRepo('a', wait)).tombstone).toBeUndefined();
  await piecemeal('a', true);
  expect((await versioning.listRepos(wait)).map(({ name }) => name).sort()).toEqual(['b', 'c']);
});

it('goes on after it was interrupted; meanwhile nothing new can be made', async () => {
  const { versioning } = stack;
  const [one] = await commits(3);
  const record = await stack.meta.getJson<RepoRecord>(repoKey('a'), wait);
  const marked = JSON.stringify({ ...record, tombstone: true });
  await stack.meta.txn({ success: [{ put: repoKey('a'), value: marked }] }, wait);
  const gone = 'STATE_CONFLICT repo a was deleted';
  expect(await failure(versioning.startCommit({ repo: 'a', branch: 'x' }, wait))).toBe(gone);
  expect(await failure(versioning.createBranch({ repo: 'a', name: 'x' }, wait))).toBe(gone);
  expect(await failure(provenance('b', 'a'))).toBe(gone);
  const run = await stack.put({ '/z': 'z' });
  expect(await failure(versioning.oneShot(master('a'), [run], wait))).toBe(gone);
  expect((await versioning.inspectRepo('a', wait)).tombstone).toBe(true);
  await Promise.all([piecemeal('a'), piecemeal('a')]);
  expect(await failure(versioning.inspectRepo('a', wait))).toContain('repos/ a not found');
  expect(await versioning.commit(one as CommitRecord, wait)).toBeUndefined();
});

it('in the middle of a chain keeps the way from what is above to what is below', async () => {
  const { versioning } = stack;
  await provenance('b', 'a');
  await provenance('c', 'b');
  const [one] = await commits(1);
  const last = await versioning.resolveCommit({ repo: 'c', id: 'master' }, wait);
  await piecemeal('b', true);
  const below = await versioning.downstream(one as CommitRecord, wait);
  expect(below.map(({ id }) => id)).toEqual([last.id]);
});

it('of all leaves the repo of specs and nothing else', async () => {
  const { versioning } = stack;
  await provenance('b', 'a');
  await commits(3);
  await versioning.deleteAllRepos(wait);
  expect(await versioning.listRepos(wait)).toEqual([]);
  expect(await versioning.inspectRepo('__spec__', wait)).toBeDefined();
  expect(await healthy()).toEqual([]);
  expect(await keysOf('a')).toEqual([]);
});
