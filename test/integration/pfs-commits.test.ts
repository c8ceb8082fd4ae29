/** Repos, branches and commits as clients see them over gRPC: one case per promise of the API. */
import { Metadata, status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  CommitState,
  OriginKind,
  type BranchInfo,
  type BranchInfos,
  type CommitInfo,
  type CommitInfos,
  type ListRepoResponse,
} from '../../proto/generated/pfs.js';
import { branchOf, commitOf, type PfsApi, refusalOf } from '../support/pfs-api.js';
import { sharedPfs } from '../support/shared.js';
import { until } from '../support/until.js';

let pfs: PfsApi;

sharedPfs((api) => {
  pfs = api;
});

const idsOf = (infos: readonly CommitInfo[]): string[] =>
  infos.map(({ commit }) => commit?.id ?? '');
const namesOf = (infos: readonly BranchInfo[]): string[] => infos.map(({ name }) => name);
const headOf = async (branch: string): Promise<string | undefined> =>
  (await pfs.inspectBranch(branch)).head?.id;
/** `repo@branch=id` of each entry. */
const provenanceOf = (info: CommitInfo): string[] =>
  info.provenance.map(
    ({ commit, branch }) => `${commit?.repo?.name}@${branch?.name}=${commit?.id}`,
  );
const provenance = (branch: string, id: string) => {
  const named = branchOf(branch);
  return { commit: { repo: named.repo, id }, branch: named };
};

