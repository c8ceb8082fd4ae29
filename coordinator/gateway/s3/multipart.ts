/**
 * Multipart uploads. Parts are stored as they come and never move; completing joins them by
 * reference as far as possible (what is read again is where parts meet) and makes one commit.
 */
import { xmlBody } from '../../../http/s3/request.js';
import type { Clock } from '../../../core/clock.js';
import { newUuid } from '../../../core/ids.js';
import type { Semaphore } from '../../../core/semaphore.js';
import type { FileContent } from '../../../storage/types.js';
import { parseRange } from '../../../http/conditions.js';
import { requestBody } from '../../../http/message-body.js';
import { isoTime, sendEmpty, sendXml } from '../../../http/s3/answers.js';
import { needBucket, needWritable, type GatewayDeps } from './bucket.js';
import { listParameters, OWNER } from '../../../http/s3/listing.js';
import { etagOf } from '../../../http/s3/etag.js';
import { copySourceHeader, guardOf, openSource } from './objects.js';
import { writePath } from '../../../http/s3/object-key.js';
import { openPayload } from '../../../http/s3/payload.js';
import { copySourceOf, type BucketRequest, type CopySource } from './s3-request.js';
import { invalidArgument, invalidRequest, S3Error } from '../../../http/s3/s3-error.js';
import { contentToCopy, type StoredObject } from './stored-object.js';
import {
  chosenParts,
  completed,
  initiated,
  listedParts,
  partNumberOf,
  sendParts,
  type ListedPart,
} from '../../../http/s3/parts.js';
import { answerPatiently } from '../../../http/s3/patient-answer.js';
import type { StoredPart, UploadRecord, UploadStore } from './upload-store.js';
import { storeBytes } from '../../../http/store-bytes.js';
import { applyChange } from './write-objects.js';
import { document, optional, tag } from '../../../http/s3/xml.js';

export interface MultipartDeps extends GatewayDeps {
  readonly uploads: UploadStore;
  readonly clock: Clock;
  /** Uploads at once. */
  readonly slots: Semaphore;
}

export async function createUpload(deps: MultipartDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key } = request;
  const { marker } = writePath(key);
  if (marker) throw invalidRequest('A directory can not be uploaded in parts.');
  await needWritable(deps, bucket, exchange);
  const id = newUuid().replaceAll('-', '');
  await deps.uploads.create(bucket, { id, key }, exchange);
  await sendXml(exchange, initiated({ ...request, bucket: bucket.text }, id));
}

/** UploadPart and UploadPartCopy. */
export async function uploadPart(deps: MultipartDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key, query } = request;
  const id = query.get('uploadId') ?? '';
  const number = partNumberOf(query);
  const upload = await deps.uploads.get(bucket, id, key, exchange);
  needOpen(upload);
  const source = copySourceOf(request);
  if (source) {
    await copyPart(deps, request, { id, number, source });
    return;
  }
  const payload = openPayload(exchange.request.headers, requestBody(exchange));
  const content = await storeBytes(deps.storage, payload.bytes, exchange);
  const etag = etagOf(content);
  await deps.uploads.addPart(bucket, id, { number, etag, content }, exchange);
  await sendEmpty(exchange, 200, { etag, ...Object.fromEntries(payload.checksums) });
}

async function copyPart(
  deps: MultipartDeps,
  request: BucketRequest,
  part: { readonly id: string; readonly number: number; readonly source: CopySource },
): Promise<void> {
  const { exchange, bucket } = request;
  const { view, object } = await openSource(deps, request, part.source);
  const range = exchange.request.headers['x-amz-copy-source-range'];
  const content = await partOf(deps, request, object, range);
  const etag = etagOf(content);
  const { id, number } = part;
  const at = await deps.uploads.addPart(bucket, id, { number, etag, content }, exchange);
  const text = document('CopyPartResult', [tag('LastModified', isoTime(at)), tag('ETag', etag)]);
  await sendXml(exchange, text, copySourceHeader(view));
}

/** The whole content by reference, or a range of it stored anew. */
async function partOf(
  deps: MultipartDeps,
  { exchange }: BucketRequest,
  object: StoredObject,
  range: string | string[] | undefined,
): Promise<FileContent> {
  const { content } = object;
  if (typeof range !== 'string') return contentToCopy(deps, object, exchange);
  const asked = /^bytes=\d+-\d+$/.test(range) ? parseRange(range, content.size) : undefined;
  if (!asked || asked === 'unsatisfiable') {
    throw invalidArgument(
      'x-amz-copy-source-range',
      range,
      'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy',
    );
  }
  if (asked.length === content.size) return contentToCopy(deps, object, exchange);
  const { signal } = exchange;
  return storeBytes(deps.storage, deps.storage.read(content, { signal, ...asked }), exchange);
}

