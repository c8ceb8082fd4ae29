/** Operations on buckets: repos and their branches. */
import type { BranchRecord, RepoRecord } from '../../versioning/model.js';
import { branchesPrefix, branchKey, repoKey } from '../../versioning/model.js';
import { checkBranchName, checkRepoName } from '../../versioning/refs.js';
import type { Wait } from '../../../storage/types.js';
import { sendEmpty, sendXml } from '../../../http/s3/answers.js';
import { DEFAULT_BRANCH, needBucket, openView, type Bucket, type GatewayDeps } from './bucket.js';
import { bucketList, REGION } from '../../../http/s3/bucket-list.js';
import { listPage } from '../../../http/s3/listing.js';
import type { BucketRequest, S3Request } from './s3-request.js';
import { notImplemented, S3Error } from '../../../http/s3/s3-error.js';
import { uploadsPrefix } from './upload-store.js';
import { document, tag } from '../../../http/s3/xml.js';

/** ListBuckets: one per branch; a repo without branches shows the one it will have. */
export async function listBuckets(deps: GatewayDeps, { exchange }: S3Request): Promise<void> {
  const repos = await deps.versioning.listRepos(exchange);
  const buckets = repos.flatMap(({ name, created, branches }) =>
    (branches.length === 0 ? [DEFAULT_BRANCH] : branches).map((branch) => ({
      name: `${branch}.${name}`,
      created,
    })),
  );
  buckets.sort((a, b) => (a.name < b.name ? -1 : 1));
  await sendXml(exchange, bucketList(buckets));
}

export async function headBucket(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  await needBucket(deps, request.bucket, request.exchange);
  await sendEmpty(request.exchange, 200, { 'x-amz-bucket-region': REGION });
}

/** CreateBucket: the repo when it is missing, and the branch. */
export async function createBucket(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket } = request;
  const { versioning, meta } = deps;
  checkRepoName(bucket.repo);
  if (bucket.pinned) throw notImplemented('Creating a bucket for a commit');
  checkBranchName(bucket.ref);
  const name = { repo: bucket.repo, name: bucket.ref };
  await meta.transact(
    async (t) => {
      const repo = await t.getJson<RepoRecord>(repoKey(bucket.repo));
      const branch = await t.getJson<BranchRecord>(branchKey(name));
      if (repo && branch) {
        throw new S3Error(
          'BucketAlreadyOwnedByYou',
          409,
          'Your previous request to create the named bucket succeeded and you already own it.',
          { details: { BucketName: bucket.text } },
        );
      }
      if (!repo) await versioning.createRepoIn(t, { name: bucket.repo });
      await versioning.createBranchIn(t, name);
      await versioning.propagateIn(t);
    },
    { signal: exchange.signal, label: `repo ${bucket.repo}` },
  );
  await sendEmpty(exchange, 200, { location: `/${bucket.text}` });
}

/** DeleteBucket: an empty branch, and its repo when that was the last one. */
export async function deleteBucket(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket } = request;
  if (bucket.pinned) throw notImplemented('Deleting a commit');
  const branch = await needBucket(deps, bucket, exchange);
  await needEmpty(deps, bucket, exchange);
  const name = { repo: bucket.repo, name: bucket.ref };
  const { versioning, meta } = deps;
  await meta.transact(
    async (t) => {
      const now = await t.getJson<BranchRecord>(branchKey(name));
      // Somebody wrote to it since it was seen empty.
      if (now?.head !== branch?.head) throw notEmpty(bucket);
      const others = await t.keys(branchesPrefix(bucket.repo));
      const last = others.every((key) => key === branchKey(name));
      if (now) await versioning.deleteBranchIn(t, name, { force: false });
      if (last) await versioning.deleteRepoIn(t, bucket.repo, { force: false });
      t.deletePrefix(uploadsPrefix(bucket));
      await versioning.propagateIn(t);
    },
    { signal: exchange.signal, label: `repo ${bucket.repo}` },
  );
  await sendEmpty(exchange, 204);
}

async function needEmpty(deps: GatewayDeps, bucket: Bucket, wait: Wait): Promise<void> {
  const view = await openView(deps, bucket, undefined, wait);
  const first = { prefix: '', delimiter: '', after: undefined, count: 1 };
  const { keys } = await listPage(deps.storage.trees, view.root, first, wait);
  if (keys.length > 0) throw notEmpty(bucket);
}

function notEmpty(bucket: Bucket): S3Error {
  return new S3Error('BucketNotEmpty', 409, 'The bucket you tried to delete is not empty', {
    details: { BucketName: bucket.text },
  });
}

export async function getBucketLocation(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  await needBucket(deps, request.bucket, request.exchange);
  await sendXml(request.exchange, document('LocationConstraint', ''));
}

export async function getBucketVersioning(
  deps: GatewayDeps,
  request: BucketRequest,
): Promise<void> {
  await needBucket(deps, request.bucket, request.exchange);
  await sendXml(request.exchange, document('VersioningConfiguration', [tag('Status', 'Enabled')]));
}
