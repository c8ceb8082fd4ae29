/** The rpcs of pfs.API about repos, branches and commits: requests in, use cases, replies out. */
import { invalidInput } from '../../core/errors.js';
import { isId } from '../../core/ids.js';
import type { Wait } from '../../storage/types.js';
import type {
  APIServer,
  CommitInfo,
  DeleteRepoRequest,
  FsckRequest,
  FsckResponse,
  ListCommitRequest,
} from '../../proto/generated/pfs.js';
import type { CommitRecord, Versioning } from '../versioning/index.js';
import type { Handlers, RpcContext } from './handler.js';
import {
  branchName,
  commitRef,
  fromOrigin,
  fromState,
  fromTimestamp,
  provenanceInputs,
  repoName,
  toBranchInfo,
  toCommit,
  toCommitInfo,
  toRepoInfo,
} from './pfs-convert.js';
import {
  createBranchInput,
  createRepoInput,
  finishCommitInput,
  noStoredTrees,
  startCommitInput,
} from './pfs-inputs.js';

export interface PfsDeps {
  readonly versioning: Versioning;
  /** What is wrong with stored objects; absent: fsck looks at the metadata alone. */
  readonly checkStored?: (options: { readonly data: boolean }, wait: Wait) => AsyncIterable<string>;
}

/** Commits whose surroundings are read side by side while a list streams. */
const DETAILS_AHEAD = 16;

export function pfsHandlers(deps: PfsDeps): Handlers<APIServer> {
  return {
    ...repoHandlers(deps),
    ...branchHandlers(deps),
    ...commitHandlers(deps),
    fsck: (request, ctx) => findings(deps, request, ctx),
  };
}

async function* findings(
  { versioning, checkStored }: PfsDeps,
  { fix, data, noObjects }: FsckRequest,
  wait: Wait,
): AsyncGenerator<FsckResponse> {
  for await (const finding of versioning.fsck({ fix }, wait)) {
    yield { error: '', fix: '', ...finding };
  }
  if (!checkStored || (noObjects && !data)) return;
  for await (const error of checkStored({ data }, wait)) yield { error, fix: '' };
}

function repoHandlers({ versioning }: PfsDeps): Handlers<APIServer> {
  return {
    createRepo: async (request, ctx) => {
      await versioning.createRepo(createRepoInput(request), ctx);
      return {};
    },
    inspectRepo: async ({ repo }, ctx) =>
      toRepoInfo(await versioning.inspectRepo(repoName(repo), ctx)),
    listRepo: async (_request, ctx) => ({
      repoInfo: (await versioning.listRepos(ctx)).map(toRepoInfo),
    }),
    deleteRepo: async (request, ctx) => {
      await deleteRepos(versioning, request, ctx);
      return {};
    },
    deleteAll: async (_request, ctx) => {
      await versioning.deleteAllRepos(ctx);
      return {};
    },
  };
}

function branchHandlers({ versioning }: PfsDeps): Handlers<APIServer> {
  return {
    createBranch: async (request, ctx) => {
      await versioning.createBranch(createBranchInput(request), ctx);
      return {};
    },
    inspectBranch: async ({ branch }, ctx) =>
      toBranchInfo(await versioning.inspectBranch(branchName(branch), ctx)),
    listBranch: async ({ repo, reverse }, ctx) => ({
      branchInfo: (await versioning.listBranches(repo?.name ?? '', { reverse }, ctx)).map(
        toBranchInfo,
      ),
    }),
    deleteBranch: async ({ branch, force }, ctx) => {
      await versioning.deleteBranch(branchName(branch), { force }, ctx);
      return {};
    },
  };
}

