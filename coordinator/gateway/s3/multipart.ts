/**
 * Multipart uploads. Parts are stored as they come and never move; completing joins them by
 * reference as far as possible (what is read again is where parts meet) and makes one commit.
 */
import type { Clock } from '../../../core/clock.js';
import { newUuid } from '../../../core/ids.js';
import type { Semaphore } from '../../../core/semaphore.js';
import type { FileContent } from '../../../storage/types.js';
import { parseRange } from '../http/conditions.js';
import { endResponse, requestBody } from '../http/message-body.js';
import { errorDocument, isoTime, sendEmpty, sendXml } from './answers.js';
import { needBucket, needWritable, type GatewayDeps } from './bucket.js';
import { listParameters, OWNER } from './list-objects.js';
import { copySourceHeader, guardOf, openSource, sameTag } from './objects.js';
import { writePath } from './object-key.js';
import { openPayload } from './payload.js';
import {
  copySourceOf,
  numberOf,
  xmlBody,
  type BucketRequest,
  type CopySource,
} from './s3-request.js';
import { invalidArgument, invalidRequest, malformedXml, S3Error, toS3Error } from './s3-error.js';
import { contentToCopy, etagOf, type StoredObject } from './stored-object.js';
import type { StoredPart, UploadRecord, UploadStore } from './upload-store.js';
import { applyChange, storeBytes } from './write-objects.js';
import {
  childText,
  document,
  optional,
  root,
  tag,
  XML_DECLARATION,
  type XmlElement,
} from './xml.js';

export interface MultipartDeps extends GatewayDeps {
  readonly uploads: UploadStore;
  readonly clock: Clock;
  /** Uploads at once. */
  readonly slots: Semaphore;
}

const PARTS_MAX = 10_000;
const PART_BYTES_MIN = 5 * 1024 * 1024;
/** An answer that takes longer than this is begun, and kept alive with white space. */
const PATIENCE_MS = 5_000;

export async function createUpload(deps: MultipartDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key } = request;
  const { marker } = writePath(key);
  if (marker) throw invalidRequest('A directory can not be uploaded in parts.');
  await needWritable(deps, bucket, exchange);
  const id = newUuid().replaceAll('-', '');
  await deps.uploads.create(bucket, { id, key }, exchange);
  const text = document('InitiateMultipartUploadResult', [
    tag('Bucket', bucket.text),
    tag('Key', key),
    tag('UploadId', id),
  ]);
  await sendXml(exchange, text);
}

/** UploadPart and UploadPartCopy. */
export async function uploadPart(deps: MultipartDeps, request: BucketRequest): Promise<void> {
  const { exchange, bucket, key, query } = request;
  const id = query.get('uploadId') ?? '';
  const limits = { initial: 0, least: 1, most: PARTS_MAX };
  const number = numberOf(query, 'partNumber', limits);
  if (number === 0) throw invalidArgument('partNumber', '', 'partNumber is missing');
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
  const listed = partsOf(await xmlBody(request));
  await answerPatiently(deps.clock, request, async () => {
    const { commit, etag } = upload.made ?? (await complete(deps, request, upload, listed));
    const element = root('CompleteMultipartUploadResult', [
      tag(
        'Location',
        `http://${exchange.request.headers.host ?? ''}/${bucket.text}/${encodeURI(key)}`,
      ),
      tag('Bucket', bucket.text),
      tag('Key', key),
      tag('ETag', etag),
    ]);
    return { element, headers: { 'x-amz-version-id': commit } };
  });
}

interface ListedPart {
  readonly number: number;
  readonly etag: string;
}

