/**
 * Objects of other people's buckets, for reading only: what `put file` takes from an s3 URL, and
 * what linked files go on being read from.
 *
 * R1 All requests go through s3-requests.ts.
 * R2 A read that names an ETag gets bytes of exactly that version, or STATE_CONFLICT.
 */
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type GetObjectCommandOutput,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import type { Clock } from '../core/clock.js';
import { codeOf, stateConflict } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { Semaphore } from '../core/semaphore.js';
import { collect, newS3Client, type S3Credentials } from './s3-client.js';
import type { S3Place } from './s3-errors.js';
import { sizeClass } from './s3-hedge.js';
import { S3Requests } from './s3-requests.js';
import type { Wait } from './types.js';

/** A bucket, and how to reach it. */
export interface SourceAddress {
  readonly bucket: string;
  readonly endpoint: string | undefined;
  readonly region: string;
  readonly pathStyle: boolean;
}

export interface SourceObject {
  readonly key: string;
  readonly size: number;
  /** As the source sends it, quotes included. */
  readonly etag: string;
}

const PARALLEL = 32;
const SOCKETS = 48;
const RETRY_BUDGET_MS = 15_000;

export class S3Source implements Disposable {
  readonly #client: S3Client;
  readonly #requests: S3Requests;
  readonly #at: S3Place;
  readonly #reads = new Semaphore(PARALLEL);

  constructor(
    readonly address: SourceAddress,
    readonly deps: {
      readonly s3: S3Credentials | undefined;
      readonly clock: Clock;
      readonly log: Log;
    },
  ) {
    this.#client = newS3Client({ ...address, credentials: deps.s3, sockets: SOCKETS });
    const { bucket, endpoint, region } = address;
    this.#at = { bucket, endpoint: endpoint ?? `https://s3.${region}.amazonaws.com` };
    this.#requests = new S3Requests({
      ...{ clock: deps.clock, log: deps.log, at: this.#at, who: 'source' },
      budgetMs: RETRY_BUDGET_MS,
      // A bucket that is not there is no weather here: it is somebody's typing error.
      retryable: (error) =>
        !isNoBucket(error) && ['UNAVAILABLE', 'OVERLOADED'].includes(codeOf(error)),
    });
  }

  /** NOT_FOUND when there is no such object. */
  async head(key: string, wait: Wait): Promise<SourceObject> {
    const input = { Bucket: this.#at.bucket, Key: key };
    return this.#requests.read(key, wait, {
      size: 'head',
      ask: ({ signal }) => this.#client.send(new HeadObjectCommand(input), { abortSignal: signal }),
      take: ({ ContentLength = 0, ETag = '' }) =>
        Promise.resolve({ key, size: ContentLength, etag: ETag }),
      drop: () => undefined,
    });
  }

  /** A range of the version with this ETag (R2). `length` is not 0. */
  async get(
    object: Pick<SourceObject, 'key' | 'etag'>,
    range: Wait & { readonly offset: number; readonly length: number },
  ): Promise<Buffer> {
    const { key, etag } = object;
    const { signal, offset, length } = range;
    const input = {
      Bucket: this.#at.bucket,
      Key: key,
      Range: `bytes=${offset}-${offset + length - 1}`,
      ...(etag === '' ? {} : { IfMatch: etag }),
    };
    const ask = async (one: Wait): Promise<GetObjectCommandOutput> => {
      const reply = await this.#client
        .send(new GetObjectCommand(input), { abortSignal: one.signal })
        .catch((error: unknown) => {
          if (isChanged(error)) throw this.#changed(key, etag, 'another one');
          throw error;
        });
      // Not every server honours the condition.
      if (etag !== '' && reply.ETag !== undefined && reply.ETag !== etag) {
        (reply.Body as Readable).destroy();
        throw this.#changed(key, etag, reply.ETag);
      }
      return reply;
    };
    const take = async (reply: GetObjectCommandOutput): Promise<Buffer> => {
      const bytes = await collect(reply.Body as Readable, reply.ContentLength, { signal });
      if (bytes.length !== length) throw this.#changed(key, etag, `${bytes.length} bytes`);
      return bytes;
    };
    const drop = (late: GetObjectCommandOutput): void => {
      (late.Body as Readable).destroy();
    };
    return this.#reads.with(range, () =>
      this.#requests.read(key, range, { size: sizeClass(length), ask, take, drop }),
    );
  }

  /** Objects whose key starts with `prefix`, in byte order of keys. */
  async *list(prefix: string, wait: Wait): AsyncGenerator<SourceObject> {
    for (let token: string | undefined; ;) {
      const command = new ListObjectsV2Command({
        Bucket: this.#at.bucket,
        Prefix: prefix,
        ...(token === undefined ? {} : { ContinuationToken: token }),
      });
      const page = await this.#requests.send(prefix, wait, () =>
        this.#client.send(command, { abortSignal: wait.signal }),
      );
      for (const { Key, Size, ETag } of page.Contents ?? []) {
        if (Key !== undefined) yield { key: Key, size: Size ?? 0, etag: ETag ?? '' };
      }
      token = page.NextContinuationToken;
      if (!page.IsTruncated || token === undefined) return;
    }
  }

  [Symbol.dispose](): void {
    this.#client.destroy();
  }

  #changed(key: string, etag: string, found: string): Error {
    return stateConflict(
      `s3://${this.#at.bucket}/${key} has changed at its source (${this.#at.endpoint}): ` +
        `it had ETag ${etag}, found ${found}`,
    );
  }
}

function isChanged(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } })?.$metadata?.httpStatusCode;
  // 416: it is shorter than it was.
  return status === 412 || status === 416;
}

function isNoBucket(error: unknown): boolean {
  const cause = (error as { cause?: { name?: string } } | undefined)?.cause;
  return cause?.name === 'NoSuchBucket';
}
