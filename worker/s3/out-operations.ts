/**
 * Operations on the bucket `out`: written to, never read. An object is there once its request was
 * answered, and becomes a file of the output commit when the datum and its job succeed.
 */
import { requestBody } from '../../http/message-body.js';
import { conditionsOf, parseRange } from '../../http/conditions.js';
import { isoTime, sendEmpty, sendXml } from '../../http/s3/answers.js';
import { etagOf } from '../../http/s3/etag.js';
import { writePath } from '../../http/s3/object-key.js';
import {
  chosenParts,
  completed,
  initiated,
  listedParts,
  partNumberOf,
  sendParts,
} from '../../http/s3/parts.js';
import { answerPatiently } from '../../http/s3/patient-answer.js';
import { openPayload } from '../../http/s3/payload.js';
import { sourceNameOf, xmlBody, type SourceName, type Target } from '../../http/s3/request.js';
import {
  invalidArgument,
  invalidRequest,
  malformedXml,
  noSuchBucket,
  noSuchKey,
  notImplemented,
} from '../../http/s3/s3-error.js';
import { childText, document, tag } from '../../http/s3/xml.js';
import { storeBytes } from '../../http/store-bytes.js';
import type { FileContent, FileNode } from '../../storage/types.js';
import { needInputObject, type InputObject } from './inputs.js';
import { OUT, type OutBucket } from './out-bucket.js';
import type { S3Session } from './session.js';

const DELETE_KEYS_MAX = 1000;

type Operation = (session: S3Session, target: Target) => Promise<void>;

/** Answers a request to a key of `out`. Throws S3Error. */
export async function outOperation(session: S3Session, target: Target): Promise<void> {
  const { method, query, key } = target;
  const inParts = query.has('uploadId');
  const operations: Readonly<Record<string, Operation | undefined>> = {
    PUT: inParts ? putPart : putObject,
    POST: query.has('uploads') ? createUpload : inParts ? completeUpload : undefined,
    DELETE: inParts ? abortUpload : deleteOne,
    GET: inParts ? listParts : undefined,
  };
  const operation = operations[method];
  for (const name of ['acl', 'tagging', 'retention', 'legal-hold']) {
    if (query.has(name)) throw notImplemented(`Setting ${name}`);
  }
  if (operation) return operation(session, target);
  // Not even what was just written can be read.
  if (method === 'GET' || method === 'HEAD') throw noSuchKey(key);
  throw notImplemented(`${method} with these parameters`);
}

/** PutObject and CopyObject. */
async function putObject(session: S3Session, target: Target): Promise<void> {
  const { exchange, key } = target;
  const out = outOf(session);
  writePath(key);
  out.check(key);
  const { ifMatch, ifNoneMatch } = conditionsOf(exchange.request.headers);
  if (ifMatch !== undefined || ifNoneMatch !== undefined) {
    throw notImplemented('A conditional write to the output');
  }
  const source = sourceNameOf(exchange);
  if (source) {
    const object = await openSource(session, target, source);
    out.put(key, await contentOf(session, object, target));
    const text = document('CopyObjectResult', [
      tag('LastModified', isoTime(object.modifiedMs)),
      tag('ETag', object.etag),
    ]);
    return sendXml(exchange, text);
  }
  const payload = openPayload(exchange.request.headers, requestBody(exchange));
  const content = await session.uploading.with(exchange, () => store(session, payload.bytes));
  exchange.signal.throwIfAborted();
  out.put(key, content);
  const checksums = Object.fromEntries(payload.checksums);
  await sendEmpty(exchange, 200, { etag: etagOf(content), ...checksums });
}

/** Into the task's own packs: small objects need no upload of their own. */
async function store(session: S3Session, bytes: AsyncIterable<Buffer>): Promise<FileContent> {
  const sink = session.deps.writer().beginFile();
  for await (const part of bytes) {
    const room = sink.write(part);
    if (room) await room;
  }
  return sink.end();
}

async function openSource(
  session: S3Session,
  target: Target,
  { bucket, key }: SourceName,
): Promise<InputObject> {
  if (bucket === OUT && session.out) throw noSuchKey(key);
  if (!session.inputs.has(bucket)) throw noSuchBucket(bucket);
  return needInputObject(session, bucket, key, target);
}

/** By reference; a file that shows its directory's header and footer is joined with them. */
async function contentOf(
  session: S3Session,
  { content }: InputObject,
  { exchange }: Target,
): Promise<FileContent> {
  const { edges } = content as Partial<FileNode>;
  if (!edges) return content;
  return session.deps.storage.canonical([edges.header, edges.body, edges.footer], exchange);
}

async function deleteOne(session: S3Session, { exchange, key }: Target): Promise<void> {
  outOf(session).delete(key);
  await sendEmpty(exchange, 204);
}

