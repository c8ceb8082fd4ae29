/** Repos, branches and commits on a real etcd: rules and texts of the v1 API. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { isId } from '../../core/ids.js';
import { NEVER } from '../../core/signals.js';
import type { CommitRecord, CreateBranchInput } from '../../coordinator/versioning/index.js';
import type { RunRef } from '../../storage/index.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const wait = { signal: NEVER };
const GHOST = '0123456789ab4def8123456789abcdef';
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
});
afterEach(async () => {
  await stack[Symbol.asyncDispose]();
});

async function failure(promise: Promise<unknown>): Promise<{ code: string; text: string }> {
  try {
    await promise;
  } catch (error) {
    return { code: codeOf(error), text: messageOf(error) };
  }
  throw new Error('it should have failed');
}

const repo = (...names: string[]): Promise<unknown> =>
  Promise.all(names.map((name) => stack.versioning.createRepo({ name }, wait)));
const start = (name: string, branch = 'master', parent = ''): Promise<CommitRecord> =>
  stack.versioning.startCommit({ repo: name, branch, parent }, wait);
const finish = (name: string, id: string): Promise<CommitRecord> =>
  stack.versioning.finishCommit({ repo: name, id }, {}, wait);
async function commit(name: string, branch = 'master', parent = ''): Promise<CommitRecord> {
  const started = await start(name, branch, parent);
  return finish(name, started.id);
}
/** `branch('c@master', 'a@master', 'b@master')`: c is computed from a and b. */
function branch(name: string, ...from: string[]): Promise<unknown> {
  const parse = (text: string) => {
    const [inRepo = '', called = ''] = text.split('@');
    return { repo: inRepo, name: called };
  };
  const own = parse(name);
  const input: CreateBranchInput = { ...own, provenance: from.map(parse) };
  return stack.versioning.createBranch(input, wait);
}
async function list(name: string, more: object = {}): Promise<CommitRecord[]> {
  const found: CommitRecord[] = [];
  for await (const each of stack.versioning.listCommits({ repo: name, ...more }, wait)) {
    found.push(each);
  }
  return found;
}
const ids = (commits: readonly CommitRecord[]): string[] => commits.map(({ id }) => id);
const head = async (name: string, called = 'master'): Promise<string | undefined> =>
  (await stack.versioning.inspectBranch({ repo: name, name: called }, wait)).head;

