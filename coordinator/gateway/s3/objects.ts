/** Operations on one object: read, describe, write, copy, delete. */
import { xmlBody } from '../../../http/s3/request.js';
import type { DirNode, Wait } from '../../../storage/types.js';
import { unreadable, type FilePlace } from '../../../storage/unreadable.js';
import type { CommitRecord } from '../../versioning/model.js';
import type { NewOp } from '../../versioning/files/op-log.js';
import { checkConditions, conditionsOf, matches } from '../../../http/conditions.js';
import { requestBody } from '../../../http/message-body.js';
import { etagOf } from '../../../http/s3/etag.js';
import { sendObject } from '../../../http/s3/send-object.js';
import { isoTime, sendEmpty, sendXml } from '../../../http/s3/answers.js';
import { needBucket, needWritable, openView, type GatewayDeps, type View } from './bucket.js';
import { isEmptyDir } from '../../../http/s3/key-lister.js';
import { readPath, writePath, type KeyPath } from '../../../http/s3/object-key.js';
import { openPayload } from '../../../http/s3/payload.js';
import { copySourceOf, type BucketRequest, type CopySource, type S3Request } from './s3-request.js';
import {
  invalidFilePath,
  invalidRequest,
  malformedXml,
  notImplemented,
  noSuchKey,
  preconditionFailed,
  S3Error,
  toS3Error,
} from '../../../http/s3/s3-error.js';
import {
  contentToCopy,
  findObject,
  needObject,
  objectHeaders,
  type StoredObject,
} from './stored-object.js';
import { storeBytes } from '../../../http/store-bytes.js';
import { applyChange } from './write-objects.js';
import { childText, document, optional, tag, type Xml } from '../../../http/s3/xml.js';

/** GetObject and HeadObject. */
export async function getObject(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key, query } = request;
  const version = query.get('versionId') ?? undefined;
  const view = await openView(deps, bucket, version, exchange);
  const object = await needObject(deps, view, key, exchange);
  const { content, etag, modifiedMs } = object;
  const file = { content, etag, modifiedMs, headers: objectHeaders(object) };
  await sendObject(deps.storage, { exchange, query }, file).catch((error: unknown) => {
    throw view.commit ? unreadable(error, placeOf(view.commit, key)) : error;
  });
}

function placeOf({ repo, id }: CommitRecord, key: string): FilePlace {
  return { repo, commit: id, path: `/${key}` };
}

/** GetObjectAttributes: what is known without reading the object. */
export async function getObjectAttributes(
  deps: GatewayDeps,
  request: BucketRequest,
): Promise<void> {
  const { exchange, bucket, key, query } = request;
  const view = await openView(deps, bucket, query.get('versionId') ?? undefined, exchange);
  const object = await needObject(deps, view, key, exchange);
  const asked = String(exchange.request.headers['x-amz-object-attributes'] ?? '').split(',');
  const wants = (name: string): boolean => asked.some((each) => each.trim() === name);
  const text = document('GetObjectAttributesResponse', [
    wants('ETag') ? tag('ETag', object.etag.replaceAll('"', '')) : undefined,
    wants('StorageClass') ? tag('StorageClass', 'STANDARD') : undefined,
    wants('ObjectSize') ? tag('ObjectSize', object.content.size) : undefined,
  ]);
  await sendXml(exchange, text, {
    ...versionHeader(object),
    'last-modified': new Date(object.modifiedMs).toUTCString(),
  });
}

function versionHeader({ commit }: StoredObject): Record<string, string> {
  return commit ? { 'x-amz-version-id': commit.id } : {};
}

