/** The handlers of repos, branches and commits behind a real gRPC server. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { status, type ClientReadableStream } from '@grpc/grpc-js';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { ResourceStack } from '../../core/resource-stack.js';
import { pfsHandlers } from '../../coordinator/rpc/pfs.js';
import { openGrpcServer, service } from '../../coordinator/server.js';
import { CLIENT_OPTIONS, insecure } from '../../proto/channel.js';
import {
  CommitState,
  OriginKind,
  type APIClient,
  type APIServer,
  type CommitInfo,
} from '../../proto/generated/pfs.js';
import { PfsClient, PfsService } from '../../proto/services.js';
import { startEtcd } from '../support/etcd.js';
import { until } from '../support/until.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const resources = new ResourceStack();
let client: APIClient;
let stack: VersioningStack;

beforeAll(async () => {
  const etcd = resources.use(await startEtcd({ fsync: false }));
  stack = resources.use(await openVersioningStack(etcd));
  const { versioning } = stack;
  const server = resources.use(
    await openGrpcServer([service<APIServer>(PfsService, pfsHandlers({ versioning }))], {
      listen: '127.0.0.1:0',
      log: silentLog,
      clock: systemClock,
    }),
  );
  client = new PfsClient(`127.0.0.1:${server.port}`, insecure(), CLIENT_OPTIONS);
  resources.defer(async () => client.close());
});
afterAll(() => resources[Symbol.asyncDispose]());

/** Calls a unary method by name. */
async function call<T>(method: keyof APIClient, request: object): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const start = client[method] as (q: object, cb: (e: unknown, r: T) => void) => void;
    start.call(client, request, (error, reply) => (error ? reject(error) : resolve(reply)));
  });
}
const failure = async (work: Promise<unknown>): Promise<object> =>
  work.then(
    () => ({ failed: false }),
    ({ code, details }: { code: number; details: string }) => ({ code, details }),
  );
async function drain(stream: ClientReadableStream<CommitInfo>): Promise<CommitInfo[]> {
  const infos: CommitInfo[] = [];
  for await (const info of stream) infos.push(info as CommitInfo);
  return infos;
}
const repo = { name: 'in' };
const commitRequest = {
  parent: { repo, id: '' },
  branch: 'master',
  description: '',
  provenance: [],
};

it('answers with complete messages, and absent fields where nothing applies', async () => {
  await call('createRepo', { repo, description: 'd', update: false });
  await call('createRepo', { repo: { name: 'out' }, description: '', update: false });
  await call('createBranch', {
    branch: { repo: { name: 'out' }, name: 'master' },
    sBranch: '',
    provenance: [{ repo, name: 'master' }],
  });
  const started = await call<{ id: string }>('startCommit', commitRequest);
  const open = { commit: { repo, id: 'master' }, blockState: CommitState.STARTED };
  expect(await call('inspectCommit', open)).toMatchObject({
    commit: { repo, id: started.id },
    finished: undefined,
    parentCommit: undefined,
    branch: { repo, name: 'master' },
    origin: { kind: OriginKind.USER },
    subvenantCommitsTotal: 1,
  });
  const finish = { commit: started, description: 'text', empty: false, trees: [], sizeBytes: 0 };
  await call('finishCommit', finish);
  const done = await call<CommitInfo>('inspectCommit', { ...open, blockState: 2 });
  expect(done.description).toBe('text');
  expect(done.finished?.seconds).toBeGreaterThanOrEqual(done.started?.seconds ?? 0);
  expect(done.tree?.hash).toMatch(/^[0-9a-f]{64}$/);
  const { repoInfo } = await call<{ repoInfo: object[] }>('listRepo', {});
  expect(repoInfo).toMatchObject([
    { repo: { name: 'out' }, branches: [{ repo: { name: 'out' }, name: 'master' }] },
    { repo, description: 'd', authInfo: undefined, tombstone: false },
  ]);
  expect(await call('inspectBranch', { branch: { repo, name: 'master' } })).toMatchObject({
    name: 'master',
    head: started,
    subvenance: [{ repo: { name: 'out' }, name: 'master' }],
    trigger: undefined,
  });
  const listed = { repo, number: 0, reverse: false };
  const { commitInfo } = await call<{ commitInfo: CommitInfo[] }>('listCommit', listed);
  expect(commitInfo).toEqual(await drain(client.listCommitStream(listed)));
});

it('fails with the known text and the proper status', async () => {
  expect(await failure(call('inspectRepo', { repo: { name: 'none' } }))).toEqual({
    code: status.NOT_FOUND,
    details: '/pachyderm_pfs/repos/ none not found',
  });
  expect(await failure(call('createRepo', { repo, description: '', update: false }))).toEqual({
    code: status.ALREADY_EXISTS,
    details: 'repo in already exists',
  });
  expect(await failure(call('inspectRepo', {}))).toEqual({
    code: status.INVALID_ARGUMENT,
    details: 'repo cannot be nil',
  });
  expect(await failure(call('startCommit', { ...commitRequest, parent: undefined }))).toEqual({
    code: status.INVALID_ARGUMENT,
    details: 'parent cannot be nil',
  });
  expect(await drain(client.fsck({ fix: false, data: false, noObjects: false }) as never)).toEqual(
    [],
  );
  const flush = await failure(drain(client.flushCommit({ commits: [], toRepos: [] })));
  expect(flush).toMatchObject({ details: 'fromCommits cannot be empty' });
});

it('ends endless streams when the client goes', async () => {
  const stream = client.subscribeCommit({
    repo,
    branch: 'master',
    state: CommitState.FINISHED,
  });
  const ended = failure(drain(stream));
  await until('it waits', () => stack.versioning.wakeups.waiting > 0);
  stream.cancel();
  expect(await ended).toMatchObject({ code: status.CANCELLED });
  await until('nobody waits', () => stack.versioning.wakeups.waiting === 0);
});
