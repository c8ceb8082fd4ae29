/**
 * Objects of other people's buckets, for reading only: what `put file` takes from an s3 URL, and
 * what linked files go on being read from.
 *
 * R1 One retry layer: s3-retry.ts.
 * R2 A read that names an ETag gets bytes of exactly that version, or STATE_CONFLICT.
 */
import {
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import type { Clock } from '../core/clock.js';
import { codeOf, stateConflict } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { Semaphore } from '../core/semaphore.js';
import { collect, newS3Client, type S3Credentials } from './s3-client.js';
import type { S3Place } from './s3-errors.js';
import { tryS3 } from './s3-retry.js';
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
  }

  /** NOT_FOUND when there is no such object. */
  async head(key: string, wait: Wait): Promise<SourceObject> {
    return this.#try(key, wait, async () => {
      const command = new HeadObjectCommand({ Bucket: this.#at.bucket, Key: key });
      const reply = await this.#client.send(command, { abortSignal: wait.signal });
      return { key, size: reply.ContentLength ?? 0, etag: reply.ETag ?? '' };
    });
  }

  /** A range of the version with this ETag (R2). `length` is not 0. */
  async get(
    object: Pick<SourceObject, 'key' | 'etag'>,
    range: Wait & { readonly offset: number; readonly length: number },
  ): Promise<Buffer> {
    const { key, etag } = object;
    const { signal, offset, length } = range;
    const command = new GetObjectCommand({
      Bucket: this.#at.bucket,
      Key: key,
      Range: `bytes=${offset}-${offset + length - 1}`,
      ...(etag === '' ? {} : { IfMatch: etag }),
    });
    return this.#reads.with(range, () =>
      this.#try(key, range, async () => {
        const reply = await this.#client
          .send(command, { abortSignal: signal })
          .catch((error: unknown) => {
            if (isChanged(error)) throw this.#changed(key, etag, 'another one');
            throw error;
          });
        // Not every server honours the condition.
        if (etag !== '' && reply.ETag !== undefined && reply.ETag !== etag) {
          (reply.Body as Readable).destroy();
          throw this.#changed(key, etag, reply.ETag);
        }
        const bytes = await collect(reply.Body as Readable, reply.ContentLength, { signal });
        if (bytes.length !== length) throw this.#changed(key, etag, `${bytes.length} bytes`);
        return bytes;
      }),
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
      const page = await this.#try(prefix, wait, () =>
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

  async #try<T>(key: string, wait: Wait, work: () => Promise<T>): Promise<T> {
    const { clock, log } = this.deps;
    // A bucket that is not there is no weather here: it is somebody's typing error.
    const retryable = (error: unknown): boolean =>
      !isNoBucket(error) && ['UNAVAILABLE', 'OVERLOADED'].includes(codeOf(error));
    const limits = { budgetMs: RETRY_BUDGET_MS, retryable };
    return tryS3({ clock, log, at: this.#at, who: 'source', ...limits }, key, wait, work);
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