/** PutObject: the body becomes the file, in one commit. */
export async function putObject(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key } = request;
  const at = writePath(key);
  // Before the body is asked for: most refusals cost no upload.
  await needWritable(deps, bucket, exchange);
  const payload = openPayload(exchange.request.headers, requestBody(exchange));
  const content = await storeBytes(deps.storage, payload.bytes, exchange);
  if (at.marker && content.size > 0) {
    throw invalidFilePath(key, 'a key that ends in a slash is a directory and can not hold bytes');
  }
  const op: NewOp = at.marker
    ? { op: 'mkdir', path: at.path }
    : { op: 'set', path: at.path, content };
  const { commit } = await applyChange(deps, {
    bucket,
    ops: [op],
    signal: exchange.signal,
    requestId: exchange.requestId,
    guard: guardOf(deps, request, at),
  });
  await sendEmpty(exchange, 200, {
    etag: etagOf(content),
    'x-amz-version-id': commit,
    ...Object.fromEntries(payload.checksums),
  });
}

/** Refuses a write that would replace a directory, or that its conditions forbid. */
export function guardOf(
  deps: GatewayDeps,
  request: S3Request,
  at: KeyPath,
): (base: DirNode) => Promise<void> {
  const { ifMatch, ifNoneMatch } = conditionsOf(request.exchange.request.headers);
  if (ifNoneMatch !== undefined && ifNoneMatch.trim() !== '*') {
    throw notImplemented('If-None-Match with anything but * on a write');
  }
  const { trees } = deps.storage;
  const wait: Wait = { signal: request.exchange.signal };
  return async (base) => {
    const node = await trees.lookup(base, at.path, wait);
    if (!at.marker && node?.type === 'dir' && !isEmptyDir(trees, node)) {
      throw invalidFilePath(request.key, 'there are files below this path');
    }
    if (at.marker && node?.type === 'file') {
      throw new S3Error('InvalidFileParent', 400, 'There is a file at this path', {
        details: { Key: request.key },
      });
    }
    const file = node?.type === 'file' ? node : undefined;
    if (ifNoneMatch !== undefined && file) throw preconditionFailed('If-None-Match');
    if (ifMatch === undefined) return;
    if (!file) throw noSuchKey(request.key);
    if (!matches(ifMatch, etagOf(file))) throw preconditionFailed('If-Match');
  };
}

/** CopyObject: by reference, whatever the size. Metadata is not kept, so none is copied. */
export async function copyObject(
  deps: GatewayDeps,
  request: BucketRequest,
  source: CopySource,
): Promise<void> {
  const { exchange, bucket, key } = request;
  const at = writePath(key);
  await needWritable(deps, bucket, exchange);
  const { view, object } = await openSource(deps, request, source);
  const same = source.bucket.repo === bucket.repo && source.bucket.ref === bucket.ref;
  const replaces = exchange.request.headers['x-amz-metadata-directive'] === 'REPLACE';
  const onItself = same && source.key === key && source.version === undefined;
  if (onItself && !replaces) {
    throw invalidRequest(
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata, storage class, website redirect location or encryption attributes.",
    );
  }
  let commit = view.commit?.id ?? '';
  // Setting metadata, of which there is none, changes nothing.
  if (!onItself) {
    const content = await contentToCopy(deps, object, exchange);
    const op: NewOp =
      readPath(source.key)?.marker === true
        ? { op: 'mkdir', path: at.path }
        : { op: 'set', path: at.path, content };
    const change = { bucket, ops: [op], requestId: exchange.requestId, signal: exchange.signal };
    const guard = guardOf(deps, request, at);
    ({ commit } = await applyChange(deps, { ...change, guard }));
  }
  const text = document('CopyObjectResult', [
    tag('LastModified', isoTime(object.modifiedMs)),
    tag('ETag', object.etag),
  ]);
  await sendXml(exchange, text, { 'x-amz-version-id': commit, ...copySourceHeader(view) });
}

export function copySourceHeader(view: View): Record<string, string> {
  return view.commit ? { 'x-amz-copy-source-version-id': view.commit.id } : {};
}