describe('repos', () => {
  it('the repo of specs is there, hidden from the list only', async () => {
    expect((await pfs.inspectRepo('__spec__')).repo).toEqual({ name: '__spec__' });
    const { repoInfo } = await pfs.call<ListRepoResponse>('listRepo', {});
    expect(repoInfo.map(({ repo }) => repo?.name)).not.toContain('__spec__');
  });

  it('an update keeps everything but the description', async () => {
    const repo = await pfs.repo();
    await pfs.files(`${repo}@master`, { '/f': '12345' });
    const before = await pfs.inspectRepo(repo);
    await pfs.call('createRepo', { repo: { name: repo }, description: 'new', update: true });
    expect(await pfs.inspectRepo(repo)).toEqual({ ...before, description: 'new' });
    await pfs.call('createRepo', { repo: { name: repo }, update: true });
    expect((await pfs.inspectRepo(repo)).description).toBe('');
  });

  it('their size is that of the finished head of master', async () => {
    const repo = await pfs.repo();
    const size = async (): Promise<number> => (await pfs.inspectRepo(repo)).sizeBytes;
    await pfs.files(`${repo}@other`, { '/f': '123' });
    expect(await size()).toBe(0);
    await pfs.branch(`${repo}@master`, { head: 'other' });
    expect(await size()).toBe(3);
    await pfs.start(`${repo}@master`);
    await pfs.put(`${repo}@master`, { path: '/g', value: '45' });
    expect(await size()).toBe(3);
    await pfs.finish(`${repo}@master`);
    expect(await size()).toBe(5);
    await pfs.call('deleteCommit', { commit: commitOf(`${repo}@master`) });
    expect(await size()).toBe(3);
    const open = await pfs.start(repo);
    await pfs.branch(`${repo}@master`, { head: open });
    expect(await size()).toBe(0);
  });

  it('a missing one is deleted with success, one that others read is not', async () => {
    await pfs.call('deleteRepo', { repo: { name: 'never' } });
    const [a, b] = [await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@master`, { from: [`${a}@master`] });
    await pfs.commit(`${a}@master`);
    const refused = await refusalOf(pfs.call('deleteRepo', { repo: { name: a } }));
    expect(refused.code).toBe(status.FAILED_PRECONDITION);
    expect(refused.details).toContain('deleting it would break those branches');
    await pfs.call('deleteRepo', { repo: { name: a }, force: true });
    expect((await pfs.list(b)).length).toBe(1);
    await pfs.repo(a);
    expect(await pfs.list(a)).toEqual([]);
    await pfs.call('deleteRepo', { repo: { name: b }, force: true });
  });

  it('one with a branch that reads another of its own goes as a whole', async () => {
    const repo = await pfs.repo();
    await pfs.branch(`${repo}@stats`, { from: [`${repo}@master`] });
    await pfs.call('deleteRepo', { repo: { name: repo } });
    expect((await refusalOf(pfs.inspectRepo(repo))).code).toBe(status.NOT_FOUND);
  });
});

describe('starting', () => {
  it('where a commit goes follows parent and branch', async () => {
    const repo = await pfs.repo();
    const none = await pfs.start(repo);
    await pfs.finish(`${repo}@${none}`);
    expect((await pfs.inspectRepo(repo)).branches).toEqual([]);
    const first = await pfs.commit(`${repo}@b`);
    const second = await pfs.commit(`${repo}@b`);
    expect((await pfs.inspect(`${repo}@${second}`)).parentCommit?.id).toBe(first);
    const child = await pfs.start(repo, { parent: first });
    expect(await pfs.inspect(`${repo}@${child}`)).toMatchObject({
      branch: branchOf(`${repo}@b`),
      parentCommit: { id: first },
    });
    expect(await headOf(`${repo}@b`)).toBe(second);
    const fork = await pfs.start(`${repo}@fork`, { parent: 'b^' });
    expect((await pfs.inspect(`${repo}@fork`)).parentCommit?.id).toBe(first);
    expect((await pfs.inspect(`${repo}@${first}`)).childCommits.map(({ id }) => id)).toEqual([
      second,
      child,
      fork,
    ]);
  });

  it('is refused where it makes no sense', async () => {
    const [a, b, c] = [await pfs.repo(), await pfs.repo(), await pfs.repo()];
    const none = await refusalOf(pfs.start('nowhere@master'));
    expect(none.details).toBe('/pachyderm_pfs/repos/ nowhere not found');
    const parent = await refusalOf(pfs.start(`${a}@x`, { parent: 'gone' }));
    expect(parent).toEqual({
      code: status.NOT_FOUND,
      details: `parent commit not found: /pachyderm_pfs/branches/${a}/ gone not found`,
    });
    const one = await pfs.commit(`${a}@master`);
    const two = await pfs.commit(`${a}@master`);
    await pfs.commit(`${b}@master`);
    const both = [provenance(`${a}@master`, one), provenance(`${a}@master`, two)];
    expect((await refusalOf(pfs.start(`${c}@x`, { provenance: both }))).details).toBe(
      'the commit provenance contains multiple commits from the same branch',
    );
    const strange = [provenance(`${b}@master`, 'master')];
    expect((await refusalOf(pfs.start(`${c}@x`, { provenance: strange }))).details).toBe(
      'the commit provenance contains a branch which the branch is not provenant on',
    );
    // Without a branch nothing is checked.
    const free = await pfs.start(c, { provenance: strange });
    expect(provenanceOf(await pfs.inspect(`${c}@${free}`))).toEqual([
      `${b}@master=${await headOf(`${b}@master`)}`,
    ]);
  });
});

describe('finishing', () => {
  it('keeps, replaces or clears', async () => {
    const repo = await pfs.repo();
    const start = { parent: { repo: { name: repo }, id: '' }, branch: 'b', description: 'first' };
    await pfs.call('startCommit', start);
    await pfs.put(`${repo}@b`, { path: '/f', value: '123' });
    const open = await pfs.inspect(`${repo}@b`);
    expect(open).toMatchObject({ description: 'first', sizeBytes: 0, finished: undefined });
    await pfs.finish(`${repo}@b`);
    expect(await pfs.inspect(`${repo}@b`)).toMatchObject({ description: 'first', sizeBytes: 3 });
    await pfs.start(`${repo}@b`);
    await pfs.finish(`${repo}@b`, { empty: true, description: 'second' });
    const empty = await pfs.inspect(`${repo}@b`);
    expect(empty).toMatchObject({ description: 'second', sizeBytes: 0, tree: undefined });
    expect(await pfs.ls(`${repo}@b:/`)).toEqual([]);
    expect((await refusalOf(pfs.inspectFile(`${repo}@b:/f`))).code).toBe(status.NOT_FOUND);
    // The next one goes on from the nearest that has a tree.
    await pfs.commit(`${repo}@b`);
    expect(await pfs.get(`${repo}@b:f`)).toBe('123');
    const id = await headOf(`${repo}@b`);
    expect(await refusalOf(pfs.finish(`${repo}@b`))).toEqual({
      code: status.FAILED_PRECONDITION,
      details: `commit ${id} in repo ${repo} has already finished`,
    });
  });

  it('counts downstream commits that succeed and fail', async () => {
    const [a, b] = [await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@master`, { from: [`${a}@master`] });
    const one = await pfs.commit(`${a}@master`);
    await pfs.finish(`${b}@master`);
    const two = await pfs.commit(`${a}@master`);
    await pfs.finish(`${b}@master`, { empty: true });
    expect(await pfs.inspect(`${a}@${one}`)).toMatchObject({
      subvenantCommitsTotal: 1,
      subvenantCommitsSuccess: 1,
      subvenantCommitsFailure: 0,
      readyProvenance: 0,
    });
    expect(await pfs.inspect(`${a}@${two}`)).toMatchObject({ subvenantCommitsFailure: 1 });
  });
});

