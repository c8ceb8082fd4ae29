/** transaction.API behind a real gRPC server on a real etcd. */
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import { createJobIn } from '../../coordinator/pipelines/model.js';
import type { CommitRecord } from '../../coordinator/versioning/index.js';
import {
  BuildCommitRequest,
  CreateBranchRequest,
  CreateRepoRequest,
  DeleteBranchRequest,
  DeleteRepoRequest,
  FinishCommitRequest,
  StartCommitRequest,
  type APIClient as PfsApi,
  type Commit,
} from '../../proto/generated/pfs.js';
import {
  CreatePipelineRequest,
  JobState,
  UpdateJobStateRequest,
} from '../../proto/generated/pps.js';
import {
  TransactionRequest,
  type Transaction,
  type TransactionInfo,
  type TransactionInfos,
} from '../../proto/generated/transaction.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { call, TransactionServer } from '../support/transaction-server.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
beforeAll(async () => {
  etcd = await startEtcd({ fsync: false });
});
afterAll(async () => {
  await etcd[Symbol.asyncDispose]();
});

let server: TransactionServer;
beforeEach(async () => {
  server = await TransactionServer.open(etcd);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
});

const failure = async (work: Promise<unknown>): Promise<{ code: number; details: string }> =>
  work.then(
    () => ({ code: 0, details: 'it did not fail' }),
    ({ code, details }: { code: number; details: string }) => ({ code, details }),
  );
const start = async (): Promise<string> =>
  (await call<Transaction>(server.transactions, 'startTransaction')).id;
const finish = (id: string): Promise<TransactionInfo> =>
  call(server.transactions, 'finishTransaction', { transaction: { id } });
const inspect = (id: string): Promise<TransactionInfo> =>
  call(server.transactions, 'inspectTransaction', { transaction: { id } });
const listed = async (): Promise<(string | undefined)[]> =>
  (await call<TransactionInfos>(server.transactions, 'listTransaction')).transactionInfo.map(
    (info) => info.transaction?.id,
  );

const createRepo = (name: string, ...join: string[]): Promise<unknown> =>
  call(server.pfs, 'createRepo', CreateRepoRequest.fromPartial({ repo: { name } }), join);
const deleteRepo = (name: string, more: object, ...join: string[]): Promise<unknown> =>
  call(server.pfs, 'deleteRepo', DeleteRepoRequest.fromPartial({ repo: { name }, ...more }), join);
const createBranch = (repo: string, name: string, more: object, ...join: string[]) => {
  const request = CreateBranchRequest.fromPartial({
    branch: { repo: { name: repo }, name },
    ...more,
  });
  return call(server.pfs, 'createBranch', request, join);
};
const startCommit = (repo: string, branch: string, ...join: string[]): Promise<Commit> => {
  const request = StartCommitRequest.fromPartial({ parent: { repo: { name: repo } }, branch });
  return call(server.pfs, 'startCommit', request, join);
};
const commitOf = (repo: string, id: string) => ({ repo: { name: repo }, id });
const finishCommit = (repo: string, id: string, ...join: string[]): Promise<unknown> => {
  const request = FinishCommitRequest.fromPartial({ commit: commitOf(repo, id) });
  return call(server.pfs, 'finishCommit', request, join);
};
const deleteCommit = (repo: string, id: string, ...join: string[]): Promise<unknown> =>
  call(server.pfs, 'deleteCommit', { commit: commitOf(repo, id) }, join);
async function commits(repo: string): Promise<CommitRecord[]> {
  const found: CommitRecord[] = [];
  for await (const each of server.stack.versioning.listCommits({ repo }, wait)) found.push(each);
  return found;
}
const resolve = (repo: string, id: string): Promise<CommitRecord> =>
  server.stack.versioning.resolveCommit({ repo, id }, wait);