function needOpen(upload: UploadRecord): void {
  if (upload.made) {
    throw new S3Error('NoSuchUpload', 404, 'The specified multipart upload has been completed.', {
      details: { UploadId: upload.id },
    });
  }
}

/** CompleteMultipartUpload. Sent again, it answers again with what was made. */
export async function completeUpload(deps: MultipartDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key, query } = request;
  const upload = await deps.uploads.get(bucket, query.get('uploadId') ?? '', key, exchange);
  const listed = listedParts(await xmlBody(request));
  await answerPatiently(deps.clock, exchange, async () => {
    const { commit, etag } = upload.made ?? (await complete(deps, request, upload, listed));
    const element = completed({ ...request, bucket: bucket.text }, etag);
    return { element, headers: { 'x-amz-version-id': commit } };
  });
}

async function complete(
  deps: MultipartDeps,
  request: BucketRequest,
  upload: UploadRecord,
  listed: readonly ListedPart[],
): Promise<{ commit: string; etag: string }> {
  const { exchange, bucket, key } = request;
  const { uploads, storage } = deps;
  const at = writePath(key);
  const guard = guardOf(deps, request, at);
  const there = new Map<number, StoredPart>();
  for await (const part of uploads.parts(upload.id, exchange)) there.set(part.number, part);
  const stored = chosenParts(upload.id, listed, there);
  const contents: FileContent[] = [];
  for (const part of stored) contents.push(await uploads.contentOf(part, exchange));
  const { signal } = exchange;
  const content = await deps.slots.with({ signal }, () => storage.canonical(contents, { signal }));
  const etag = etagOf(content);
  const { commit, open } = await applyChange(deps, {
    bucket,
    ops: [{ op: 'set', path: at.path, content }],
    signal,
    // The same for every try: an open commit takes the change once.
    requestId: upload.id,
    guard,
    alsoIn: (t, made) => uploads.completeIn(t, bucket, upload.id, { commit: made, etag }),
  });
  if (open) await uploads.complete(bucket, upload.id, { commit, etag }, exchange);
  return { commit, etag };
}

export async function abortUpload(deps: MultipartDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key, query } = request;
  const id = query.get('uploadId') ?? '';
  await deps.uploads.get(bucket, id, key, exchange);
  await deps.uploads.abort(bucket, id, exchange);
  await sendEmpty(exchange, 204);
}

export async function listParts(deps: MultipartDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key, query } = request;
  const id = query.get('uploadId') ?? '';
  needOpen(await deps.uploads.get(bucket, id, key, exchange));
  const { signal } = exchange;
  const target = { ...request, bucket: bucket.text };
  await sendParts(target, id, (after) => deps.uploads.parts(id, { signal, after }));
}

export async function listUploads(deps: MultipartDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, query } = request;
  await needBucket(deps, bucket, exchange);
  const { prefix, delimiter, count, encode, encoding } = listParameters(request, 'max-uploads');
  const keyMarker = query.get('key-marker') ?? '';
  const idMarker = query.get('upload-id-marker') ?? '';
  const all = (await deps.uploads.list(bucket, exchange)).filter(({ key, id }) => {
    if (!key.startsWith(prefix)) return false;
    if (keyMarker === '') return true;
    const order = Buffer.compare(Buffer.from(key), Buffer.from(keyMarker));
    return order > 0 || (order === 0 && idMarker !== '' && id > idMarker);
  });
  const group = (key: string): string | undefined => {
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    return at < 0 ? undefined : key.slice(0, at + delimiter.length);
  };
  const single = all.filter(({ key }) => group(key) === undefined);
  const groups = new Set(all.flatMap(({ key }) => group(key) ?? []));
  const shown = single.slice(0, count);
  const truncated = single.length > shown.length;
  const last = shown.at(-1);
  const text = document('ListMultipartUploadsResult', [
    tag('Bucket', bucket.text),
    tag('KeyMarker', encode(keyMarker)),
    tag('UploadIdMarker', idMarker),
    optional('NextKeyMarker', truncated && last ? encode(last.key) : undefined),
    optional('NextUploadIdMarker', truncated ? last?.id : undefined),
    optional('Delimiter', delimiter === '' ? undefined : encode(delimiter)),
    tag('Prefix', encode(prefix)),
    optional('EncodingType', encoding),
    tag('MaxUploads', count),
    tag('IsTruncated', truncated),
    ...shown.map((upload) =>
      tag('Upload', [
        tag('Key', encode(upload.key)),
        tag('UploadId', upload.id),
        tag('Initiator', [tag('ID', 'tusk'), tag('DisplayName', 'tusk')]),
        OWNER,
        tag('StorageClass', 'STANDARD'),
        tag('Initiated', isoTime(upload.started)),
      ]),
    ),
    ...[...groups].map((name) => tag('CommonPrefixes', [tag('Prefix', encode(name))])),
  ]);
  await sendXml(exchange, text);
}
