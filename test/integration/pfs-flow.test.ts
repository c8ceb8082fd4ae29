/** What one commit sets off in others: propagation, deletes, flush, subscribe, triggers. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { NEVER } from '../../core/signals.js';
import type { CommitRecord, CreateBranchInput } from '../../coordinator/versioning/index.js';
import type { MetaTxn } from '../../coordinator/meta/index.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { until } from '../support/until.js';
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
  await Promise.all(
    ['a', 'b', 'c', 'd', 'e'].map((name) => stack.versioning.createRepo({ name }, wait)),
  );
});
afterEach(async () => {
  await stack[Symbol.asyncDispose]();
});

const parse = (text: string) => {
  const [repo = '', name = 'master'] = text.split('@');
  return { repo, name };
};
/** `branch('c', 'a', 'b@x')`: c@master is computed from a@master and b@x; it keeps its head. */
async function branch(name: string, ...from: string[]): Promise<void> {
  const own = parse(name);
  const exists = await stack.versioning
    .inspectBranch(own, wait)
    .then(() => true)
    .catch(() => false);
  const input: CreateBranchInput = {
    ...own,
    ...(exists ? { head: { repo: own.repo, id: own.name } } : {}),
    provenance: from.map(parse),
  };
  await stack.versioning.createBranch(input, wait);
}
const start = (name: string): Promise<CommitRecord> =>
  stack.versioning.startCommit({ repo: parse(name).repo, branch: parse(name).name }, wait);
const finish = (commit: CommitRecord, empty = false): Promise<CommitRecord> =>
  stack.versioning.finishCommit(commit, { empty }, wait);
const commit = async (name: string): Promise<CommitRecord> => finish(await start(name));
async function collect(commits: AsyncIterable<CommitRecord>): Promise<CommitRecord[]> {
  const found: CommitRecord[] = [];
  for await (const each of commits) found.push(each);
  return found;
}
const list = (repo: string): Promise<CommitRecord[]> =>
  collect(stack.versioning.listCommits({ repo }, wait));
const counts = async (): Promise<number[]> =>
  Promise.all(['a', 'b', 'c', 'd', 'e'].map(async (repo) => (await list(repo)).length));
const head = async (name: string): Promise<CommitRecord> => {
  const { repo, name: id } = parse(name);
  return stack.versioning.resolveCommit({ repo, id }, wait);
};
const sources = (record: CommitRecord): string[] =>
  record.provenance.map(({ repo, branch: name, id }) => `${repo}@${name}=${id}`);

