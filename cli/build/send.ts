/**
 * Creates or updates a pipeline whose code is built from a directory.
 *
 * B1 Files go to a commit on no branch, which nobody sees; one transaction then moves the branch
 *    `source` to it and makes both pipelines. What fails leaves nothing behind.
 * B2 Source that did not change makes no commit, so nothing is built again.
 */
import { resolve } from 'node:path';
import { AppError, codeOf, stateConflict } from '../../core/errors.js';
import {
  CreateBranchRequest,
  CreateRepoRequest,
  DeleteCommitRequest,
  DeleteFileRequest,
  DeleteRepoRequest,
  FinishCommitRequest,
  InspectFileRequest,
  StartCommitRequest,
  type Commit,
} from '../../proto/generated/pfs.js';
import type { CreatePipelineRequest } from '../../proto/generated/pps.js';
import {
  APIClient as TransactionClient,
  BatchTransactionRequest,
} from '../../proto/generated/transaction.js';
import type { Client } from '../client/client.js';
import { FrameMaker } from '../put/frames.js';
import { NO_PROGRESS } from '../put/progress.js';
import { BrokenOff, PutStream } from '../put/put-stream.js';
import { Pace, readAhead } from '../put/read-ahead.js';
import { sendFile } from '../put/upload.js';
import type { LocalFile } from '../put/walk.js';
import type { Session } from '../session.js';
import { expandBuild, SOURCE_BRANCH, type BuiltPipeline } from './expand.js';
import { sourceFiles } from './source-files.js';

export interface BuildOptions {
  readonly update: boolean;
  readonly reprocess: boolean;
  /** What `transform.build.path` is relative to. */
  readonly base: string;
}

const PUT_OPTIONS = {
  ...{ delimiter: 0, targetFileDatums: 0, targetFileBytes: 0, headerRecords: 0 },
  overwrite: true,
};
const PARALLELISM = 10;

/** Sends one spec with `transform.build`. */
export async function sendBuilt(
  session: Session,
  spec: CreatePipelineRequest,
  options: BuildOptions,
): Promise<void> {
  const built = expandBuild(spec);
  const path = spec.transform?.build?.path || '.';
  const files = sourceFiles(resolve(options.base, path), session.note);
  const client = await session.client();
  if (client.target.context.active_transaction) {
    throw stateConflict(
      'a pipeline with transform.build uploads its files at once and cannot wait in a transaction; ' +
        'finish or stop the transaction first',
    );
  }
  const { buildName } = built;
  const madeRepo = await makeRepo(client, buildName);
  let commit: Commit | undefined;
  try {
    commit = await start(client, buildName);
    const changed = await upload(client, commit, files);
    await create(client, built, { ...options, ...(changed ? { commit } : {}) });
    if (!changed) await drop(client, commit);
    const what = changed ? `${files.length} files of ${path} uploaded` : `${path} has not changed`;
    session.note(`${what}; pipeline ${buildName} builds the code of ${spec.pipeline?.name ?? ''}`);
  } catch (error) {
    if (commit) await drop(client, commit).catch(() => undefined);
    if (madeRepo) await dropRepo(client, buildName).catch(() => undefined);
    throw error;
  }
}

/** Answers whether it was made now. */
async function makeRepo(client: Client, name: string): Promise<boolean> {
  const description = `Source and built code of pipeline ${name.replace(/_build$/, '')}.`;
  const request = CreateRepoRequest.fromPartial({ repo: { name }, description });
  try {
    await client.unary(client.pfs.createRepo, request);
    return true;
  } catch (error) {
    if (codeOf(error) !== 'ALREADY_EXISTS') throw error;
    return false;
  }
}

/** A commit on no branch, on top of the source before it. */
async function start(client: Client, repo: string): Promise<Commit> {
  const { pfs } = client;
  const before = await rootHash(client, { repo: { name: repo }, id: SOURCE_BRANCH });
  const id = before === undefined ? '' : SOURCE_BRANCH;
  const parent = { repo: { name: repo }, id };
  return client.unary(pfs.startCommit, StartCommitRequest.fromPartial({ parent }));
}

/** Fills and finishes the commit; answers whether it differs from the source before. */
async function upload(
  client: Client,
  commit: Commit,
  files: readonly LocalFile[],
): Promise<boolean> {
  const { pfs, signal } = client;
  const all = DeleteFileRequest.fromPartial({ file: { commit, path: '/' } });
  await client.unary(pfs.deleteFile, all);
  const stream = new PutStream(client);
  const frames = new FrameMaker(commit, PUT_OPTIONS);
  try {
    const pace = new Pace();
    const sending = { stream, frames, progress: NO_PROGRESS, signal, pace };
    for (const ahead of readAhead(files, { ...sending, parallelism: PARALLELISM })) {
      signal.throwIfAborted();
      await sendFile(sending, ahead, 0);
    }
    await stream.finish(frames.end());
  } catch (error) {
    stream.cancel();
    throw error instanceof BrokenOff ? error.reason : error;
  }
  await client.unary(pfs.finishCommit, FinishCommitRequest.fromPartial({ commit }));
  const repo = commit.repo;
  const before = await rootHash(client, { repo, id: SOURCE_BRANCH });
  return before === undefined || before !== (await rootHash(client, commit));
}

async function rootHash(client: Client, commit: Commit): Promise<string | undefined> {
  const request = InspectFileRequest.fromPartial({ file: { commit, path: '/' } });
  try {
    const { hash } = await client.unary(client.pfs.inspectFile, request);
    return Buffer.from(hash).toString('hex');
  } catch (error) {
    // No such branch yet, or nothing on it.
    if (codeOf(error) === 'NOT_FOUND' || codeOf(error) === 'STATE_CONFLICT') return undefined;
    throw error;
  }
}

async function create(
  client: Client,
  { buildName, build, pipeline }: BuiltPipeline,
  options: BuildOptions & { readonly commit?: Commit },
): Promise<void> {
  const { update, reprocess, commit } = options;
  const branch = { repo: { name: buildName }, name: SOURCE_BRANCH };
  const move = CreateBranchRequest.fromPartial({ branch, head: commit });
  const requests = [
    { createPipeline: { ...build, update: true, reprocess } },
    ...(commit ? [{ createBranch: move }] : []),
    { createPipeline: { ...pipeline, update, reprocess } },
  ];
  const api = client.service(TransactionClient);
  try {
    const request = BatchTransactionRequest.fromPartial({ requests });
    await client.unary(api.batchTransaction, request);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    // Nobody asked for several requests.
    const text = error.message.replace(/^error running request \d+ of \d+: /, '');
    throw new AppError(error.code, text, { cause: error });
  }
}

async function drop(client: Client, commit: Commit): Promise<void> {
  await client.unary(client.pfs.deleteCommit, DeleteCommitRequest.fromPartial({ commit }));
}

async function dropRepo(client: Client, name: string): Promise<void> {
  await client.unary(client.pfs.deleteRepo, DeleteRepoRequest.fromPartial({ repo: { name } }));
}
