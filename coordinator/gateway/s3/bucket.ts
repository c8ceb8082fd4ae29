/**
 * Buckets: `branch.repo`, or `repo` for its master branch. A commit id in place of the branch gives
 * the commit, read-only.
 */
import { codeOf } from '../../../core/errors.js';
import { isId } from '../../../core/ids.js';
import type { DirNode, Wait } from '../../../storage/types.js';
import type { Meta } from '../../meta/index.js';
import type { Storage } from '../../../storage/index.js';
import {
  isOutputBranch,
  isOutputCommit,
  type BranchRecord,
  type CommitRecord,
} from '../../versioning/model.js';
import type { Versioning } from '../../versioning/index.js';
import {
  invalidArgument,
  invalidBucketName,
  noSuchBucket,
  noSuchVersion,
  notImplemented,
  S3Error,
} from '../../../http/s3/s3-error.js';

/** What every operation of the gateway works with. */
export interface GatewayDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly versioning: Versioning;
}

export const DEFAULT_BRANCH = 'master';

export interface Bucket {
  /** As the client wrote it. */
  readonly text: string;
  readonly repo: string;
  /** A branch, or a commit id. */
  readonly ref: string;
  readonly pinned: boolean;
}

/** What a bucket holds at one moment. */
export interface View {
  readonly bucket: Bucket;
  /** undefined: nothing has been written yet. */
  readonly commit: CommitRecord | undefined;
  readonly root: DirNode;
}

const NAME = /^[A-Za-z0-9_-]+$/;

/** Takes a bucket's name apart. Throws InvalidBucketName. */
export function parseBucket(text: string): Bucket {
  const parts = text.split('.');
  const [first = '', second] = parts;
  if (parts.length > 2 || parts.some((part) => !NAME.test(part))) {
    throw invalidBucketName(
      text,
      'it must be a repo, or branch.repo, of letters, digits, underscores and dashes',
    );
  }
  if (second === undefined) {
    return { text, repo: first, ref: DEFAULT_BRANCH, pinned: false };
  }
  return { text, repo: second, ref: first, pinned: isId(first) };
}

/** The branch behind a bucket; undefined when only the repo is there (and that is enough). */
export async function needBucket(
  deps: GatewayDeps,
  bucket: Bucket,
  wait: Wait,
): Promise<BranchRecord | undefined> {
  const { versioning } = deps;
  if (bucket.pinned) {
    const commit = await versioning.commit({ repo: bucket.repo, id: bucket.ref }, wait);
    if (!commit) throw noSuchBucket(bucket.text);
    return undefined;
  }
  const branch = await found(
    versioning.inspectBranch({ repo: bucket.repo, name: bucket.ref }, wait),
  );
  if (branch) return branch;
  const repo = await found(versioning.inspectRepo(bucket.repo, wait));
  if (!repo || bucket.ref !== DEFAULT_BRANCH) throw noSuchBucket(bucket.text);
  return undefined;
}

/** The branch that writes go to. Throws NoSuchBucket, WriteToOutputBranch, NotImplemented. */
export async function needWritable(deps: GatewayDeps, bucket: Bucket, wait: Wait): Promise<void> {
  if (bucket.pinned) throw notImplemented('Writing to a commit');
  const branch = await needBucket(deps, bucket, wait);
  if (branch && isOutputBranch(branch)) throw outputBranch();
}

export function outputBranch(): S3Error {
  return new S3Error('WriteToOutputBranch', 400, 'You cannot write to an output branch');
}

/**
 * Opens a bucket for reading, at a version (any commit reference of the repo) or as it is now. A
 * branch whose newest commit is still being computed shows the one before.
 */
export async function openView(
  deps: GatewayDeps,
  bucket: Bucket,
  version: string | undefined,
  wait: Wait,
): Promise<View> {
  const { versioning, storage } = deps;
  if (version !== undefined && version !== 'null') {
    const commit = await versionOf(deps, bucket, version, wait);
    return { bucket, commit, root: await versioning.openTree(commit, wait) };
  }
  const nothing: View = { bucket, commit: undefined, root: storage.trees.empty };
  const branch = await needBucket(deps, bucket, wait);
  const id = bucket.pinned ? bucket.ref : branch?.head;
  if (id === undefined) return nothing;
  const head = await versioning.commit({ repo: bucket.repo, id }, wait);
  const commit = head && (await readable(deps, head, wait));
  return commit ? { bucket, commit, root: await versioning.openTree(commit, wait) } : nothing;
}

async function readable(
  deps: GatewayDeps,
  head: CommitRecord,
  wait: Wait,
): Promise<CommitRecord | undefined> {
  if (head.finished !== undefined || !isOutputCommit(head)) return head;
  for await (const commit of deps.versioning.ancestry(head, wait)) {
    if (commit.finished !== undefined) return commit;
  }
  return undefined;
}

async function versionOf(
  deps: GatewayDeps,
  bucket: Bucket,
  version: string,
  wait: Wait,
): Promise<CommitRecord> {
  await needBucket(deps, bucket, wait);
  try {
    return await deps.versioning.resolveCommit({ repo: bucket.repo, id: version }, wait);
  } catch (error) {
    if (codeOf(error) === 'INVALID_INPUT') {
      throw invalidArgument('versionId', version, 'Invalid version id specified');
    }
    if (codeOf(error) === 'NOT_FOUND') throw noSuchVersion('', version);
    throw error;
  }
}

/** The value, or undefined when it is not there. */
export async function found<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (codeOf(error) === 'NOT_FOUND') return undefined;
    throw error;
  }
}