describe('repos', () => {
  it('are made, changed, listed newest first and deleted', async () => {
    const { versioning } = stack;
    await versioning.createRepo({ name: 'a', description: 'one' }, wait);
    await versioning.createRepo({ name: 'b' }, wait);
    const before = await versioning.inspectRepo('a', wait);
    await versioning.createRepo({ name: 'a', description: 'two', update: true }, wait);
    const after = await versioning.inspectRepo('a', wait);
    expect(after).toEqual({ ...before, description: 'two' });
    expect((await versioning.listRepos(wait)).map(({ name }) => name)).toEqual(['b', 'a']);
    expect((await versioning.inspectRepo('__spec__', wait)).name).toBe('__spec__');
    await versioning.deleteRepo('a', { force: false }, wait);
    await versioning.deleteRepo('a', { force: false }, wait);
    expect((await versioning.listRepos(wait)).map(({ name }) => name)).toEqual(['b']);
    expect(await failure(versioning.inspectRepo('a', wait))).toEqual({
      code: 'NOT_FOUND',
      text: '/pachyderm_pfs/repos/ a not found',
    });
  });

  it('refuse a second one of the same name, and bad names', async () => {
    await repo('a');
    expect(await failure(repo('a'))).toEqual({
      code: 'ALREADY_EXISTS',
      text: 'repo a already exists',
    });
    expect((await failure(repo('a/b'))).code).toBe('INVALID_INPUT');
  });

  it('let exactly one of 1,000 concurrent creates win', async () => {
    const other = await openVersioningStack(etcd, stack as never);
    const results = await Promise.allSettled(
      Array.from({ length: 1_000 }, (_, i) =>
        (i % 2 ? other : stack).versioning.createRepo({ name: 'one' }, wait),
      ),
    );
    await other[Symbol.asyncDispose]();
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  });

  it('show the size of the finished head of master', async () => {
    await repo('a');
    const size = async (): Promise<number> => (await stack.versioning.inspectRepo('a', wait)).size;
    const side = { repo: 'a', name: 'side' };
    await stack.versioning.oneShot(side, [await stack.put({ '/x': '1234567' })], wait);
    expect(await size()).toBe(0);
    const master = { repo: 'a', name: 'master' };
    await stack.versioning.oneShot(master, [await stack.put({ '/x': '123' })], wait);
    await stack.versioning.oneShot(master, [await stack.put({ '/y': '45' })], wait);
    expect(await size()).toBe(5);
    const open = await start('a');
    expect(await size()).toBe(5);
    await stack.versioning.createBranch(
      { repo: 'a', name: 'master', head: { repo: 'a', id: 'side' } },
      wait,
    );
    expect(await size()).toBe(7);
    await stack.versioning.createBranch(
      { repo: 'a', name: 'master', head: { repo: 'a', id: open.id } },
      wait,
    );
    expect(await size()).toBe(0);
    await stack.versioning.deleteCommit({ repo: 'a', id: open.id }, wait);
    expect(await size()).toBe(5);
  });

  it('do not go while another repo is computed from them, unless forced', async () => {
    await repo('a', 'b');
    await branch('b@master', 'a@master');
    await commit('a');
    const refused = await failure(stack.versioning.deleteRepo('a', { force: false }, wait));
    expect(refused.code).toBe('STATE_CONFLICT');
    expect(refused.text).toContain('deleting it would break those branches');
    expect(await list('a')).toHaveLength(1);
    await stack.versioning.deleteRepo('a', { force: true }, wait);
    expect(await list('b')).toHaveLength(1);
    await repo('a');
    expect(await list('a')).toEqual([]);
    expect((await stack.versioning.inspectRepo('a', wait)).branches).toEqual([]);
  });

  it('leave nothing behind', async () => {
    await repo('up', 'a');
    await branch('a@master', 'up@master');
    await branch('a@stats', 'a@master');
    const up = await commit('up');
    await stack.versioning.deleteRepo('a', { force: false }, wait);
    const keys: string[] = [];
    for await (const kv of stack.meta.scan('', { ...wait, keysOnly: true })) {
      if (kv.key.includes('/a/') || kv.key.endsWith('/a')) keys.push(kv.key);
    }
    expect(keys).toEqual(['gen/a']);
    expect((await stack.versioning.commitDetails(up, wait)).subvenance).toEqual([]);
    expect(
      (await stack.versioning.inspectBranch({ repo: 'up', name: 'master' }, wait)).subvenance,
    ).toEqual([]);
  });

  it('all go at once, but not the spec repo', async () => {
    await repo('a', 'b');
    await branch('b@master', 'a@master');
    await commit('a');
    await stack.versioning.deleteAllRepos(wait);
    expect(await stack.versioning.listRepos(wait)).toEqual([]);
    await stack.versioning.inspectRepo('__spec__', wait);
  });
});