describe('propagation', () => {
  it('makes an open output commit at once, ready when its input is finished', async () => {
    await branch('b', 'a');
    const input = await start('a');
    const out = await head('b');
    expect(out).toMatchObject({ origin: 'AUTO', branch: 'master' });
    expect(out.finished).toBeUndefined();
    expect(sources(out)).toEqual([`a@master=${input.id}`]);
    let ready = false;
    const waiting = stack.versioning.waitReady(out, wait).then(() => (ready = true));
    await new Promise(setImmediate);
    expect(ready).toBe(false);
    await finish(input);
    await waiting;
    expect(await failureText(start('b'))).toBe('cannot start a commit on an output branch');
  });

  it('counts as the table says for A→B→C→D with E→C', async () => {
    await branch('b', 'a');
    await branch('c', 'b', 'e');
    await branch('d', 'c');
    await commit('a');
    await commit('e');
    expect(await counts()).toEqual([1, 1, 2, 2, 1]);
    const [newest, oldest] = await list('d');
    expect(newest?.parent).toBe(oldest?.id);
    expect(newest?.provenance.map(({ repo }) => repo).join('')).toBe('abce');
  });

  it('makes one commit for several starts in one transaction', async () => {
    await branch('b', 'a');
    await branch('c', 'b', 'e');
    await branch('d', 'c');
    const { versioning, meta } = stack;
    await meta.transact(
      async (t: MetaTxn) => {
        await versioning.startCommitIn(t, { repo: 'a', branch: 'master' });
        await versioning.startCommitIn(t, { repo: 'e', branch: 'master' });
        await versioning.propagateIn(t);
      },
      { ...wait, label: 'test' },
    );
    expect(await counts()).toEqual([1, 1, 1, 1, 1]);
  });

  it('uses only inputs that have a head, and present heads for a new branch', async () => {
    await branch('c', 'a', 'b');
    const first = await commit('a');
    expect(sources(await head('c'))).toEqual([`a@master=${first.id}`]);
    const second = await commit('a');
    const third = await commit('b');
    await branch('d', 'a', 'b');
    expect(await list('d')).toHaveLength(1);
    expect(sources(await head('d'))).toEqual([`a@master=${second.id}`, `b@master=${third.id}`]);
  });

  it('repoints, switches off and catches up', async () => {
    await branch('c', 'a');
    await commit('a');
    await commit('b');
    const old = await head('c');
    await branch('c', 'b');
    expect(await head('c')).toMatchObject({ parent: old.id });
    await branch('c');
    await commit('b');
    const kept = await head('c');
    expect(kept.provenance[0]?.repo).toBe('b');
    await branch('c', 'b');
    expect((await head('c')).parent).toBe(kept.id);
    const before = await counts();
    await branch('c', 'b');
    expect(await counts()).toEqual(before);
  });

  it('chains open output commits', async () => {
    await branch('b', 'a');
    await commit('a');
    const first = await head('b');
    await commit('a');
    const second = await head('b');
    expect(second.parent).toBe(first.id);
    expect([first.finished, second.finished]).toEqual([undefined, undefined]);
  });

  it('lists the staging commit under the branch it came through (deferred processing)', async () => {
    const { versioning } = stack;
    await branch('b', 'a');
    const staged = await commit('a@staging');
    expect(await list('b')).toEqual([]);
    await versioning.createBranch(
      { repo: 'a', name: 'master', head: { repo: 'a', id: 'staging' } },
      wait,
    );
    expect(sources(await head('b'))).toEqual([`a@master=${staged.id}`]);
  });

  it('reattaches an old output commit without making a new one', async () => {
    const { versioning } = stack;
    await branch('b', 'a');
    await commit('a');
    const out = await finish(await head('b'));
    await branch('b');
    const again = {
      repo: 'b',
      name: 'again',
      head: { repo: 'b', id: out.id },
      provenance: [parse('a')],
    };
    await versioning.createBranch(again, wait);
    expect(await list('b')).toHaveLength(1);
    await commit('a');
    expect(await failureText(versioning.createBranch({ ...again, name: 'third' }, wait))).toContain(
      'but that commit is not the head of branch "a/master"',
    );
  });

  it('holds a graph of 30 stages in one transaction', async () => {
    const { versioning } = stack;
    const names = Array.from({ length: 30 }, (_, i) => `stage${i}`);
    for (const [i, name] of names.entries()) {
      await versioning.createRepo({ name }, wait);
      await branch(name, i === 0 ? 'a' : (names[i - 1] as string), 'a');
    }
    const input = await commit('a');
    const last = await head('stage29');
    expect(last.provenance).toHaveLength(30);
    const { subvenance } = await versioning.commitDetails(input, wait);
    expect(subvenance).toHaveLength(30);
  });

  it('agrees under concurrent commits to two inputs', async () => {
    await branch('c', 'a', 'b');
    await branch('d', 'c');
    const run = await stack.put({ '/f': 'x' });
    await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        stack.versioning.oneShot(parse(i % 2 ? 'a' : 'b'), [run], wait),
      ),
    );
    const [a, b, c, d] = await Promise.all(['a', 'b', 'c', 'd'].map(head));
    expect(sources(d as CommitRecord)).toEqual([
      `a@master=${a?.id}`,
      `b@master=${b?.id}`,
      `c@master=${c?.id}`,
    ]);
  });
});

async function failureText(promise: Promise<unknown>): Promise<string> {
  return promise.then(() => 'no failure', messageOf);
}

describe('provenance given by hand', () => {
  it('is closed, checked and answered as ranges from upstream', async () => {
    const { versioning } = stack;
    await branch('b', 'a');
    const one = await commit('a');
    const out = await finish(await head('b'));
    const made = await versioning.startCommit(
      { repo: 'e', provenance: [{ commit: { repo: 'b', id: 'master' } }] },
      wait,
    );
    expect(sources(made)).toEqual([`a@master=${one.id}`, `b@master=${out.id}`]);
    expect(
      await failureText(
        versioning.startCommit(
          {
            repo: 'e',
            branch: 'master',
            provenance: [{ commit: { repo: 'a', id: one.id } }],
          },
          wait,
        ),
      ),
    ).toBe('the commit provenance contains a branch which the branch is not provenant on');
    const details = await versioning.commitDetails(one, wait);
    expect(details).toMatchObject({ succeeded: 1, failed: 0 });
    expect(details.subvenance.map(({ upper }) => upper.id).sort()).toEqual(
      [out.id, made.id].sort(),
    );
  });
});