describe('building', () => {
  it('makes a commit of a chosen id, open or finished', async () => {
    const repo = await pfs.repo();
    const ID = '0a1b2c3d4e5f4a6b8c7d8e9fa0b1c2d3';
    expect(await pfs.build(`${repo}@b`, { ID })).toBe(ID);
    expect((await pfs.inspect(`${repo}@b`)).finished).toBeUndefined();
    expect(await refusalOf(pfs.build(`${repo}@b`, { ID }))).toMatchObject({
      code: status.ALREADY_EXISTS,
      details: `/pachyderm_pfs/commits/${repo}/ ${ID} already exists`,
    });
    await pfs.finish(`${repo}@b`);
    const finished = { seconds: 1_000, nanos: 0 };
    await pfs.build(`${repo}@b`, {
      finished,
      started: { seconds: 2_000, nanos: 0 },
      origin: { kind: OriginKind.AUTO },
    });
    expect(await pfs.inspect(`${repo}@b`)).toMatchObject({
      started: finished,
      finished,
      origin: { kind: OriginKind.AUTO },
      parentCommit: { id: ID },
    });
    const bad = await refusalOf(pfs.build(`${repo}@b`, { ID: 'short' }));
    expect(bad.code).toBe(status.INVALID_ARGUMENT);
  });

  it('ignores the transaction it is sent with', async () => {
    const repo = await pfs.repo();
    const metadata = new Metadata();
    metadata.set('pach-transaction', 'no-such-transaction');
    const request = { parent: { repo: { name: repo }, id: '' }, branch: 'b' };
    await pfs.call('buildCommit', request, metadata);
    expect((await pfs.list(repo)).length).toBe(1);
  });
});