describe('starting and finishing commits', () => {
  beforeEach(() => repo('a'));

  it('follows parent and branch', async () => {
    const root = await start('a', '');
    expect(root).not.toHaveProperty('branch');
    expect(root).not.toHaveProperty('parent');
    const first = await commit('a');
    const second = await commit('a');
    expect(second.parent).toBe(first.id);
    expect(isId(second.id)).toBe(true);
    const loose = await start('a', '', first.id);
    expect(loose).toMatchObject({ parent: first.id, branch: 'master' });
    expect(await head('a')).toBe(second.id);
    const fork = await start('a', 'fork', 'master^');
    expect(fork).toMatchObject({ parent: first.id, branch: 'fork' });
    expect(await head('a', 'fork')).toBe(fork.id);
    const details = await stack.versioning.commitDetails(first, wait);
    expect(details.children).toEqual([second.id, loose.id, fork.id]);
  });

  it('refuses what can not be', async () => {
    expect(await failure(start('none'))).toEqual({
      code: 'NOT_FOUND',
      text: '/pachyderm_pfs/repos/ none not found',
    });
    const open = await start('a');
    expect(await failure(start('a'))).toEqual({
      code: 'STATE_CONFLICT',
      text: `parent commit a@${open.id} has not been finished`,
    });
    expect(await failure(start('a', 'x', GHOST))).toEqual({
      code: 'NOT_FOUND',
      text: `parent commit not found: commit ${GHOST} not found in repo a`,
    });
    expect((await failure(start('a', 'x.y'))).text).toContain('name (x.y) invalid');
    expect((await failure(start('a', GHOST))).text).toBe('branch name cannot be a UUID V4');
    await finish('a', 'master');
    expect(await failure(finish('a', open.id))).toEqual({
      code: 'STATE_CONFLICT',
      text: `commit ${open.id} in repo a has already finished`,
    });
  });

  it('resolves references', async () => {
    const made = [await commit('a'), await commit('a'), await commit('a')];
    const find = async (id: string): Promise<string> =>
      (await stack.versioning.resolveCommit({ repo: 'a', id }, wait)).id;
    for (const [ref, at] of [
      ['master', 2],
      ['master^', 1],
      ['master~2', 0],
      ['master.1', 0],
      ['master.3', 2],
      [`${made[2]?.id}^^`, 0],
      ['master^0', 2],
    ] as const) {
      expect(await find(ref), ref).toBe(made[at]?.id);
    }
    await branch('a@bare');
    const texts = {
      'master^3': 'commit master^3 not found in repo a',
      'master.4': 'commit master.4 not found in repo a',
      [`${GHOST}^`]: `commit ${GHOST}^ not found in repo a`,
      nope: '/pachyderm_pfs/branches/a/ nope not found',
      bare: `the branch "bare" has no head (create one with 'start commit')`,
      '': 'cannot resolve commit with no ID or branch',
      'x^~': 'invalid ancestry syntax "x^~", cannot mix ^ and ~ characters',
    };
    for (const [ref, text] of Object.entries(texts)) {
      expect((await failure(find(ref))).text, ref).toBe(text);
    }
  });

  it('keeps the content of the nearest ancestor that has any', async () => {
    const { versioning } = stack;
    const runs = [await stack.put({ '/f': 'hello' })];
    const first = await versioning.oneShot({ repo: 'a', name: 'master' }, runs, wait);
    await start('a');
    const failed = await versioning.finishCommit(
      { repo: 'a', id: 'master' },
      { empty: true },
      wait,
    );
    expect(failed).toMatchObject({ kind: 'empty', size: 0 });
    expect((await versioning.openTree(failed, wait)).files).toBe(0);
    const third = await commit('a');
    expect(third).toMatchObject({ size: 5, digest: first.digest });
  });

  it('stores runs of an open commit in their order, and refuses them once it is finished', async () => {
    const { versioning } = stack;
    const open = await start('a');
    await versioning.registerRuns(open, [await stack.put({ '/f': 'one' })], 'r1', wait);
    await versioning.registerRuns(open, [await stack.put({ '/f': 'three' })], 'r0', wait);
    await versioning.registerRuns(open, [await stack.put({ '/f': 'x' })], 'r1', wait);
    expect((await versioning.openTree(open, wait)).size).toBe(5);
    const done = await finish('a', open.id);
    expect(done.size).toBe(5);
    const late = versioning.registerRuns(open, [await stack.put({ '/g': 'x' })], 'r2', wait);
    const { text } = await failure(late);
    expect(text).toContain(`openCommits/ ${open.id} not found`);
    expect((await stack.meta.range('dl/', wait)).kvs).toEqual([]);
    expect((await stack.meta.range('open/', wait)).kvs).toEqual([]);
  });

  it('builds checkpoints of many small writes and ends with the same content', async () => {
    const { versioning } = stack;
    const open = await start('a');
    for (let i = 0; i < 150; i += 1) {
      const run = await stack.put({ [`/f${i % 10}`]: `v${i}` });
      await versioning.registerRuns(open, [run], `r${i}`, wait);
    }
    expect((await stack.meta.range('dl/', wait)).kvs.length).toBeLessThan(150);
    const done = await finish('a', open.id);
    const whole: Record<string, string> = {};
    for (let i = 140; i < 150; i += 1) whole[`/f${i % 10}`] = `v${i}`;
    await repo('b');
    const runs = [await stack.put(whole)];
    const direct = await versioning.oneShot({ repo: 'b', name: 'master' }, runs, wait);
    expect(done.digest).toBe(direct.digest);
  });

  it('stays open after a conflict, until the offending path is gone', async () => {
    const { versioning } = stack;
    const open = await start('a');
    const write = async (name: string, run: RunRef): Promise<void> =>
      versioning.registerRuns(open, [run], name, wait);
    await write('1', await stack.put({ '/a': 'file' }));
    await write('2', await stack.put({ '/a/b': 'below a file' }));
    const text = `attempted to visit "/a/b", but it's not a directory`;
    expect((await failure(versioning.openTree(open, wait))).text).toBe(text);
    expect((await failure(finish('a', open.id))).text).toBe(text);
    // More writes than are merged at a time lie between the conflict and what undoes it.
    const filler = await stack.put({ '/filler': 'x' });
    for (let i = 0; i < 100; i += 1) await write(`f${i}`, filler);
    await write('3', await stack.run([{ op: 'delete', path: '/a/b', seq: 0 }]));
    const done = await finish('a', open.id);
    expect(done).toMatchObject({ size: 5, files: 2 });
  });

  it('lets one of two finishers win and the other one hear it', async () => {
    const other = await openVersioningStack(etcd, stack as never);
    for (let round = 0; round < 20; round += 1) {
      const open = await start('a');
      await stack.versioning.registerRuns(open, [await stack.put({ '/f': `${round}` })], 'r', wait);
      const results = await Promise.allSettled(
        [stack, other, stack].map(({ versioning }) =>
          versioning.finishCommit({ repo: 'a', id: open.id }, {}, wait),
        ),
      );
      const lost = results.filter((result) => result.status === 'rejected');
      expect(lost).toHaveLength(2);
      for (const { reason } of lost) expect(messageOf(reason)).toContain('has already finished');
    }
    await other[Symbol.asyncDispose]();
  });

  it('never loses a write that was acknowledged while a finish ran', async () => {
    const { versioning } = stack;
    for (let round = 0; round < 10; round += 1) {
      const open = await start('a', `b${round}`);
      const acknowledged: string[] = [];
      const writes = Array.from({ length: 12 }, async (_, i) => {
        const run = await stack.put({ [`/f${i}`]: 'x' });
        try {
          await versioning.registerRuns(open, [run], `r${i}`, wait);
          acknowledged.push(`f${i}`);
        } catch (error) {
          expect(messageOf(error)).toContain('not found');
        }
      });
      const [done] = await Promise.all([finish('a', open.id), ...writes]);
      const tree = await versioning.openTree(done, wait);
      const names: string[] = [];
      for await (const { name } of stack.storage.trees.list(tree, '', wait)) names.push(name);
      expect(names.sort()).toEqual(acknowledged.sort());
    }
  });

  it('makes 25 commits of 25 parallel one-shot puts', async () => {
    const other = await openVersioningStack(etcd, stack as never);
    const master = { repo: 'a', name: 'master' };
    const made = await Promise.all(
      Array.from({ length: 25 }, async (_, i) => {
        const run = await stack.put({ [`/f${i}`]: `${i}` });
        return (i % 5 ? stack : other).versioning.oneShot(master, [run], wait);
      }),
    );
    await other[Symbol.asyncDispose]();
    const listed = await list('a');
    expect(new Set(ids(listed))).toEqual(new Set(ids(made)));
    expect(listed).toHaveLength(25);
    listed.forEach((each, i) => expect(each.parent).toBe(listed[i + 1]?.id));
    expect(listed[0]).toMatchObject({ files: 25 });
  });

  it('builds a commit with a chosen id, once', async () => {
    const { versioning } = stack;
    const input = { repo: 'a', branch: 'master', id: GHOST };
    const content = { kind: 'empty', finished: 1_000 } as const;
    const made = await versioning.buildCommit(input, content, wait);
    expect(made).toMatchObject({ id: GHOST, started: 1_000, finished: 1_000 });
    expect(await failure(versioning.buildCommit(input, content, wait))).toEqual({
      code: 'ALREADY_EXISTS',
      text: `/pachyderm_pfs/commits/a/ ${GHOST} already exists`,
    });
  });
});