/** DeleteObjects. */
export async function deleteMany(session: S3Session, target: Target): Promise<void> {
  const body = await xmlBody(target);
  const objects = body.children.filter(({ name }) => name === 'Object');
  if (body.name !== 'Delete' || objects.length === 0) throw malformedXml('expected <Delete>');
  if (objects.length > DELETE_KEYS_MAX) throw malformedXml('at most 1000 keys at once');
  const quiet = childText(body, 'Quiet')?.trim() === 'true';
  const keys = objects.map((object) => {
    const key = childText(object, 'Key');
    if (key === undefined) throw malformedXml('an <Object> without <Key>');
    return key;
  });
  for (const key of keys) outOf(session).delete(key);
  const shown = quiet ? [] : keys.map((key) => tag('Deleted', [tag('Key', key)]));
  await sendXml(target.exchange, document('DeleteResult', shown));
}

async function createUpload(session: S3Session, target: Target): Promise<void> {
  const { exchange, key } = target;
  if (writePath(key).marker) throw invalidRequest('A directory can not be uploaded in parts.');
  outOf(session).check(key);
  const id = session.newUploadId();
  session.uploads.create(id, key);
  await sendXml(exchange, initiated(target, id));
}

const uploadId = ({ query }: Target): string => query.get('uploadId') ?? '';

/** UploadPart and UploadPartCopy. */
async function putPart(session: S3Session, target: Target): Promise<void> {
  const { exchange, key, query } = target;
  const number = partNumberOf(query);
  const upload = session.uploads.open(uploadId(target), key);
  const source = sourceNameOf(exchange);
  const { storage, clock } = session.deps;
  // Parts are joined while the datum runs, so they have to lie in the store by then.
  const put = (bytes: AsyncIterable<Buffer>): Promise<FileContent> =>
    session.uploading.with(exchange, () => storeBytes(storage, bytes, exchange));
  const at = clock.wallMs();
  const add = (content: FileContent): string => {
    exchange.signal.throwIfAborted();
    const etag = etagOf(content);
    upload.parts.set(number, { number, size: content.size, etag, at, content });
    return etag;
  };
  if (source) {
    const object = await openSource(session, target, source);
    const range = rangeOf(target, object);
    const { signal } = exchange;
    const content = range
      ? await put(session.reader.read(object.content, { signal, ...range }))
      : await contentOf(session, object, target);
    const etag = add(content);
    const text = document('CopyPartResult', [tag('LastModified', isoTime(at)), tag('ETag', etag)]);
    return sendXml(exchange, text);
  }
  const payload = openPayload(exchange.request.headers, requestBody(exchange));
  const etag = add(await put(payload.bytes));
  await sendEmpty(exchange, 200, { etag, ...Object.fromEntries(payload.checksums) });
}

/** The part of the source that is copied; undefined: all of it. Throws InvalidArgument. */
function rangeOf({ exchange }: Target, { content }: InputObject) {
  const text = exchange.request.headers['x-amz-copy-source-range'];
  if (typeof text !== 'string') return undefined;
  const range = /^bytes=\d+-\d+$/.test(text) ? parseRange(text, content.size) : undefined;
  if (range && range !== 'unsatisfiable') return range;
  throw invalidArgument(
    'x-amz-copy-source-range',
    text,
    'The x-amz-copy-source-range value must be of the form bytes=first-last',
  );
}

async function completeUpload(session: S3Session, target: Target): Promise<void> {
  const { exchange, key } = target;
  const { clock, storage } = session.deps;
  const upload = session.uploads.get(uploadId(target), key);
  const listed = listedParts(await xmlBody(target));
  await answerPatiently(clock, exchange, async () => {
    if (upload.made === undefined) {
      const parts = chosenParts(upload.id, listed, upload.parts);
      const contents = parts.map(({ content }) => content);
      const content = await storage.canonical(contents, exchange).catch((error: unknown) => {
        // An answer that was begun tells the client alone.
        if (!exchange.signal.aborted) session.blame(error);
        throw error;
      });
      exchange.signal.throwIfAborted();
      outOf(session).put(key, content);
      upload.made = etagOf(content);
      upload.parts.clear();
    }
    return { element: completed(target, upload.made), headers: {} };
  });
}

async function abortUpload(session: S3Session, target: Target): Promise<void> {
  session.uploads.abort(uploadId(target), target.key);
  await sendEmpty(target.exchange, 204);
}

async function listParts(session: S3Session, target: Target): Promise<void> {
  const { id, parts } = session.uploads.open(uploadId(target), target.key);
  const sorted = [...parts.values()].sort((a, b) => a.number - b.number);
  await sendParts(target, id, (after) => sorted.filter(({ number }) => number > after));
}

function outOf({ out }: S3Session): OutBucket {
  if (!out) throw noSuchBucket(OUT);
  return out;
}
