/** Fsck on a real etcd: silent on what is healthy, names what is not, mends what can be mended. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import {
  branchKey,
  commitKey,
  openKey,
  subvenanceKey,
  type BranchRecord,
  type CommitRecord,
} from '../../coordinator/versioning/index.js';
import { toCommitInfo } from '../../coordinator/rpc/pfs-convert.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
let stack: VersioningStack & { prefix: string; storeDir: string };

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
/** a → b → c, two commits in a, all finished but the last of c. */
async function fill(): Promise<Record<'a1' | 'a2' | 'b1' | 'b2' | 'c1' | 'c2', CommitRecord>> {
  const { versioning } = stack;
  await versioning.createBranch({ ...master('b'), provenance: [master('a')] }, wait);
  await versioning.createBranch({ ...master('c'), provenance: [master('b')] }, wait);
  const put = async (text: string): Promise<CommitRecord> =>
    versioning.oneShot(master('a'), [await stack.put({ [`/${text}`]: text })], wait);
  const head = async (repo: string): Promise<CommitRecord> =>
    versioning.resolveCommit({ repo, id: 'master' }, wait);
  const a1 = await put('1');
  const [b1, c1] = [await head('b'), await head('c')];
  await versioning.finishCommit(b1, { empty: true }, wait);
  await versioning.finishCommit(c1, { empty: true }, wait);
  const a2 = await put('2');
  return { a1, a2, b1, b2: await head('b'), c1, c2: await head('c') };
}
async function fsck(fix = false): Promise<{ errors: string[]; fixes: string[] }> {
  const found = { errors: [] as string[], fixes: [] as string[] };
  for await (const finding of stack.versioning.fsck({ fix }, wait)) {
    if ('error' in finding) found.errors.push(finding.error);
    else found.fixes.push(finding.fix);
  }
  return found;
}
const HEALTHY = { errors: [], fixes: [] };
const change = async <T extends object>(key: string, patch: Partial<T>): Promise<void> => {
  const record = await stack.meta.getJson<T>(key, wait);
  await write(key, { ...record, ...patch });
};
const write = async (key: string, value: unknown): Promise<void> => {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  await stack.meta.txn({ success: [{ put: key, value: text }] }, wait);
};
const remove = async (...keys: string[]): Promise<void> => {
  await stack.meta.txn({ success: keys.map((key) => ({ delete: key })) }, wait);
};
/** A process that remembers nothing of what was there before the damage. */
async function reopen(): Promise<void> {
  const { prefix, storeDir } = stack;
  const next = await openVersioningStack(etcd, { prefix, storeDir });
  const old = stack;
  stack = Object.assign(next, {
    [Symbol.asyncDispose]: async () => {
      await next.versioning[Symbol.asyncDispose]();
      await next.meta[Symbol.asyncDispose]();
      await next.storage[Symbol.asyncDispose]();
      await old[Symbol.asyncDispose]();
    },
  });
}

describe('a healthy store', () => {
  it('has no findings, also after everything that deletes', async () => {
    const { versioning } = stack;
    const { a1, a2 } = await fill();
    await versioning.createRepo({ name: 'd' }, wait);
    await versioning.createBranch({ ...master('d'), provenance: [master('a'), master('b')] }, wait);
    await versioning.createBranch({ repo: 'a', name: 'old', head: a1 }, wait);
    await versioning.startCommit({ repo: 'a', parent: a1.id }, wait);
    expect(await fsck()).toEqual(HEALTHY);
    await versioning.deleteCommit(a2, wait);
    expect(await fsck()).toEqual(HEALTHY);
    await versioning.deleteCommit(a1, wait);
    expect(await fsck()).toEqual(HEALTHY);
    await versioning.createBranch({ ...master('b'), head: { repo: 'b', id: 'master' } }, wait);
    await versioning.deleteRepo('c', { force: false }, wait);
    expect(await fsck(true)).toEqual(HEALTHY);
  });

  it('has none while it is being changed', async () => {
    const { versioning } = stack;
    await fill();
    const stop = new AbortController();
    const busy = (async () => {
      for (let i = 0; !stop.signal.aborted; i += 1) {
        const commit = await versioning.startCommit({ repo: 'a', branch: 'side' }, wait);
        await versioning.createBranch(
          { repo: 'b', name: 'x', provenance: [{ repo: 'a', name: 'side' }] },
          wait,
        );
        await versioning.finishCommit(commit, {}, wait);
        if (i % 3 === 2) await versioning.deleteCommit(commit, wait);
        await versioning.deleteBranch({ repo: 'b', name: 'x' }, { force: true }, wait);
      }
    })();
    for (let i = 0; i < 15; i += 1) expect(await fsck(i % 2 === 0)).toEqual(HEALTHY);
    stop.abort();
    await busy;
  });
});

