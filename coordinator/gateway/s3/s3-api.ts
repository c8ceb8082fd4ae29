/** The S3 gateway: which request is which operation. */
import { Semaphore } from '../../../core/semaphore.js';
import type { Exchange } from '../../../http/http-server.js';
import { sendError } from '../../../http/s3/answers.js';
import {
  createBucket,
  deleteBucket,
  getBucketLocation,
  getBucketVersioning,
  headBucket,
  listBuckets,
} from './buckets.js';
import { listObjectsV1, listObjectsV2 } from './list-objects.js';
import { listObjectVersions } from './list-versions.js';
import {
  abortUpload,
  completeUpload,
  createUpload,
  listParts,
  listUploads,
  uploadPart,
  type MultipartDeps,
} from './multipart.js';
import {
  deleteObject,
  deleteObjects,
  getObject,
  getObjectAttributes,
  putOrCopy,
} from './objects.js';
import { readRequest, type BucketRequest, type S3Deps } from './s3-request.js';
import { notImplemented, S3Error, toS3Error } from '../../../http/s3/s3-error.js';
import { putBucketVersioning, settingOf, settings } from './settings.js';
import { UploadStore } from './upload-store.js';

/** Uploads at once, each of which may hold a chunk of 16 MiB; more wait without being read. */
const UPLOADS_MAX = 32;

type Operation = (deps: MultipartDeps, request: BucketRequest) => Promise<void>;

export interface S3Api {
  handle(exchange: Exchange): Promise<void>;
  fail(exchange: Exchange, error: unknown): void;
}

export function s3Api(input: S3Deps): S3Api {
  const deps: MultipartDeps = {
    ...input,
    uploads: new UploadStore(input),
    slots: new Semaphore(UPLOADS_MAX),
  };
  const uploading = new Semaphore(UPLOADS_MAX);
  return {
    handle: async (exchange) => {
      exchange.response.setHeader('server', 'Tusk');
      exchange.response.setHeader('x-amz-request-id', exchange.requestId);
      exchange.response.setHeader('x-amz-id-2', 'tusk');
      const request = readRequest(exchange, input.clock.wallMs());
      const { bucket } = request;
      if (bucket === undefined) {
        if (request.method !== 'GET') throw notAllowed();
        await listBuckets(deps, request);
        return;
      }
      const operation = operationOf({ ...request, bucket });
      const run = (): Promise<void> => operation(deps, { ...request, bucket });
      if (operation !== putOrCopy && operation !== uploadPart) await run();
      else await uploading.with({ signal: exchange.signal }, run);
    },
    fail: (exchange, error) => sendError(exchange, toS3Error(error)),
  };
}

function operationOf(request: BucketRequest): Operation {
  const { method, query, key } = request;
  const setting = settingOf(request);
  if (setting !== undefined) return (deps, own) => settings(deps, own, setting);
  const table = key === '' ? BUCKET_OPERATIONS : OBJECT_OPERATIONS;
  const rows = table[method];
  if (!rows) throw notAllowed();
  const row = rows.find(({ when }) => when === undefined || query.has(when));
  if (!row) throw notImplemented(`${method} with these parameters`);
  return row.operation;
}

interface Row {
  /** The query parameter that asks for it; absent: what is left. */
  readonly when?: string;
  readonly operation: Operation;
}

const listObjects: Operation = (deps, request) =>
  request.query.get('list-type') === '2'
    ? listObjectsV2(deps, request)
    : listObjectsV1(deps, request);

const BUCKET_OPERATIONS: Readonly<Record<string, readonly Row[]>> = {
  GET: [
    { when: 'location', operation: getBucketLocation },
    { when: 'versioning', operation: getBucketVersioning },
    { when: 'versions', operation: listObjectVersions },
    { when: 'uploads', operation: listUploads },
    { operation: listObjects },
  ],
  HEAD: [{ operation: headBucket }],
  PUT: [{ when: 'versioning', operation: putBucketVersioning }, { operation: createBucket }],
  DELETE: [{ operation: deleteBucket }],
  POST: [{ when: 'delete', operation: deleteObjects }],
};

const OBJECT_OPERATIONS: Readonly<Record<string, readonly Row[]>> = {
  GET: [
    { when: 'uploadId', operation: listParts },
    { when: 'attributes', operation: getObjectAttributes },
    { operation: getObject },
  ],
  HEAD: [{ operation: getObject }],
  PUT: [{ when: 'uploadId', operation: uploadPart }, { operation: putOrCopy }],
  POST: [
    { when: 'uploads', operation: createUpload },
    { when: 'uploadId', operation: completeUpload },
  ],
  DELETE: [{ when: 'uploadId', operation: abortUpload }, { operation: deleteObject }],
};

function notAllowed(): S3Error {
  return new S3Error(
    'MethodNotAllowed',
    405,
    'The specified method is not allowed against this resource.',
  );
}