describe('listing commits', () => {
  it('goes from the newest, from a commit, or from the oldest', async () => {
    await repo('a', 'b');
    const made: string[] = [];
    for (const name of ['master', 'master', 'side', 'master'])
      made.push((await commit('a', name)).id);
    const [c1, c2, c3, c4] = made as [string, string, string, string];
    const ref = (id: string) => ({ repo: 'a', id });
    expect(ids(await list('a'))).toEqual([c4, c3, c2, c1]);
    expect(ids(await list('a', { reverse: true }))).toEqual(made);
    expect(ids(await list('a', { number: 2 }))).toEqual([c4, c3]);
    expect(ids(await list('a', { to: ref('master') }))).toEqual([c4, c2, c1]);
    expect(ids(await list('a', { to: ref('master'), from: ref(c1) }))).toEqual([c4, c2]);
    expect(ids(await list('a', { to: ref('master'), from: ref('master') }))).toEqual([]);
    expect(ids(await list('a', { to: ref('master'), from: ref(c3), number: 2 }))).toEqual([c4, c2]);
    await branch('a@bare');
    expect(await list('a', { to: ref('bare') })).toEqual([]);
    expect(await list('b')).toEqual([]);
    expect(ids(await list(''))).toEqual([c4, c3, c2, c1]);
    const texts = [
      [{ from: ref(c1) }, 'cannot use `from` commit without `to` commit'],
      [{ to: ref(c1), reverse: true }, "cannot use 'Reverse' while also using 'From' or 'To'"],
      [{ to: { repo: 'b', id: c1 } }, '`from` and `to` commits need to be from repo a'],
    ] as const;
    for (const [more, text] of texts) expect((await failure(list('a', more))).text).toBe(text);
    expect((await failure(list('none'))).text).toBe('/pachyderm_pfs/repos/ none not found');
  });

  it('reads more commits than a page, also past deleted ones', async () => {
    await repo('a');
    const made: string[] = [];
    for (let i = 0; i < 600; i += 1) {
      const content = { kind: 'empty' } as const;
      const input = { repo: 'a', branch: 'master' };
      made.push((await stack.versioning.buildCommit(input, content, wait)).id);
    }
    const fresh = await openVersioningStack(etcd, stack as never);
    const found: string[] = [];
    for await (const { id } of fresh.versioning.listCommits({ repo: 'a' }, wait)) found.push(id);
    expect(found).toEqual([...made].reverse());
    const last = await fresh.versioning.resolveCommit({ repo: 'a', id: 'master.1' }, wait);
    expect(last.id).toBe(made[0]);
    await fresh[Symbol.asyncDispose]();
  }, 60_000);
});