describe('deleting commits', () => {
  it('closes the gap and moves branches', async () => {
    const { versioning } = stack;
    const one = await commit('a');
    const two = await commit('a');
    const three = await commit('a');
    const four = await versioning.startCommit({ repo: 'a', branch: 'x', parent: two.id }, wait);
    await versioning.deleteCommit({ repo: 'a', id: two.id }, wait);
    const parents = await Promise.all(
      [three, four].map(async (c) => (await versioning.commit(c, wait))?.parent),
    );
    expect(parents).toEqual([one.id, one.id]);
    expect([...(await versioning.commitDetails(one, wait)).children].sort()).toEqual(
      [three.id, four.id].sort(),
    );
    await versioning.deleteCommit({ repo: 'a', id: 'master' }, wait);
    expect((await head('a')).id).toBe(one.id);
    await versioning.deleteCommit({ repo: 'a', id: 'master' }, wait);
    expect(await failureText(head('a'))).toContain('has no head');
    expect(await failureText(versioning.deleteCommit({ repo: 'a', id: one.id }, wait))).toBe(
      `resolveCommit: commit ${one.id} not found in repo a`,
    );
  });

  it('takes everything downstream along, and recomputes for the commit before', async () => {
    const { versioning, meta } = stack;
    await branch('b', 'a');
    await branch('c', 'b', 'e');
    await commit('e');
    const one = await commit('a');
    const two = await commit('a');
    expect(await counts()).toEqual([2, 2, 3, 0, 1]);
    expect(await failureText(versioning.deleteCommit({ repo: 'b', id: 'master' }, wait))).toContain(
      'because it has non-empty provenance',
    );
    await versioning.deleteCommit(two, wait);
    expect(await counts()).toEqual([1, 1, 2, 0, 1]);
    expect(sources(await head('b'))).toEqual([`a@master=${one.id}`]);
    const keys: string[] = [];
    for await (const kv of meta.scan('', { ...wait, keysOnly: true })) keys.push(kv.key);
    expect(keys.filter((key) => key.includes(two.id))).toEqual([]);
  });

  it('is seen by other coordinators', async () => {
    const { versioning } = stack;
    const one = await commit('a');
    const other = await openVersioningStack(etcd, stack as never);
    await other.versioning.resolveCommit(one, wait);
    await versioning.deleteCommit(one, wait);
    await until('the commit is gone', async () => {
      return (await other.versioning.commit(one, wait)) === undefined;
    });
    await other[Symbol.asyncDispose]();
  });
});

describe('flush', () => {
  it('waits for everything downstream and then for the commits themselves', async () => {
    const { versioning } = stack;
    await branch('b', 'a');
    await branch('c', 'b');
    await branch('d', 'a');
    const input = await start('a');
    const flushed = collect(versioning.flushCommits([input], [], wait));
    await finish(input);
    for (const name of ['b', 'd', 'c']) await finish(await head(name), name === 'd');
    expect((await flushed).map(({ repo }) => repo).sort()).toEqual(['b', 'c', 'd']);
    expect(
      (await collect(versioning.flushCommits([input], ['c'], wait))).map(({ repo }) => repo),
    ).toEqual(['c']);
  });

  it('gives the steps of a chain in their order', async () => {
    const { versioning } = stack;
    for (const [name, from] of [
      ['d', 'a'],
      ['c', 'd'],
      ['b', 'c'],
    ] as const) {
      await branch(name, from);
    }
    const input = await commit('a');
    for (const name of ['d', 'c', 'b']) await finish(await head(name));
    const flushed = await collect(versioning.flushCommits([input], [], wait));
    expect(flushed.map(({ repo }) => repo)).toEqual(['d', 'c', 'b']);
  });

  it('takes what several commits have in common, and needs at least one', async () => {
    const { versioning } = stack;
    await branch('c', 'a', 'b');
    const one = await commit('a');
    const two = await commit('b');
    const last = await head('c');
    const early = await versioning.resolveCommit({ repo: 'c', id: 'master^' }, wait);
    await finish(early);
    await finish(last);
    expect(await collect(versioning.flushCommits([one, two], [], wait))).toHaveLength(1);
    expect(await failureText(collect(versioning.flushCommits([], [], wait)))).toBe(
      'fromCommits cannot be empty',
    );
    const alone = await commit('e');
    expect(await collect(versioning.flushCommits([alone], [], wait))).toEqual([]);
  });

  it('ends on cancel and leaves no waiter', async () => {
    const { versioning } = stack;
    await branch('b', 'a');
    const input = await commit('a');
    const stop = new AbortController();
    const flushed = collect(versioning.flushCommits([input], [], { signal: stop.signal }));
    await until('it waits', () => versioning.wakeups.waiting > 0);
    stop.abort(new Error('enough'));
    expect(await failureText(flushed)).toBe('enough');
    expect(versioning.wakeups.waiting).toBe(0);
  });
});