function partsOf(body: XmlElement): ListedPart[] {
  const parts = body.children
    .filter(({ name }) => name === 'Part')
    .map((part) => {
      const number = Number(childText(part, 'PartNumber'));
      const etag = childText(part, 'ETag');
      if (!Number.isInteger(number) || etag === undefined) {
        throw malformedXml('a <Part> needs <PartNumber> and <ETag>');
      }
      return { number, etag };
    });
  if (body.name !== 'CompleteMultipartUpload' || parts.length === 0) {
    throw malformedXml('expected <CompleteMultipartUpload> with at least one <Part>');
  }
  for (const [index, { number }] of parts.entries()) {
    if (index > 0 && number <= (parts[index - 1] as ListedPart).number) {
      throw new S3Error(
        'InvalidPartOrder',
        400,
        'The list of parts was not in ascending order. The parts list must be specified in order by part number.',
      );
    }
  }
  return parts;
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
  const stored = await chosenParts(deps, request, upload, listed);
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

/** The parts that the client lists, checked against those that came. */
async function chosenParts(
  deps: MultipartDeps,
  { exchange }: BucketRequest,
  upload: UploadRecord,
  listed: readonly ListedPart[],
): Promise<StoredPart[]> {
  const there = new Map<number, StoredPart>();
  for await (const part of deps.uploads.parts(upload.id, exchange)) there.set(part.number, part);
  return listed.map(({ number, etag }, index) => {
    const part = there.get(number);
    if (!part || !sameTag(part.etag, etag)) {
      throw new S3Error(
        'InvalidPart',
        400,
        "One or more of the specified parts could not be found. The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
        { details: { UploadId: upload.id, PartNumber: String(number), ETag: etag } },
      );
    }
    if (index < listed.length - 1 && part.size < PART_BYTES_MIN) {
      throw new S3Error(
        'EntityTooSmall',
        400,
        'Your proposed upload is smaller than the minimum allowed size',
        {
          details: {
            ProposedSize: String(part.size),
            MinSizeAllowed: String(PART_BYTES_MIN),
            PartNumber: String(number),
          },
        },
      );
    }
    return part;
  });
}

/**
 * Answers when the work is done. When that takes long the answer is begun and white space keeps the
 * connection alive; an error then comes in a body with status 200, as S3 clients expect here.
 */
async function answerPatiently(
  clock: Clock,
  { exchange }: BucketRequest,
  work: () => Promise<{ element: string; headers: Record<string, string> }>,
): Promise<void> {
  const { response, signal } = exchange;
  const done = new AbortController();
  const waiting = AbortSignal.any([signal, done.signal]);
  const keepAlive = (async () => {
    for (;;) {
      await clock.sleep(PATIENCE_MS, { signal: waiting });
      if (!response.headersSent) {
        response.writeHead(200, { 'content-type': 'application/xml' });
        response.write(XML_DECLARATION);
      } else response.write(' ');
    }
  })().catch(() => undefined);
  try {
    const { element, headers } = await work();
    done.abort();
    await keepAlive;
    if (response.headersSent) await endResponse(exchange, element);
    else await sendXml(exchange, XML_DECLARATION + element, headers);
  } catch (error) {
    done.abort();
    await keepAlive;
    if (!response.headersSent || signal.aborted) throw error;
    const answer = toS3Error(error);
    exchange.log.warn({ err: error }, 'a multipart upload could not be completed');
    await endResponse(exchange, errorDocument(answer, exchange).slice(XML_DECLARATION.length));
  }
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
  const most = Number.MAX_SAFE_INTEGER;
  const count = Math.min(1000, numberOf(query, 'max-parts', { initial: 1000, least: 0, most }));
  const after = numberOf(query, 'part-number-marker', { initial: 0, least: 0, most });
  const parts: StoredPart[] = [];
  const { signal } = exchange;
  for await (const part of deps.uploads.parts(id, { signal, after: Math.min(after, 99_999) })) {
    parts.push(part);
    if (parts.length > count) break;
  }
  const shown = parts.slice(0, count);
  const text = document('ListPartsResult', [
    tag('Bucket', bucket.text),
    tag('Key', key),
    tag('UploadId', id),
    tag('Initiator', [tag('ID', 'tusk'), tag('DisplayName', 'tusk')]),
    OWNER,
    tag('StorageClass', 'STANDARD'),
    tag('PartNumberMarker', after),
    tag('NextPartNumberMarker', shown.at(-1)?.number ?? after),
    tag('MaxParts', count),
    tag('IsTruncated', parts.length > count),
    ...shown.map((part) =>
      tag('Part', [
        tag('PartNumber', part.number),
        tag('LastModified', isoTime(part.at)),
        tag('ETag', part.etag),
        tag('Size', part.size),
      ]),
    ),
  ]);
  await sendXml(exchange, text);
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