describe('branches', () => {
  beforeEach(() => repo('a', 'b', 'c', 'd'));

  it('get and lose heads', async () => {
    const first = await commit('a');
    const second = await commit('a');
    const set = (name: string, id?: string): Promise<unknown> =>
      stack.versioning.createBranch(
        { repo: 'a', name, ...(id ? { head: { repo: 'a', id } } : {}) },
        wait,
      );
    await set('old', 'master^');
    expect(await head('a', 'old')).toBe(first.id);
    await set('master', 'master');
    expect(await head('a')).toBe(second.id);
    await set('bare');
    await set('old', 'bare');
    expect(await head('a', 'old')).toBeUndefined();
    await set('master');
    expect(await head('a')).toBeUndefined();
    expect((await failure(set('x', 'x'))).text).toBe(
      'unable to inspect a@x: /pachyderm_pfs/branches/a/ x not found',
    );
    expect((await failure(set('x', GHOST))).text).toBe(
      `unable to inspect a@${GHOST}: commit ${GHOST} not found in repo a`,
    );
  });

  it('keep both closures of provenance true', async () => {
    await branch('b@master', 'a@master');
    await branch('c@master', 'b@master');
    await branch('d@master', 'c@master', 'a@master');
    const info = async (name: string) => {
      const record = await stack.versioning.inspectBranch({ repo: name, name: 'master' }, wait);
      const text = (list: readonly { repo: string }[]): string =>
        list.map((each) => each.repo).join('');
      return [record.directProvenance, record.provenance, record.subvenance].map(text);
    };
    expect(await info('d')).toEqual(['ac', 'abc', '']);
    expect(await info('a')).toEqual(['', '', 'bcd']);
    await branch('b@master');
    expect(await info('d')).toEqual(['ac', 'abc', '']);
    expect(await info('c')).toEqual(['b', 'b', 'd']);
    expect(await info('a')).toEqual(['', '', 'd']);
    expect(await failure(branch('b@master', 'd@master'))).toEqual({
      code: 'INVALID_INPUT',
      text: 'provenance loop, branch b/master cannot be provenance for itself',
    });
    expect((await failure(branch('a@x', 'a@x'))).text).toBe(
      'branch a@x cannot be in its own provenance',
    );
    expect((await failure(branch('a@x', 'none@y'))).text).toBe(
      '/pachyderm_pfs/repos/ none not found',
    );
    await branch('a@x', 'b@new');
    expect((await stack.versioning.inspectRepo('b', wait)).branches).toEqual(['master', 'new']);
  });

  it('are listed newest first and deleted unless something needs them', async () => {
    const { versioning } = stack;
    for (const name of ['x', 'y', 'z']) await branch(`a@${name}`);
    await branch('a@x');
    const names = async (reverse: boolean): Promise<string[]> =>
      (await versioning.listBranches('a', { reverse }, wait)).map(({ name }) => name);
    expect(await names(false)).toEqual(['z', 'y', 'x']);
    expect(await names(true)).toEqual(['x', 'y', 'z']);
    await branch('b@master', 'a@x');
    const x = { repo: 'a', name: 'x' };
    expect(await failure(versioning.deleteBranch(x, { force: false }, wait))).toEqual({
      code: 'STATE_CONFLICT',
      text: 'branch x has [b@master] as subvenance, deleting it would break those branches',
    });
    await versioning.deleteBranch({ repo: 'b', name: 'master' }, { force: false }, wait);
    await versioning.deleteBranch(x, { force: false }, wait);
    await versioning.deleteBranch(x, { force: false }, wait);
    expect(await names(false)).toEqual(['z', 'y']);
    expect((await failure(versioning.inspectBranch(x, wait))).text).toBe(
      '/pachyderm_pfs/branches/a/ x not found',
    );
    expect((await failure(versioning.listBranches('none', { reverse: false }, wait))).text).toBe(
      '/pachyderm_pfs/repos/ none not found',
    );
  });
});
