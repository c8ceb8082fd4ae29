/** Names and references of commits, and the texts of errors that old clients match on. */
import { status } from '@grpc/grpc-js';
import { beforeAll, describe, expect, it } from 'vitest';
import { type PfsApi, refusalOf } from '../support/pfs-api.js';
import { sharedPfs } from '../support/shared.js';

const NONE = '0123456789ab4def8123456789abcdef';
let pfs: PfsApi;

sharedPfs((api) => {
  pfs = api;
});

describe('names', () => {
  const badText = (name: string): string =>
    `name (${name}) invalid: only alphanumeric characters, underscores, and dashes are allowed`;

  it.each(['', ' ', 'a b', 'a.b', 'a/b', 'a@b', 'ä', 'a:b', '*', '..', 'a\n', '__spec__ '])(
    'of repos and branches are not %j',
    async (name) => {
      const refused = { code: status.INVALID_ARGUMENT, details: badText(name) };
      expect(await refusalOf(pfs.repo(name))).toEqual(refused);
      const repo = await pfs.repo();
      const branch = { branch: { repo: { name: repo }, name }, provenance: [], sBranch: '' };
      expect(await refusalOf(pfs.call('createBranch', branch))).toEqual(refused);
      const start = { parent: { repo: { name: repo }, id: '' }, branch: name };
      if (name !== '') expect(await refusalOf(pfs.call('startCommit', start))).toEqual(refused);
      expect((await pfs.inspectRepo(repo)).branches).toEqual([]);
    },
  );

  it('may be long, and differ in case', async () => {
    const long = `L${'o'.repeat(5_000)}ng_-1`;
    await pfs.repo(long);
    await pfs.repo(long.toLowerCase());
    await pfs.files(`${long}@${long}`, { '/f': 'x' });
    expect(await pfs.get(`${long}@${long}:f`)).toBe('x');
    expect((await pfs.inspectRepo(long.toLowerCase())).branches).toEqual([]);
  });

  it.each([NONE, `x${NONE}`, `${NONE}-y`])('of branches hold no commit id: %s', async (name) => {
    const repo = await pfs.repo();
    const refused = {
      code: status.INVALID_ARGUMENT,
      details: 'branch name cannot be a UUID V4',
    };
    expect(await refusalOf(pfs.branch(`${repo}@${name}`))).toEqual(refused);
    expect(await refusalOf(pfs.start(`${repo}@${name}`))).toEqual(refused);
  });

  it('of branches may look much like one', async () => {
    const repo = await pfs.repo();
    const names = [NONE.toUpperCase(), NONE.slice(1), NONE.replace('ab4', 'ab5')];
    for (const name of names) await pfs.commit(`${repo}@${name}`);
    expect((await pfs.inspectRepo(repo)).branches.map(({ name }) => name).sort()).toEqual(
      [...names].sort(),
    );
  });
});