function commitHandlers({ versioning }: PfsDeps): Handlers<APIServer> {
  const infos = (commits: AsyncIterable<CommitRecord>, ctx: RpcContext) =>
    withDetails(versioning, commits, ctx);
  return {
    startCommit: async (request, ctx) =>
      toCommit(await versioning.startCommit(startCommitInput(request), ctx)),
    finishCommit: async (request, ctx) => {
      const { ref, options } = finishCommitInput(request);
      await versioning.finishCommit(ref, options, ctx);
      return {};
    },
    buildCommit: (request, ctx) => buildCommit(versioning, request, ctx),
    inspectCommit: async ({ commit, blockState }, ctx) => {
      const found = await versioning.resolve(commitRef(commit), ctx);
      const state = fromState(blockState);
      let record = found.commit;
      if (state === 'READY') await versioning.waitReady(record, ctx);
      if (state === 'FINISHED') record = await versioning.waitFinished(record, ctx);
      return toCommitInfo(await versioning.commitDetails(record, ctx), found.viaBranch);
    },
    listCommit: async (request, ctx) => {
      const commitInfo: CommitInfo[] = [];
      for await (const info of infos(listed(versioning, request, ctx), ctx)) commitInfo.push(info);
      return { commitInfo };
    },
    listCommitStream: (request, ctx) => infos(listed(versioning, request, ctx), ctx),
    flushCommit: ({ commits, toRepos }, ctx) =>
      eachDetails(
        versioning,
        versioning.flushCommits(
          commits.map((commit) => commitRef(commit)),
          toRepos.map((repo) => repo.name),
          ctx,
        ),
        ctx,
      ),
    subscribeCommit: ({ repo, branch, prov, from, state }, ctx) => {
      const provenance = prov && {
        commit: commitRef(prov.commit, 'provenance commit'),
        branch: branchName(prov.branch, 'provenance branch'),
      };
      const input = {
        repo: repoName(repo),
        branch,
        ...(provenance ? { provenance } : {}),
        ...(from?.id ? { from: from.id } : {}),
        state: fromState(state),
      };
      return eachDetails(versioning, versioning.subscribeCommits(input, ctx), ctx);
    },
    deleteCommit: async ({ commit }, ctx) => {
      await versioning.deleteCommit(commitRef(commit), ctx);
      return {};
    },
  };
}

async function buildCommit(
  versioning: Versioning,
  request: Parameters<NonNullable<Handlers<APIServer>['buildCommit']>>[0],
  ctx: RpcContext,
) {
  const { parent, branch, provenance, ID: id, started, finished, origin } = request;
  if (request.tree || request.trees.length > 0 || request.datums) {
    throw noStoredTrees('BuildCommit');
  }
  if (id && !isId(id)) throw invalidInput(`"${id}" is not a commit id`);
  const { repo, id: parentId } = commitRef(parent, 'parent');
  const start = started ?? finished;
  const input = {
    repo,
    parent: parentId,
    branch,
    provenance: provenanceInputs(provenance),
    ...(id ? { id } : {}),
    ...(start ? { started: fromTimestamp(start) } : {}),
    ...(origin ? { origin: fromOrigin(origin.kind) } : {}),
  };
  if (!finished) return toCommit(await versioning.startCommit(input, ctx));
  const content = { kind: 'empty', finished: fromTimestamp(finished) } as const;
  return toCommit(await versioning.buildCommit(input, content, ctx));
}

async function deleteRepos(
  versioning: Versioning,
  { repo, all, force, splitTransaction }: DeleteRepoRequest,
  ctx: RpcContext,
): Promise<void> {
  if (!splitTransaction) {
    if (all) await versioning.deleteAllRepos(ctx);
    else await versioning.deleteRepo(repoName(repo), { force }, ctx);
    return;
  }
  if (!all) return versioning.deleteRepoPiecemeal(repoName(repo), { force }, ctx);
  for (const { name } of await versioning.listRepos(ctx)) {
    await versioning.deleteRepoPiecemeal(name, { force: true }, ctx);
  }
}

function listed(
  versioning: Versioning,
  { repo, from, to, number, reverse }: ListCommitRequest,
  ctx: RpcContext,
): AsyncIterable<CommitRecord> {
  return versioning.listCommits(
    {
      repo: repo?.name ?? '',
      ...(from?.id ? { from: commitRef(from, 'from commit') } : {}),
      ...(to?.id ? { to: commitRef(to, 'to commit') } : {}),
      number,
      reverse,
    },
    ctx,
  );
}

/** Details of commits that come fast, read a few at a time, in order. */
async function* withDetails(
  versioning: Versioning,
  commits: AsyncIterable<CommitRecord>,
  ctx: RpcContext,
): AsyncGenerator<CommitInfo> {
  let batch: CommitRecord[] = [];
  const flush = async (): Promise<CommitInfo[]> => {
    const full = await Promise.all(batch.map((commit) => versioning.commitDetails(commit, ctx)));
    batch = [];
    return full.map((commit) => toCommitInfo(commit));
  };
  for await (const commit of commits) {
    batch.push(commit);
    if (batch.length >= DETAILS_AHEAD) yield* await flush();
  }
  yield* await flush();
}

/** Details of commits that come as they are done: each is sent at once. */
async function* eachDetails(
  versioning: Versioning,
  commits: AsyncIterable<CommitRecord>,
  ctx: RpcContext,
): AsyncGenerator<CommitInfo> {
  for await (const commit of commits) {
    yield toCommitInfo(await versioning.commitDetails(commit, ctx));
  }
}