/** The object that a copy reads, its conditions checked. */
export async function openSource(
  deps: GatewayDeps,
  { exchange }: S3Request,
  source: CopySource,
): Promise<{ view: View; object: StoredObject }> {
  const view = await openView(deps, source.bucket, source.version, exchange);
  const object = await needObject(deps, view, source.key, exchange);
  const conditions = conditionsOf(exchange.request.headers, 'x-amz-copy-source-');
  if (checkConditions(conditions, object) !== 'go') {
    throw preconditionFailed('x-amz-copy-source-If-Match');
  }
  return { view, object };
}

/** PutObject or CopyObject, as the headers say. */
export async function putOrCopy(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  const source = copySourceOf(request);
  if (source) await copyObject(deps, request, source);
  else await putObject(deps, request);
}

/** DeleteObject. What is not there is deleted already: no commit is made for it. */
export async function deleteObject(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  const { exchange, key, query } = request;
  if (isVersion(query.get('versionId'))) throw deletesHistory();
  const commit = await deleteKeys(deps, request, [key]);
  await sendEmpty(exchange, 204, commit === undefined ? {} : { 'x-amz-version-id': commit });
}

function isVersion(text: string | null | undefined): boolean {
  return text !== null && text !== undefined && text !== '' && text !== 'null';
}

function deletesHistory(): S3Error {
  return notImplemented('Deleting a version (versions are commits: delete the commit)');
}

/** Deletes keys in one commit, with directories that become empty; undefined: none was there. */
async function deleteKeys(
  deps: GatewayDeps,
  { exchange, bucket }: BucketRequest,
  keys: readonly string[],
): Promise<string | undefined> {
  await needWritable(deps, bucket, exchange);
  const view = await openView(deps, bucket, undefined, exchange);
  const ops: NewOp[] = [];
  for (const key of new Set(keys)) {
    const path = readPath(key)?.path;
    if (path !== undefined && (await findObject(deps, view, key, exchange))) {
      ops.push({ op: 'delete', path, prune: true });
    }
  }
  if (ops.length === 0) return undefined;
  const { requestId, signal } = exchange;
  return (await applyChange(deps, { bucket, ops, requestId, signal })).commit;
}

const DELETE_KEYS_MAX = 1000;

/** DeleteObjects: up to 1,000 keys, one commit. */
export async function deleteObjects(deps: GatewayDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket } = request;
  await needBucket(deps, bucket, exchange);
  const body = await xmlBody(request);
  const objects = body.children.filter(({ name }) => name === 'Object');
  if (body.name !== 'Delete' || objects.length === 0) throw malformedXml('expected <Delete>');
  if (objects.length > DELETE_KEYS_MAX) throw malformedXml('at most 1000 keys at once');
  const quiet = childText(body, 'Quiet')?.trim() === 'true';
  const keys: string[] = [];
  const errors: Xml[] = [];
  for (const object of objects) {
    const key = childText(object, 'Key');
    const version = childText(object, 'VersionId');
    if (key === undefined) throw malformedXml('an <Object> without <Key>');
    if (!isVersion(version)) keys.push(key);
    else errors.push(errorElement({ key, version }, deletesHistory()));
  }
  let commit: string | undefined;
  let deleted: readonly string[] = keys;
  try {
    if (keys.length > 0) commit = await deleteKeys(deps, request, keys);
  } catch (error) {
    const answer = toS3Error(error);
    if (answer.status >= 500 || exchange.signal.aborted) throw error;
    deleted = [];
    errors.push(...keys.map((key) => errorElement({ key }, answer)));
  }
  const shown = quiet ? [] : deleted.map((key) => tag('Deleted', [tag('Key', key)]));
  await sendXml(
    exchange,
    document('DeleteResult', [...shown, ...errors]),
    commit === undefined ? {} : { 'x-amz-version-id': commit },
  );
}

function errorElement(
  at: { readonly key: string; readonly version?: string | undefined },
  error: S3Error,
): Xml {
  return tag('Error', [
    tag('Key', at.key),
    optional('VersionId', at.version),
    tag('Code', error.code),
    tag('Message', error.message),
  ]);
}