describe('listing commits', () => {
  let repo: string;
  let ids: string[];
  beforeAll(async () => {
    repo = await pfs.repo();
    ids = [];
    for (const branch of ['m', 'm', 'x', 'm', 'm']) ids.push(await pfs.commit(`${repo}@${branch}`));
    await pfs.branch(`${repo}@empty`);
  });
  const ref = (id: string) => ({ repo: { name: repo }, id });
  /** Commits by number, in the order they come. */
  const listed = async (o: object): Promise<number[]> =>
    (await pfs.list(repo, o)).map((id) => ids.indexOf(id));

  it.each<[string, () => object, number[]]>([
    ['all, newest first', () => ({}), [4, 3, 2, 1, 0]],
    ['oldest first', () => ({ reverse: true }), [0, 1, 2, 3, 4]],
    ['the newest two', () => ({ number: 2 }), [4, 3]],
    ['the oldest two', () => ({ number: 2, reverse: true }), [0, 1]],
    ['more than there are', () => ({ number: 99 }), [4, 3, 2, 1, 0]],
    ['one line', () => ({ to: ref('m') }), [4, 3, 1, 0]],
    ['one line from the middle', () => ({ to: ref('m^2') }), [1, 0]],
    ['a part of it', () => ({ to: ref('m'), from: ref('m.2') }), [4, 3]],
    ['its first', () => ({ to: ref('m'), from: ref('m.1'), number: 1 }), [4]],
    ['nothing between equals', () => ({ to: ref('m'), from: ref('m') }), []],
    ['to the root from a stranger', () => ({ to: ref('m'), from: ref('x') }), [4, 3, 1, 0]],
    ['a branch without a head', () => ({ to: ref('empty') }), []],
  ])('%s', async (_what, request, expected) => {
    expect(await listed(request())).toEqual(expected);
    const unary = await pfs.call<CommitInfos>('listCommit', { repo: ref('').repo, ...request() });
    expect(idsOf(unary.commitInfo).map((id) => ids.indexOf(id))).toEqual(expected);
  });

  it.each<[() => object, string]>([
    [() => ({ from: ref('m') }), 'cannot use `from` commit without `to` commit'],
    [
      () => ({ to: ref('m'), reverse: true }),
      "cannot use 'Reverse' while also using 'From' or 'To'",
    ],
    [
      () => ({ from: ref('m'), reverse: true }),
      "cannot use 'Reverse' while also using 'From' or 'To'",
    ],
    [() => ({ to: { repo: { name: 'else' }, id: 'm' } }), 'commits need to be from repo'],
    [() => ({ to: ref('gone') }), 'gone not found'],
  ])('refuses %#', async (request, text) => {
    expect((await refusalOf(pfs.list(repo, request()))).details).toContain(text);
  });

  it('of all repos, or of one that is missing', async () => {
    const all = await pfs.list('');
    for (const id of ids) expect(all).toContain(id);
    expect((await refusalOf(pfs.list('gone'))).details).toBe(
      '/pachyderm_pfs/repos/ gone not found',
    );
  });

  it('of one transaction: the one with more provenance first', async () => {
    const [a, b] = [await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@master`, { from: [`${a}@master`] });
    const input = await pfs.start(`${a}@master`);
    const output = await headOf(`${b}@master`);
    const pair = async (o: object): Promise<string[]> =>
      (await pfs.list('', o)).filter((id) => id === input || id === output);
    expect(await pair({})).toEqual([output, input]);
    expect(await pair({ reverse: true })).toEqual([input, output]);
  });
});

describe('branches', () => {
  it('get heads and lose them', async () => {
    const repo = await pfs.repo();
    const id = await pfs.commit(`${repo}@a`);
    await pfs.branch(`${repo}@b`, { head: 'a' });
    expect(await headOf(`${repo}@b`)).toBe(id);
    await pfs.branch(`${repo}@b`, { head: 'b' });
    expect(await headOf(`${repo}@b`)).toBe(id);
    await pfs.branch(`${repo}@b`);
    expect(await headOf(`${repo}@b`)).toBeUndefined();
    await pfs.branch(`${repo}@c`, { head: 'b' });
    expect(await headOf(`${repo}@c`)).toBeUndefined();
    expect((await refusalOf(pfs.branch(`${repo}@d`, { head: 'd' }))).details).toContain(
      `unable to inspect ${repo}@d: `,
    );
    expect((await refusalOf(pfs.branch(`${repo}@d`, { head: 'none' }))).details).toBe(
      `unable to inspect ${repo}@none: /pachyderm_pfs/branches/${repo}/ none not found`,
    );
  });

  it('refuse provenance that can not be', async () => {
    const [a, b] = [await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@master`, { from: [`${a}@master`] });
    const cases: [() => Promise<unknown>, string][] = [
      [
        () => pfs.branch(`${a}@x`, { from: [`${a}@x`] }),
        `branch ${a}@x cannot be in its own provenance`,
      ],
      [
        () => pfs.branch(`${a}@master`, { from: [`${b}@master`] }),
        `provenance loop, branch ${a}/master cannot be provenance for itself`,
      ],
      [
        () => pfs.branch(`${a}@x`, { from: ['gone@master'] }),
        '/pachyderm_pfs/repos/ gone not found',
      ],
    ];
    for (const [work, text] of cases) expect((await refusalOf(work())).details).toContain(text);
  });

  it('fill in the old name field, and sort what they read', async () => {
    const [a, b] = [await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@out`, { from: [`${a}@z`, `${a}@b`] });
    const info = await pfs.inspectBranch(`${b}@out`);
    expect(info.name).toBe('out');
    expect(info.provenance.map(({ name }) => name)).toEqual(['b', 'z']);
    // They were made headless, and are listed in their repo.
    expect((await pfs.inspectRepo(a)).branches.map(({ name }) => name)).toEqual(['b', 'z']);
  });

  it('are listed newest first; a missing one is deleted with success', async () => {
    const repo = await pfs.repo();
    for (const name of ['one', 'two', 'three']) await pfs.branch(`${repo}@${name}`);
    const list = async (reverse: boolean) =>
      namesOf(
        (await pfs.call<BranchInfos>('listBranch', { repo: { name: repo }, reverse })).branchInfo,
      );
    expect(await list(false)).toEqual(['three', 'two', 'one']);
    expect(await list(true)).toEqual(['one', 'two', 'three']);
    await pfs.call('deleteBranch', { branch: branchOf(`${repo}@gone`) });
    const noRepo = pfs.call('deleteBranch', { branch: branchOf('gone@gone') });
    expect((await refusalOf(noRepo)).details).toBe('/pachyderm_pfs/repos/ gone not found');
    await pfs.call('deleteBranch', { branch: branchOf('gone@gone'), force: true });
  });

  it('that others read stay unless forced', async () => {
    const [a, b] = [await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@master`, { from: [`${a}@master`] });
    const branch = branchOf(`${a}@master`);
    expect((await refusalOf(pfs.call('deleteBranch', { branch }))).details).toBe(
      `branch master has [${b}@master] as subvenance, deleting it would break those branches`,
    );
    await pfs.call('deleteBranch', { branch, force: true });
    expect((await pfs.inspectBranch(`${b}@master`)).provenance).toEqual([branch]);
    await pfs.branch(`${b}@master`);
  });

  it('keep a direct link when an indirect one goes', async () => {
    const [a, b, c, d] = [await pfs.repo(), await pfs.repo(), await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@m`, { from: [`${a}@m`] });
    await pfs.branch(`${c}@m`, { from: [`${b}@m`] });
    await pfs.branch(`${d}@m`, { from: [`${c}@m`, `${a}@m`] });
    await pfs.branch(`${b}@m`);
    const info = await pfs.inspectBranch(`${d}@m`);
    expect(info.provenance.map(({ repo }) => repo?.name).sort()).toEqual([a, b, c].sort());
  });
});

describe('triggers', () => {
  const trigger = (o: object) => ({ branch: 'm', ...o });

  it('by size, by count, by both, and in chains', async () => {
    const repo = await pfs.repo();
    await pfs.branch(`${repo}@big`, { trigger: trigger({ size: '1K' }) });
    await pfs.branch(`${repo}@third`, { trigger: trigger({ commits: 3 }) });
    await pfs.branch(`${repo}@both`, { trigger: trigger({ commits: 2, size: '10', all: true }) });
    await pfs.branch(`${repo}@after`, { trigger: { branch: 'third', commits: 1 } });
    await pfs.branch(`${repo}@never`, { trigger: trigger({}) });
    await pfs.branch(`${repo}@always`, { trigger: trigger({ all: true }) });
    const heads = async (): Promise<boolean[]> =>
      Promise.all(
        ['big', 'third', 'both', 'after', 'never', 'always'].map(
          async (name) => (await headOf(`${repo}@${name}`)) === (await headOf(`${repo}@m`)),
        ),
      );
    await pfs.files(`${repo}@m`, { '/a': 'x'.repeat(20) });
    expect(await heads()).toEqual([false, false, false, false, false, true]);
    await pfs.files(`${repo}@m`, { '/b': 'x' });
    expect(await heads()).toEqual([false, false, true, false, false, true]);
    await pfs.files(`${repo}@m`, { '/c': 'x'.repeat(1_000) });
    expect(await heads()).toEqual([true, true, false, true, false, true]);
    expect((await pfs.inspectBranch(`${repo}@both`)).trigger).toEqual({
      branch: 'm',
      all: true,
      cronSpec: '',
      size: '10',
      commits: 2,
    });
    // Not given again, it stays.
    await pfs.branch(`${repo}@both`, { head: 'both' });
    expect((await pfs.inspectBranch(`${repo}@both`)).trigger?.commits).toBe(2);
  });

  it('by time: the first commit, then one per period', async () => {
    const repo = await pfs.repo();
    await pfs.branch(`${repo}@daily`, { trigger: trigger({ cronSpec: '@daily' }) });
    const at = (seconds: number) => ({ finished: { seconds, nanos: 0 } });
    const first = await pfs.build(`${repo}@m`, at(86_400 * 10 + 60));
    expect(await headOf(`${repo}@daily`)).toBe(first);
    await pfs.build(`${repo}@m`, at(86_400 * 10 + 7_200));
    expect(await headOf(`${repo}@daily`)).toBe(first);
    const next = await pfs.build(`${repo}@m`, at(86_400 * 11 + 1));
    expect(await headOf(`${repo}@daily`)).toBe(next);
  });

  it.each([
    [{ branch: '' }, 'triggers must specify a branch to trigger on'],
    [{ branch: 'm', cronSpec: 'not a time' }, 'invalid trigger cron spec: '],
    [{ branch: 'm', size: '12 parsecs' }, 'invalid trigger size: '],
    [{ branch: 'm', commits: -1 }, "can't trigger on a negative number of commits"],
    [{ branch: 'self' }, 'triggers cannot form a loop'],
  ])('refuses %j', async (given, text) => {
    const repo = await pfs.repo();
    const refused = await refusalOf(pfs.branch(`${repo}@self`, { trigger: given }));
    expect(refused).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(refused.details).toContain(text);
  });

  it('refuses loops over other branches, and lets a missing source be', async () => {
    const repo = await pfs.repo();
    await pfs.branch(`${repo}@a`, { trigger: { branch: 'b', commits: 1 } });
    const loop = pfs.branch(`${repo}@b`, { trigger: { branch: 'a', commits: 1 } });
    expect((await refusalOf(loop)).details).toBe('triggers cannot form a loop');
    await pfs.files(`${repo}@m`, { '/f': 'x' });
    expect(await headOf(`${repo}@a`)).toBeUndefined();
  });
});

describe('following', () => {
  const open = async (request: object) => {
    const call = pfs.stream<CommitInfo>('subscribeCommit', request);
    const seen: string[] = [];
    let ended: { details: string } | undefined;
    call.on('data', (info: CommitInfo) => seen.push(info.commit?.id ?? ''));
    call.on('error', (error) => (ended = error as unknown as { details: string }));
    return { seen, call, ended: () => ended };
  };

  it('sends what is there, then what comes, each in its turn', async () => {
    const repo = await pfs.repo();
    const first = await pfs.commit(`${repo}@m`);
    await pfs.commit(`${repo}@other`);
    const all = { repo: { name: repo }, branch: 'm', state: CommitState.FINISHED };
    const { seen, call } = await open(all);
    await until('the first came', () => seen.length === 1);
    const second = await pfs.start(`${repo}@m`);
    const free = await pfs.start(repo);
    await pfs.finish(`${repo}@${free}`);
    await pfs.commit(`${repo}@other`);
    expect(seen).toEqual([first]);
    await pfs.finish(`${repo}@${second}`);
    // A commit made on no branch passes every filter.
    await until('the others came', () => seen.length === 3);
    expect(seen).toEqual([first, second, free]);
    call.cancel();
  });

  it('leaves out the one named by `from`, and branches called stats', async () => {
    const repo = await pfs.repo();
    const [a, b] = [await pfs.commit(`${repo}@m`), await pfs.commit(`${repo}@m`)];
    await pfs.commit(`${repo}@stats`);
    const from = { repo: { name: repo }, id: a };
    const { seen, call } = await open({ repo: from.repo, from, state: CommitState.STARTED });
    const c = await pfs.start(`${repo}@m`);
    await until('both came', () => seen.length === 2);
    expect(seen).toEqual([b, c]);
    call.cancel();
  });

  it('waits for a repo that is yet to come, and ends when what it waits for is deleted', async () => {
    const request = { repo: { name: 'later' }, branch: 'm', state: CommitState.FINISHED };
    const { seen, ended } = await open(request);
    await pfs.repo('later');
    const id = await pfs.commit('later@m');
    await until('it came', () => seen.length === 1);
    const gone = await pfs.start('later@m');
    await pfs.call('deleteCommit', { commit: commitOf(`later@${gone}`) });
    await pfs.commit('later@m');
    // Deleted before it was looked at, it is passed over; deleted while waited for, it ends the call.
    await until('it went on or ended', () => seen.length === 2 || ended() !== undefined);
    if (ended()) expect(ended()?.details).toBe(`commit later/${gone} was deleted`);
    expect(seen[0]).toBe(id);
  });

  it('flushes what several commits have in common, and only the repos asked for', async () => {
    const [a, b, c, d] = [await pfs.repo(), await pfs.repo(), await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${c}@m`, { from: [`${a}@m`, `${b}@m`] });
    await pfs.branch(`${d}@m`, { from: [`${c}@m`] });
    const [one, two] = [await pfs.commit(`${a}@m`), await pfs.commit(`${b}@m`)];
    const commits = [commitOf(`${a}@${one}`), commitOf(`${b}@${two}`)];
    const repos = (infos: CommitInfo[]) => infos.map(({ commit }) => commit?.repo?.name).sort();
    const both = pfs.all<CommitInfo>('flushCommit', { commits, toRepos: [] });
    const only = pfs.all<CommitInfo>('flushCommit', { commits, toRepos: [{ name: d }] });
    for (const repo of [c, d]) {
      for (const id of await pfs.list(repo, { reverse: true })) {
        await pfs.finish(`${repo}@${id}`, { empty: repo === d });
      }
    }
    expect(repos(await both)).toEqual([c, d]);
    expect(repos(await only)).toEqual([d]);
    expect(await pfs.all('flushCommit', { commits: [commitOf(`${d}@m`)], toRepos: [] })).toEqual(
      [],
    );
    expect(await refusalOf(pfs.all('flushCommit', {}))).toEqual({
      code: status.INVALID_ARGUMENT,
      details: 'fromCommits cannot be empty',
    });
  });

  it('follows triggers that a flushed commit fires', async () => {
    const [a, b, c] = [await pfs.repo(), await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@m`, { from: [`${a}@m`] });
    await pfs.branch(`${b}@t`, { trigger: { branch: 'm', commits: 1 } });
    await pfs.branch(`${c}@m`, { from: [`${b}@t`] });
    const id = await pfs.commit(`${a}@m`);
    const flushed = pfs.all<CommitInfo>('flushCommit', { commits: [commitOf(`${a}@${id}`)] });
    await pfs.finish(`${b}@m`);
    await until('the trigger made an output commit', () => headOf(`${c}@m`));
    await pfs.finish(`${c}@m`);
    expect((await flushed).map(({ commit }) => commit?.repo?.name)).toEqual([b, c]);
  });

  it('waits for the state that is asked for', async () => {
    const [a, b] = [await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@m`, { from: [`${a}@m`] });
    await pfs.start(`${a}@m`);
    expect((await pfs.inspect(`${b}@m`, CommitState.STARTED)).finished).toBeUndefined();
    let [ready, finished] = [false, false];
    const isReady = pfs.inspect(`${b}@m`, CommitState.READY).then(() => (ready = true));
    const isDone = pfs.inspect(`${b}@m`, CommitState.FINISHED).then((info) => {
      finished = true;
      return info;
    });
    await pfs.list(a);
    expect([ready, finished]).toEqual([false, false]);
    await pfs.finish(`${a}@m`);
    await isReady;
    expect(finished).toBe(false);
    await pfs.finish(`${b}@m`);
    expect((await isDone).finished).toBeDefined();
  });
});

