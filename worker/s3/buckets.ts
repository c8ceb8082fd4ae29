/** Operations on buckets: which request is which, and what inputs answer. */
import { sendEmpty, sendXml } from '../../http/s3/answers.js';
import { bucketList, REGION } from '../../http/s3/bucket-list.js';
import { listObjectsV1, listObjectsV2, type Listing } from '../../http/s3/listing.js';
import type { Target } from '../../http/s3/request.js';
import { sendObject } from '../../http/s3/send-object.js';
import { noSuchBucket, notImplemented, S3Error } from '../../http/s3/s3-error.js';
import { document } from '../../http/s3/xml.js';
import type { DirNode } from '../../storage/types.js';
import { unreadable } from '../../storage/unreadable.js';
import { modifiedOf, needInputObject } from './inputs.js';
import { OUT } from './out-bucket.js';
import { deleteMany, outOperation } from './out-operations.js';
import type { S3Session } from './session.js';

/** What parameters of a request to a bucket may be without asking for something else. */
const LISTING = new Set([
  'list-type',
  'prefix',
  'delimiter',
  'marker',
  'max-keys',
  'encoding-type',
  'continuation-token',
  'start-after',
  'fetch-owner',
  'x-id',
]);

/** Answers any request. Throws S3Error. */
export async function bucketOperation(session: S3Session, target: Target): Promise<void> {
  const { bucket, key, method, exchange } = target;
  if (bucket === '') {
    if (method !== 'GET') throw notAllowed();
    const created = session.startMs;
    return sendXml(exchange, bucketList(session.buckets().map((name) => ({ name, created }))));
  }
  const out = bucket === OUT && session.out !== undefined;
  if (!out && !session.inputs.has(bucket)) throw noSuchBucket(bucket);
  if (key === '') return onBucket(session, target, out);
  if (out) return outOperation(session, target);
  if (method !== 'GET' && method !== 'HEAD') throw notImplemented('Writing to an input');
  if (others(target.query, new Set(['x-id', 'versionId', 'partNumber']))) {
    throw notImplemented('What these parameters ask for');
  }
  const object = await needInputObject(session, bucket, key, target);
  await sendObject(session.reader, target, object).catch((error: unknown) => {
    throw unreadable(error, object.place);
  });
}

async function onBucket(session: S3Session, target: Target, out: boolean): Promise<void> {
  const { method, query, exchange } = target;
  if (method === 'HEAD') return sendEmpty(exchange, 200, { 'x-amz-bucket-region': REGION });
  if (method === 'POST' && query.has('delete')) {
    if (!out) throw notImplemented('Writing to an input');
    return deleteMany(session, target);
  }
  if (method !== 'GET') throw notImplemented('Making and deleting buckets');
  if (query.has('location')) return sendXml(exchange, document('LocationConstraint', ''));
  // Inputs are one commit, outputs become one: nothing has versions here.
  if (query.has('versioning')) return sendXml(exchange, document('VersioningConfiguration', ''));
  if (others(query, LISTING)) throw notImplemented('What these parameters ask for');
  const listing = listingOf(session, target);
  await (query.get('list-type') === '2'
    ? listObjectsV2(listing, target)
    : listObjectsV1(listing, target));
}

/** `out` shows nothing: like a commit that is being written. */
function listingOf(session: S3Session, { bucket }: Target): Listing {
  const { trees } = session.deps.storage;
  const root: DirNode = session.inputs.get(bucket) ?? trees.empty;
  return {
    name: bucket,
    trees,
    open: () =>
      Promise.resolve({ root, version: 'now', modifiedMs: (node) => modifiedOf(session, node) }),
  };
}

function others(query: URLSearchParams, known: ReadonlySet<string>): boolean {
  return [...query.keys()].some(
    (name) =>
      !known.has(name) && !/^(?:x-amz-|response-|AWSAccessKeyId|Signature|Expires)/i.test(name),
  );
}

function notAllowed(): S3Error {
  return new S3Error(
    'MethodNotAllowed',
    405,
    'The specified method is not allowed against this resource.',
  );
}