describe('references', () => {
  let repo: string;
  let ids: string[];
  beforeAll(async () => {
    repo = await pfs.repo();
    ids = [];
    for (let i = 0; i < 5; i += 1) ids.push(await pfs.commit(`${repo}@master`));
    await pfs.branch(`${repo}@other`, { head: 'master~3' });
    await pfs.branch(`${repo}@empty`);
  });
  const resolved = async (ref: string): Promise<number> => {
    const info = await pfs.inspect(`${repo}@${ref}`);
    return ids.indexOf(info.commit?.id ?? '');
  };

  it.each([
    ['master', 4],
    ['master^', 3],
    ['master~', 3],
    ['master^^', 2],
    ['master~~~', 1],
    ['master^0', 4],
    ['master~0', 4],
    ['master.0', 4],
    ['master^3', 1],
    ['master~4', 0],
    ['master.1', 0],
    ['master.5', 4],
    ['master^-2', 1],
    ['master~-1', 0],
    ['master.-1', 3],
    ['other', 1],
    ['other^', 0],
    ['other.1', 0],
  ])('%s', async (ref, index) => {
    expect(await resolved(ref)).toBe(index);
  });

  it('start from ids too', async () => {
    expect(await resolved(ids[3] as string)).toBe(3);
    expect(await resolved(`${ids[3]}^2`)).toBe(1);
    expect(await resolved(`${ids[3]}.2`)).toBe(1);
    expect(await resolved(`${ids[3]}.-3`)).toBe(0);
  });

  it('from the root stay while the branch grows', async () => {
    const own = await pfs.repo();
    const first = await pfs.commit(`${own}@b`);
    await pfs.commit(`${own}@b`);
    expect((await pfs.inspect(`${own}@b.1`)).commit?.id).toBe(first);
    await pfs.commit(`${own}@b`);
    expect((await pfs.inspect(`${own}@b.1`)).commit?.id).toBe(first);
  });

  it('of a commit made on no branch tell the branch they came through', async () => {
    const own = await pfs.repo();
    const id = await pfs.start(own);
    await pfs.finish(`${own}@${id}`);
    expect((await pfs.inspect(`${own}@${id}`)).branch).toBeUndefined();
    await pfs.branch(`${own}@named`, { head: id });
    expect((await pfs.inspect(`${own}@named`)).branch?.name).toBe('named');
    expect((await pfs.inspect(`${own}@${id}`)).branch).toBeUndefined();
  });

  const refusals: [string, number, (repo: string) => string][] = [
    ['', status.INVALID_ARGUMENT, () => 'cannot resolve commit with no ID or branch'],
    ['none', status.NOT_FOUND, (r) => `/pachyderm_pfs/branches/${r}/ none not found`],
    ['none^2', status.NOT_FOUND, (r) => `/pachyderm_pfs/branches/${r}/ none not found`],
    [
      'empty',
      status.NOT_FOUND,
      () => `the branch "empty" has no head (create one with 'start commit')`,
    ],
    [
      'empty^',
      status.NOT_FOUND,
      () => `the branch "empty" has no head (create one with 'start commit')`,
    ],
    [NONE, status.NOT_FOUND, (r) => `commit ${NONE} not found in repo ${r}`],
    [`${NONE}^2`, status.NOT_FOUND, (r) => `commit ${NONE}^2 not found in repo ${r}`],
    ['master^5', status.NOT_FOUND, (r) => `commit master^5 not found in repo ${r}`],
    ['master^^^^^', status.NOT_FOUND, (r) => `commit master^^^^^ not found in repo ${r}`],
    ['master.6', status.NOT_FOUND, (r) => `commit master.6 not found in repo ${r}`],
    [
      'master^~',
      status.INVALID_ARGUMENT,
      () => 'invalid ancestry syntax "master^~", cannot mix ^ and ~ characters',
    ],
    ['master.', status.INVALID_ARGUMENT, () => 'invalid ancestry syntax "master."'],
    ['master..', status.INVALID_ARGUMENT, () => 'invalid ancestry syntax "master.."'],
    ['master^x', status.INVALID_ARGUMENT, () => 'invalid ancestry syntax "master^x"'],
    ['master^99999999999', status.INVALID_ARGUMENT, () => 'invalid ancestry syntax "master^9999'],
  ];
  it.each(refusals)('%j is refused', async (ref, code, text) => {
    const refused = await refusalOf(pfs.inspect(`${repo}@${ref}`));
    expect(refused.code).toBe(code);
    expect(refused.details).toContain(text(repo));
  });

  it('of repos that are not there', async () => {
    expect(await refusalOf(pfs.inspect(`none@${NONE}`))).toEqual({
      code: status.NOT_FOUND,
      details: `commit ${NONE} not found in repo none`,
    });
    expect(await refusalOf(pfs.inspect('none@master'))).toEqual({
      code: status.NOT_FOUND,
      details: '/pachyderm_pfs/branches/none/ master not found',
    });
    expect(await refusalOf(pfs.inspect('@master'))).toEqual({
      code: status.INVALID_ARGUMENT,
      details: 'cannot resolve commit with no repo',
    });
  });
});

describe('fields that are missing', () => {
  const file = { commit: undefined, path: '/a' };
  const noRepo = { commit: { repo: undefined, id: 'master' }, path: '/a' };
  const commit = { id: 'master' };
  it.each([
    ['createRepo', {}, 'repo cannot be nil'],
    ['inspectRepo', {}, 'repo cannot be nil'],
    ['deleteRepo', {}, 'repo cannot be nil'],
    ['startCommit', { provenance: [] }, 'parent cannot be nil'],
    ['startCommit', { parent: commit, provenance: [] }, 'parent repo cannot be nil'],
    ['finishCommit', { trees: [] }, 'commit cannot be nil'],
    ['finishCommit', { commit, trees: [] }, 'commit repo cannot be nil'],
    ['inspectCommit', {}, 'commit cannot be nil'],
    ['inspectCommit', { commit }, 'commit repo cannot be nil'],
    ['deleteCommit', {}, 'commit cannot be nil'],
    ['buildCommit', { provenance: [], trees: [] }, 'parent cannot be nil'],
    ['createBranch', { provenance: [] }, 'branch cannot be nil'],
    ['createBranch', { branch: { name: 'x' }, provenance: [] }, 'branch repo cannot be nil'],
    ['inspectBranch', {}, 'branch cannot be nil'],
    ['deleteBranch', {}, 'branch cannot be nil'],
    ['inspectFile', {}, 'file cannot be nil'],
    ['inspectFile', { file }, 'file commit cannot be nil'],
    ['inspectFile', { file: noRepo }, 'file commit repo cannot be nil'],
    ['listFile', {}, 'file cannot be nil'],
    ['globFile', {}, 'commit cannot be nil'],
    ['diffFile', {}, 'new file cannot be nil'],
    ['copyFile', {}, 'src cannot be nil'],
    ['deleteFile', {}, 'file cannot be nil'],
  ] as const)('%s %j', async (method, request, details) => {
    expect(await refusalOf(pfs.call(method, request))).toEqual({
      code: status.INVALID_ARGUMENT,
      details,
    });
  });

  it.each(['listFileStream', 'walkFile', 'getFile', 'globFileStream'] as const)(
    '%s',
    async (method) => {
      const refused = await refusalOf(pfs.all(method, {}));
      expect(refused.code).toBe(status.INVALID_ARGUMENT);
      expect(refused.details).toMatch(/^(file|commit) cannot be nil$/);
    },
  );
});