describe('deleting commits', () => {
  it('of the middle gives its children to its parent', async () => {
    const repo = await pfs.repo();
    const [a, b, c] = [
      await pfs.commit(`${repo}@m`),
      await pfs.commit(`${repo}@m`),
      await pfs.commit(`${repo}@m`),
    ];
    const d = await pfs.start(`${repo}@fork`, { parent: b });
    await pfs.branch(`${repo}@at-b`, { head: b });
    await pfs.call('deleteCommit', { commit: commitOf(`${repo}@${b}`) });
    expect((await pfs.inspect(`${repo}@${a}`)).childCommits.map(({ id }) => id).sort()).toEqual(
      [c, d].sort(),
    );
    expect((await pfs.inspect(`${repo}@${c}`)).parentCommit?.id).toBe(a);
    expect((await pfs.inspect(`${repo}@${d}`)).parentCommit?.id).toBe(a);
    expect(await headOf(`${repo}@at-b`)).toBe(a);
    await pfs.call('deleteCommit', { commit: commitOf(`${repo}@${a}`) });
    expect(await headOf(`${repo}@at-b`)).toBeUndefined();
    expect((await pfs.inspect(`${repo}@${c}`)).parentCommit).toBeUndefined();
    expect(await pfs.all('fsck', { fix: false })).toEqual([]);
  });

  it('takes along all that was made from it, and refuses to start there', async () => {
    const [a, b, c] = [await pfs.repo(), await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${b}@m`, { from: [`${a}@m`] });
    await pfs.branch(`${c}@m`, { from: [`${b}@m`] });
    await pfs.commit(`${a}@m`);
    const output = await headOf(`${c}@m`);
    expect(await refusalOf(pfs.call('deleteCommit', { commit: commitOf(`${c}@m`) }))).toEqual({
      code: status.FAILED_PRECONDITION,
      details: `cannot delete the commit "${c}/${output}" because it has non-empty provenance`,
    });
    await pfs.call('deleteCommit', { commit: commitOf(`${a}@m`) });
    for (const repo of [a, b, c]) {
      expect(await pfs.list(repo)).toEqual([]);
      expect(await headOf(`${repo}@m`)).toBeUndefined();
    }
    const gone = await refusalOf(pfs.call('deleteCommit', { commit: commitOf(`${a}@none`) }));
    expect(gone.details).toContain(`resolveCommit: /pachyderm_pfs/branches/${a}/ none not found`);
  });
});