const put = async (commit: CommitRecord, files: Record<string, string>): Promise<void> => {
  const { versioning } = server.stack;
  await versioning.registerRuns(
    commit,
    [await server.stack.put(files)],
    String(Math.random()),
    wait,
  );
};
async function names(repo: string, id: string): Promise<string[]> {
  const { versioning, storage } = server.stack;
  const root = await versioning.openTree(await resolve(repo, id), wait);
  const found: string[] = [];
  for await (const { name } of storage.trees.list(root, '/', wait)) found.push(name);
  return found;
}

describe('recording', () => {
  it('shows nothing before the end and all of it after', async () => {
    await createRepo('before');
    const id = await start();
    expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    await createRepo('in', id);
    const commit = await startCommit('in', 'master', id);
    expect(commit).toMatchObject({ repo: { name: 'in' } });
    expect(await failure(call(server.pfs, 'inspectRepo', { repo: { name: 'in' } }, [id]))).toEqual({
      code: status.NOT_FOUND,
      details: '/pachyderm_pfs/repos/ in not found',
    });
    expect(
      (await failure(call(server.pfs, 'inspectCommit', { commit, blockState: 0 }, [id]))).details,
    ).toBe(`commit ${commit.id} not found in repo in`);
    await expect(
      server.stack.versioning.writeTarget({ repo: 'in', id: commit.id }, wait),
    ).rejects.toThrow('not found');
    const info = await inspect(id);
    expect(info).toMatchObject({
      transaction: { id },
      requests: [{ createRepo: { repo: { name: 'in' } } }, { startCommit: { branch: 'master' } }],
      responses: [{ commit: undefined }, { commit }],
    });
    expect(info.started?.seconds).toBeGreaterThan(1_600_000_000);
    expect(await finish(id)).toEqual(info);
    expect((await resolve('in', 'master')).id).toBe(commit.id);
    expect(await failure(inspect(id))).toEqual({
      code: status.NOT_FOUND,
      details: `/pachyderm_pfs/transactions/ ${id} not found`,
    });
  });

  it('refuses what can not work now, and records nothing of it', async () => {
    const id = await start();
    await createRepo('in', id);
    expect(await failure(createRepo('in', id))).toEqual({
      code: status.ALREADY_EXISTS,
      details: 'error running request 2 of 2: repo in already exists',
    });
    expect(await failure(startCommit('none', 'master', id))).toEqual({
      code: status.NOT_FOUND,
      details: 'error running request 2 of 2: /pachyderm_pfs/repos/ none not found',
    });
    expect((await failure(createRepo('b.d', id))).details).toContain(
      'name (b.d) invalid: only alphanumeric characters',
    );
    expect((await inspect(id)).requests).toHaveLength(1);
    await finish(id);
  });

  it('needs one transaction that exists', async () => {
    const id = await start();
    expect(await failure(createRepo('in', id, id))).toEqual({
      code: status.INVALID_ARGUMENT,
      details: 'multiple active transactions found in context',
    });
    const gone = '00000000-0000-4000-8000-000000000000';
    const missing = {
      code: status.NOT_FOUND,
      details: `/pachyderm_pfs/transactions/ ${gone} not found`,
    };
    expect(await failure(createRepo('in', gone))).toEqual(missing);
    expect(await failure(finish(gone))).toEqual(missing);
    expect(await failure(inspect(gone))).toEqual(missing);
    const drop = call(server.transactions, 'deleteTransaction', { transaction: { id: gone } });
    expect(await failure(drop)).toEqual(missing);
    expect(await failure(call(server.transactions, 'inspectTransaction', {}))).toEqual({
      code: status.INVALID_ARGUMENT,
      details: 'transaction cannot be nil',
    });
    expect((await inspect(id)).requests).toEqual([]);
  });

  it('does other calls at once, whatever transaction they carry', async () => {
    await createRepo('in');
    await startCommit('in', 'master');
    const id = await start();
    await createRepo('later', id);
    const repos = await call<{ repoInfo: object[] }>(server.pfs, 'listRepo', {}, [id]);
    expect(repos.repoInfo).toHaveLength(1);
    const finished = { seconds: 5, nanos: 0 };
    const built = BuildCommitRequest.fromPartial({ parent: commitOf('in', ''), finished });
    await call(server.pfs, 'buildCommit', built, [id]);
    expect(await commits('in')).toHaveLength(2);
    await deleteRepo('in', { splitTransaction: true }, id);
    expect((await inspect(id)).requests).toHaveLength(1);
  });

  it('keeps every request when many add at once, here and in another coordinator', async () => {
    const other = await TransactionServer.open(etcd, server.stack);
    try {
      const id = await start();
      const clients = [server.pfs, other.pfs];
      const list = Array.from({ length: 24 }, (_, i) => `r${i}`);
      await Promise.all(
        list.map((name, i) => {
          const request = CreateRepoRequest.fromPartial({ repo: { name } });
          return call(clients[i % 2] as PfsApi, 'createRepo', request, [id]);
        }),
      );
      const { requests } = await inspect(id);
      expect(requests.map((each) => each.createRepo?.repo?.name).sort()).toEqual(list.sort());
      // The other one finishes what both have recorded.
      await call(other.transactions, 'finishTransaction', { transaction: { id } });
      expect(await server.stack.versioning.listRepos(wait)).toHaveLength(24);
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });
});

describe('finishing', () => {
  beforeEach(async () => {
    for (const name of ['a', 'b', 'out']) await createRepo(name);
    const provenance = ['a', 'b'].map((name) => ({ repo: { name }, name: 'master' }));
    await createBranch('out', 'master', { provenance });
  });

  it('makes one output commit for commits started in several inputs', async () => {
    const id = await start();
    const one = await startCommit('a', 'master', id);
    const two = await startCommit('b', 'master', id);
    await finish(id);
    const outputs = await commits('out');
    expect(outputs).toHaveLength(1);
    expect(outputs[0]?.provenance.map((entry) => entry.id)).toEqual([one.id, two.id]);
    await put(await resolve('a', one.id), { '/x': 'x' });
    await finishCommit('a', one.id);
    await finishCommit('b', two.id);
    expect(await commits('out')).toHaveLength(1);
    expect(await names('a', 'master')).toEqual(['x']);
  });

  it('starts and finishes commits of one branch several times over', async () => {
    const id = await start();
    const started: string[] = [];
    for (let i = 0; i < 3; i += 1) {
      started.push((await startCommit('a', 'master', id)).id);
      await finishCommit('a', i === 1 ? (started[1] as string) : 'master', id);
    }
    await finish(id);
    const made = await commits('a');
    expect(made.map((commit) => commit.id).sort()).toEqual(started.sort());
    expect(made.every((commit) => commit.finished !== undefined && commit.size === 0)).toBe(true);
    expect((await commits('out')).map((commit) => commit.provenance.length)).toEqual([1]);
    const kvs = await server.stack.meta.range('open/a/', wait);
    expect(kvs.kvs).toHaveLength(0);
  });

  it('finishes commits with what was written to them up to then', async () => {
    const commit = await startCommit('a', 'master');
    const record = await resolve('a', commit.id);
    await put(record, { '/one': '1' });
    const id = await start();
    await finishCommit('a', 'master', id);
    await put(record, { '/two': '22' });
    const next = await startCommit('a', 'master', id);
    await finishCommit('a', next.id, id);
    expect((await resolve('a', commit.id)).finished).toBeUndefined();
    await finish(id);
    expect(await names('a', commit.id)).toEqual(['one', 'two']);
    expect(await resolve('a', 'master')).toMatchObject({ id: next.id, parent: commit.id, size: 3 });
    expect((await failure(finishCommit('a', commit.id))).details).toBe(
      `commit ${commit.id} in repo a has already finished`,
    );
  });

  it('changes nothing and keeps the transaction when it fails', async () => {
    const id = await start();
    await createRepo('new', id);
    await startCommit('a', 'master', id);
    const late = await startCommit('a', 'master');
    expect(await failure(finish(id))).toEqual({
      code: status.FAILED_PRECONDITION,
      details: `error running request 2 of 2: parent commit a@${late.id} has not been finished`,
    });
    expect((await inspect(id)).requests).toHaveLength(2);
    expect((await server.stack.versioning.listRepos(wait)).map(({ name }) => name)).not.toContain(
      'new',
    );
    await finishCommit('a', 'master');
    await finish(id);
    expect((await resolve('a', 'master')).parent).toBe(late.id);
  });

  it('lets later requests see what earlier ones deleted and made anew', async () => {
    const first = await startCommit('a', 'master');
    await finishCommit('a', 'master');
    const second = await startCommit('a', 'master');
    await finishCommit('a', 'master');
    const id = await start();
    await deleteCommit('a', second.id, id);
    const gone = await failure(finishCommit('a', second.id, id));
    expect(gone.details).toBe(
      `error running request 2 of 2: commit ${second.id} not found in repo a`,
    );
    const third = await startCommit('a', 'master', id);
    await deleteRepo('b', { force: true }, id);
    await createRepo('b', id);
    await createBranch('b', 'side', {}, id);
    await call(
      server.pfs,
      'deleteBranch',
      DeleteBranchRequest.fromPartial({ branch: { repo: { name: 'b' }, name: 'side' } }),
      [id],
    );
    await finish(id);
    expect(await resolve('a', 'master')).toMatchObject({ id: third.id, parent: first.id });
    expect((await server.stack.versioning.inspectRepo('b', wait)).branches).toEqual([]);
  });

  it('works in another coordinator after the first one is gone', async () => {
    const id = await start();
    const commit = await startCommit('a', 'master', id);
    const { prefix, storeDir } = server.stack;
    const other = await TransactionServer.open(etcd, { prefix, storeDir });
    try {
      await call(other.transactions, 'finishTransaction', { transaction: { id } });
      const head = await other.stack.versioning.resolveCommit({ repo: 'a', id: 'master' }, wait);
      expect(head.id).toBe(commit.id);
    } finally {
      await other[Symbol.asyncDispose]();
    }
  });

  it('is done once when two finish at the same time', async () => {
    const id = await start();
    await startCommit('a', 'master', id);
    const results = await Promise.allSettled([finish(id), finish(id)]);
    expect(results.filter((each) => each.status === 'fulfilled')).toHaveLength(1);
    expect(await commits('a')).toHaveLength(1);
    expect(await commits('out')).toHaveLength(1);
  });
});

describe('batches', () => {
  it('run together, or not at all', async () => {
    const requests = ['a', 'b'].map((name) =>
      TransactionRequest.fromPartial({ createRepo: { repo: { name } } }),
    );
    const started = TransactionRequest.fromPartial({
      startCommit: { parent: { repo: { name: 'a' } }, branch: 'master' },
    });
    const list = { requests: [...requests, started] };
    const info = await call<TransactionInfo>(server.transactions, 'batchTransaction', list);
    expect(info.requests).toHaveLength(3);
    expect(info.responses[2]?.commit?.id).toBe((await resolve('a', 'master')).id);
    const again = await failure(call(server.transactions, 'batchTransaction', list));
    expect(again.details).toBe('error running request 1 of 3: repo a already exists');
    const unknown = { requests: [TransactionRequest.fromPartial({})] };
    expect(await failure(call(server.transactions, 'batchTransaction', unknown))).toEqual({
      code: status.INVALID_ARGUMENT,
      details: 'error running request 1 of 1: unrecognized transaction request type',
    });
    expect(await listed()).toEqual([]);
  });
});

describe('keeping', () => {
  it('lists the newest first, drops one, drops all', async () => {
    const ids = [await start(), await start(), await start()];
    expect(await listed()).toEqual([...ids].reverse());
    await createRepo('in', ids[1] as string);
    await call(server.transactions, 'deleteTransaction', { transaction: { id: ids[1] } });
    expect(await listed()).toEqual([ids[2], ids[0]]);
    expect((await server.stack.meta.range('txr/', wait)).kvs).toHaveLength(0);
    const everything = { requests: [TransactionRequest.fromPartial({ deleteAll: {} })] };
    await call(server.transactions, 'batchTransaction', everything);
    expect(await listed()).toEqual([]);
    await start();
    await call(server.transactions, 'deleteAll');
    expect(await listed()).toEqual([]);
  });
});

describe('pipelines', () => {
  const spec = (name: string, repo: string, more: object = {}): CreatePipelineRequest =>
    CreatePipelineRequest.fromPartial({
      pipeline: { name },
      transform: { image: 'host', cmd: ['true'] },
      input: { pfs: { repo, glob: '/' } },
      ...more,
    });
  const create = (name: string, repo: string, ...join: string[]): Promise<unknown> =>
    call(server.pps, 'createPipeline', spec(name, repo), join);

  it('made together get one output commit each, on the final graph', async () => {
    await createRepo('in');
    await startCommit('in', 'master');
    await finishCommit('in', 'master');
    const id = await start();
    await create('p', 'in', id);
    await create('q', 'p', id);
    expect((await failure(create('p', 'in', id))).details).toBe(
      'error running request 3 of 3: pipeline p already exists',
    );
    expect((await failure(create('r', 'none', id))).details).toContain('repos/ none not found');
    await finish(id);
    const outputs = await Promise.all(['p', 'q'].map(commits));
    expect(outputs.map((list) => list.length)).toEqual([1, 1]);
    expect(outputs[1]?.[0]?.provenance.map(({ repo }) => repo)).toEqual([
      '__spec__',
      '__spec__',
      'in',
      'p',
    ]);
    const update = await start();
    for (const [name, repo] of [
      ['p', 'in'],
      ['q', 'p'],
    ] as const) {
      await call(server.pps, 'createPipeline', spec(name, repo, { update: true }), [update]);
    }
    await finish(update);
    expect((await Promise.all(['p', 'q'].map(commits))).map((list) => list.length)).toEqual([2, 2]);
  });

  it('have the states of their jobs set, alone and in a transaction', async () => {
    await createRepo('in');
    await startCommit('in', 'master');
    await finishCommit('in', 'master');
    await create('p', 'in');
    const output = await resolve('p', 'master');
    const job = server.stack.versioning.newId();
    const record = await server.pipelines.record('p', wait);
    await server.stack.meta.transact(
      (t) =>
        createJobIn(t, {
          ...{ id: job, pipeline: 'p', version: 1, specCommit: record.specCommit },
          ...{ outputBranch: 'master', outputCommit: output.id, inputs: [], startedMs: 1 },
        }),
      { ...wait, label: 'test' },
    );
    const state = (to: JobState, more: object = {}): UpdateJobStateRequest =>
      UpdateJobStateRequest.fromPartial({ job: { id: job }, state: to, ...more });
    const running = state(JobState.JOB_RUNNING, { dataTotal: 7, reason: 'so far' });
    await call(server.pps, 'updateJobState', running);
    expect(await server.pipelines.job(job, wait)).toMatchObject({ state: 'RUNNING', total: 7 });
    expect(await failure(call(server.pps, 'updateJobState', state(JobState.JOB_SUCCESS)))).toEqual({
      code: status.FAILED_PRECONDITION,
      details: `output commit ${output.id} not finished`,
    });
    const id = await start();
    await call(server.pps, 'updateJobState', state(JobState.JOB_FAILURE, { reason: 'no' }), [id]);
    expect(await server.pipelines.job(job, wait)).toMatchObject({ state: 'RUNNING' });
    await finish(id);
    expect(await server.pipelines.job(job, wait)).toMatchObject({ state: 'FAILURE', reason: 'no' });
    expect(await resolve('p', output.id)).toMatchObject({ kind: 'empty', size: 0 });
    expect((await server.pipelines.record('p', wait)).jobCounts).toMatchObject({ FAILURE: 1 });
  });
});