describe('texts that clients match on', () => {
  const cases: [string, RegExp, number, (repo: string) => Promise<unknown>][] = [
    [
      'a repo that is missing',
      /repos\/ ?[a-zA-Z0-9.\-_]{1,255} not found/,
      status.NOT_FOUND,
      () => pfs.inspectRepo('none'),
    ],
    [
      'a repo that is there',
      /repo ?[a-zA-Z0-9.\-_]{1,255} already exists/,
      status.ALREADY_EXISTS,
      (repo) => pfs.repo(repo),
    ],
    [
      'a branch that is missing',
      /branches\/[a-zA-Z0-9.\-_]{1,255}\/ [^ ]+ not found/,
      status.NOT_FOUND,
      (repo) => pfs.inspectBranch(`${repo}@none`),
    ],
    [
      'a commit that is missing',
      /commit [^ ]+ not found in repo [^ ]+/,
      status.NOT_FOUND,
      (repo) => pfs.inspect(`${repo}@${NONE}`),
    ],
    [
      'a commit that has finished',
      /commit [^ ]+ in repo [^ ]+ has already finished/,
      status.FAILED_PRECONDITION,
      async (repo) => pfs.finish(`${repo}@${await pfs.commit(repo)}`),
    ],
    [
      'a commit that went away under a waiter',
      /commit [^ ]+\/[^ ]+ was deleted/,
      status.NOT_FOUND,
      async (repo) => {
        const id = await pfs.start(`${repo}@x`);
        const waiting = pfs.inspect(`${repo}@${id}`, 2);
        await Promise.all([waiting, pfs.call('deleteCommit', { commit: refOf(repo, id) })]);
      },
    ],
    [
      'an output that has not finished',
      /output commit .+ not finished/,
      status.FAILED_PRECONDITION,
      async (repo) => {
        const out = await pfs.repo();
        await pfs.branch(`${out}@master`, { from: [`${repo}@master`] });
        await pfs.start(`${repo}@master`);
        await pfs.get(`${out}@master:/f`);
      },
    ],
    [
      'a file that is missing',
      /file .+ not found in repo .+ at commit .+/,
      status.NOT_FOUND,
      async (repo) => {
        await pfs.commit(`${repo}@f`);
        await pfs.inspectFile(`${repo}@f:/none`);
      },
    ],
    [
      'a file that is missing in a get',
      /^file "\/none" not found$/,
      status.NOT_FOUND,
      async (repo) => {
        await pfs.commit(`${repo}@g`);
        await pfs.get(`${repo}@g:none`);
      },
    ],
    [
      'an output branch',
      /cannot start a commit on an output branch/,
      status.FAILED_PRECONDITION,
      async (repo) => {
        const out = await pfs.repo();
        await pfs.branch(`${out}@master`, { from: [`${repo}@q`] });
        await pfs.start(`${out}@master`);
      },
    ],
    [
      'a file where a directory is needed',
      /but it's not a directory/,
      status.FAILED_PRECONDITION,
      async (repo) => {
        await pfs.files(`${repo}@c`, { '/a': 'file' });
        await pfs.files(`${repo}@c`, { '/a/b': 'below' });
      },
    ],
    [
      'a commit under an open one',
      /^parent commit [^ ]+@[0-9a-f]{32} has not been finished$/,
      status.FAILED_PRECONDITION,
      async (repo) => {
        await pfs.start(`${repo}@o`);
        await pfs.start(`${repo}@o`);
      },
    ],
  ];
  const refOf = (repo: string, id: string) => ({ repo: { name: repo }, id });

  it.each(cases)('%s', async (_what, text, code, work) => {
    const refused = await refusalOf(work(await pfs.repo()));
    expect(refused.details).toMatch(text);
    expect(refused.code).toBe(code);
  });
});