describe('waiting and subscribing', () => {
  it('waits until a commit is finished, also by another coordinator, or deleted', async () => {
    const { versioning } = stack;
    const other = await openVersioningStack(etcd, stack as never);
    const one = await start('a');
    const finished = other.versioning.waitFinished(one, wait);
    await finish(one);
    expect((await finished).finished).toBeDefined();
    const two = await start('a');
    const gone = other.versioning.waitFinished(two, wait).catch((error: unknown) => error);
    await until('it waits', () => other.versioning.wakeups.waiting > 0);
    await versioning.deleteCommit(two, wait);
    const error = await gone;
    expect(messageOf(error)).toBe(`commit a/${two.id} was deleted`);
    expect(codeOf(error)).toBe('NOT_FOUND');
    await other[Symbol.asyncDispose]();
  });

  it('sends every commit once, in order, when it has reached the state', async () => {
    const { versioning } = stack;
    const stop = new AbortController();
    const seen: string[] = [];
    const one = await commit('a');
    const follow = (async () => {
      const input = { repo: 'a', branch: 'master', state: 'FINISHED' } as const;
      for await (const each of versioning.subscribeCommits(input, { signal: stop.signal }))
        seen.push(each.id);
    })().catch((error: unknown) => error);
    await until('the old one came', () => seen.length === 1);
    const two = await start('a');
    await commit('a@other');
    const run = await stack.put({ '/f': 'x' });
    await finish(two);
    const three = await versioning.oneShot(parse('a'), [run], wait);
    await until('all came', () => seen.length === 3);
    expect(seen).toEqual([one.id, two.id, three.id]);
    stop.abort(new Error('enough'));
    expect(messageOf(await follow)).toBe('enough');
  });

  it('filters by an exact provenance entry', async () => {
    const { versioning } = stack;
    await branch('b', 'a');
    const one = await commit('a');
    await commit('a');
    const stop = new AbortController();
    const seen: CommitRecord[] = [];
    const follow = (async () => {
      const provenance = { commit: one, branch: parse('a') };
      const input = { repo: 'b', provenance, state: 'READY' } as const;
      for await (const each of versioning.subscribeCommits(input, { signal: stop.signal }))
        seen.push(each);
    })().catch(() => undefined);
    await until('it came', () => seen.length > 0);
    expect(seen.map(sources)).toEqual([[`a@master=${one.id}`]]);
    stop.abort();
    await follow;
  });

  it('goes on after etcd was away', async () => {
    const { versioning } = stack;
    const one = await start('a');
    const finished = versioning.waitFinished(one, wait);
    await until('it waits', () => versioning.wakeups.waiting > 0);
    await etcd.kill9();
    await etcd.restart();
    await finish(one);
    expect((await finished).id).toBe(one.id);
  });
});

describe('triggers', () => {
  const trigger = (name: string, more: object): Promise<unknown> =>
    stack.versioning.createBranch({ ...parse(name), trigger: { branch: 'master', ...more } }, wait);

  it('move a branch by size and by number of commits, in chains, and propagate', async () => {
    await trigger('a@big', { size: '10B' });
    await trigger('a@third', { commits: 3 });
    await trigger('a@after', { branch: 'big', commits: 1 });
    await branch('b', 'a@after');
    const put = async (text: string): Promise<CommitRecord> =>
      stack.versioning.oneShot(parse('a'), [await stack.put({ [`/${text}`]: text })], wait);
    await put('1234');
    expect(await failureText(head('a@big'))).toContain('no head');
    const two = await put('123456');
    expect((await head('a@big')).id).toBe(two.id);
    expect((await head('a@after')).id).toBe(two.id);
    expect(sources(await head('b'))).toEqual([`a@after=${two.id}`]);
    const three = await put('1');
    expect((await head('a@big')).id).toBe(two.id);
    expect((await head('a@third')).id).toBe(three.id);
  });

  it('refuse what can not work', async () => {
    expect(await failureText(trigger('a@x', { branch: '' }))).toBe(
      'triggers must specify a branch to trigger on',
    );
    expect(await failureText(trigger('a@x', { branch: 'x' }))).toBe('triggers cannot form a loop');
    expect(await failureText(trigger('a@x', { size: 'many' }))).toBe('invalid trigger size: many');
    expect(await failureText(trigger('a@x', { commits: -1 }))).toBe(
      "can't trigger on a negative number of commits",
    );
  });
});