describe('branches', () => {
  it('must have the closure of what they read', async () => {
    await fill();
    await change<BranchRecord>(branchKey(master('c')), { provenance: [master('b')] });
    const { errors } = await fsck();
    expect(errors.join('\n')).toContain('consistency error: branch provenance was not transitive');
    expect(errors.join('\n')).toContain('on branch master in repo c');
    expect((await fsck(true)).fixes).toContain('computing the provenance of branch c@master anew');
    expect(await fsck()).toEqual(HEALTHY);
    expect((await stack.versioning.inspectBranch(master('c'), wait)).provenance).toEqual([
      master('a'),
      master('b'),
    ]);
  });

  it('must know each other in both directions', async () => {
    await fill();
    await change<BranchRecord>(branchKey(master('a')), { subvenance: [master('none')] });
    const { errors } = await fsck();
    expect(errors.filter((text) => text.includes("its provenance's subvenance"))).toHaveLength(2);
    expect(errors.filter((text) => text.includes("its subvenance's provenance"))).toHaveLength(1);
    expect((await fsck(true)).errors).toEqual([]);
    expect(await fsck()).toEqual(HEALTHY);
  });

  it('must find what they read, and have its heads upstream of their own', async () => {
    const { a1 } = await fill();
    const user = await stack.versioning.startCommit({ repo: 'c' }, wait);
    await stack.versioning.finishCommit(user, {}, wait);
    await change<BranchRecord>(branchKey(master('c')), { head: user.id });
    expect((await fsck()).errors).toEqual([
      expect.stringContaining('head provenance is not consistent with branch provenance'),
      expect.stringContaining('head provenance is not consistent with branch provenance'),
    ]);
    await change<BranchRecord>(branchKey(master('c')), {
      head: a1.id,
      directProvenance: [master('b'), { repo: 'gone', name: 'x' }],
      provenance: [master('a'), master('b'), { repo: 'gone', name: 'x' }],
    });
    const { errors } = await fsck();
    expect(errors).toContain('consistency error: the branch x on repo gone could not be found');
    expect(errors).toContain(
      `consistency error: the commit ${a1.id} in repo c could not be found ` +
        'while checking the head of branch c@master',
    );
  });
});

describe('commits', () => {
  it('that are referred to are made up again after a forced delete', async () => {
    const { a1, b1, c1 } = await fill();
    await stack.versioning.deleteRepo('a', { force: true }, wait);
    const { errors } = await fsck();
    expect(errors).toContain('consistency error: the branch master on repo a could not be found');
    expect(errors).toContain(
      `consistency error: the commit ${a1.id} in repo a could not be found ` +
        `while checking the provenance of b@${b1.id}`,
    );
    const fixed = await fsck(true);
    expect(fixed.fixes).toContain(
      `creating commit a@${a1.id} which was missing, but referenced by b@${b1.id}`,
    );
    expect(new Set(fixed.errors)).toEqual(
      new Set(['consistency error: the branch master on repo a could not be found']),
    );
    expect((await fsck()).errors).toHaveLength(2);
    const made = await stack.versioning.resolveCommit({ repo: 'a', id: a1.id }, wait);
    const details = await stack.versioning.commitDetails(made, wait);
    expect(toCommitInfo(details)).toMatchObject({
      origin: { kind: 2 },
      started: undefined,
      finished: undefined,
      sizeBytes: 0,
    });
    const below = await stack.versioning.downstream(made, wait);
    expect(below.map(({ id }) => id).sort()).toEqual([b1.id, c1.id].sort());
    await stack.versioning.createRepo({ name: 'a' }, wait);
    await stack.versioning.deleteRepo('c', { force: false }, wait);
  });

  it('in the middle may be lost without the rest coming apart', async () => {
    const { b1, c1 } = await fill();
    await remove(commitKey(b1));
    await reopen();
    expect((await fsck()).errors).toEqual([
      expect.stringContaining('while checking the parent of'),
      expect.stringContaining(`while checking the provenance of c@${c1.id}`),
    ]);
    const { fixes, errors } = await fsck(true);
    expect(errors).toEqual([]);
    expect(fixes.filter((text) => text.startsWith('creating commit'))).toHaveLength(1);
    expect(await fsck()).toEqual(HEALTHY);
  });

  it('must be linked with what they were made from', async () => {
    const { a1, a2, b1, b2 } = await fill();
    await remove(subvenanceKey(a1, b1));
    await write(subvenanceKey(a1, b2), '');
    const { errors } = await fsck();
    expect(errors).toEqual([
      expect.stringMatching(/was not in its provenance's subvenance\ncommit .* in repo b/),
      expect.stringContaining("was not in its subvenance's provenance"),
    ]);
    const { fixes } = await fsck(true);
    expect(fixes).toContain(`adding ${b1.id} to subvenance of ${a1.id}`);
    expect(fixes).toContain(`removing ${b2.id} from subvenance of ${a1.id}`);
    expect(await fsck()).toEqual(HEALTHY);
    const below = async (of: CommitRecord): Promise<string[]> =>
      (await stack.versioning.downstream(of, wait)).map(({ repo }) => repo).sort();
    expect([await below(a1), await below(a2)]).toEqual([
      ['b', 'c'],
      ['b', 'c'],
    ]);
  });

  it('must have everything upstream of what they were made from', async () => {
    const { c1, b1 } = await fill();
    const provenance = c1.provenance.filter(({ repo }) => repo === 'b');
    await change<CommitRecord>(commitKey(c1), { provenance });
    await reopen();
    const { errors } = await fsck();
    expect(errors).toEqual([
      `consistency error: commit provenance was not transitive\non commit ${c1.id} in repo c\n` +
        `missing from its provenance: a@${b1.provenance[0]?.id}`,
    ]);
    expect((await fsck(true)).errors).toEqual(errors);
  });

  it('are open exactly while they are not finished, and children of their parents', async () => {
    const { a1, a2, c2 } = await fill();
    await remove(openKey(c2), `ch/a/${a1.id}/${a2.id}`);
    await write(openKey(a1), { repo: 'a', id: a1.id, provenance: [] });
    await write(`ch/a/${a2.id}/${a1.id}`, '');
    const { errors } = await fsck();
    expect(errors).toEqual([
      expect.stringContaining("was not in its parent's children"),
      expect.stringContaining('is not finished, but is not among the open commits'),
      expect.stringContaining('which is not its parent'),
      expect.stringContaining('is finished, but is among the open commits'),
    ]);
    expect((await fsck(true)).fixes).toHaveLength(4);
    expect(await fsck()).toEqual(HEALTHY);
    await stack.versioning.finishCommit(c2, { empty: true }, wait);
  });
});
