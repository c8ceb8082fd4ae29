/**
 * Objects in an S3 bucket, through any server that speaks the S3 API with path-style addresses.
 *
 * S1 One retry layer: the SDK's own is off; s3-retry.ts tries again with jitter within a budget.
 * S2 Puts are unconditional: names are digests, so a repeat writes the same bytes (some servers
 *    refuse conditional puts).
 * S3 The digest we already know is the signed payload hash, so the server verifies what arrived
 *    and nothing is hashed twice.
 */
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { Readable } from 'node:stream';
import type { Clock } from '../core/clock.js';
import { codeOf, invalidInput } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { Semaphore } from '../core/semaphore.js';
import { sha256Hex } from '../core/sha256.js';
import { NEVER } from '../core/signals.js';
import type { GetOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.js';
import { collect, newS3Client } from './s3-client.js';
import type { S3Place } from './s3-errors.js';
import { tryS3 } from './s3-retry.js';
import type { Wait } from './types.js';

export interface S3StoreOptions {
  /** `s3://bucket/prefix?endpoint=…&region=…&path-style=true|false`. */
  readonly url: string;
  /** Absent: the SDK's default chain (profile, instance role …). */
  readonly s3?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

const PARALLEL_PUTS = 32;
const PARALLEL_GETS = 48;
const PARALLEL_DELETES = 16;
const SOCKETS = 96;
/** How long one operation is tried before its caller hears of it. */
const RETRY_BUDGET_MS = 15_000;
/** At start-up a wrong address should be told sooner. */
const OPEN_BUDGET_MS = 3_000;

/** Opens the bucket, making it when it does not exist. */
export async function openS3Store(options: S3StoreOptions): Promise<S3Store> {
  const config = parseS3Url(options.url);
  const store = new S3Store(config, options);
  try {
    await store.ensureBucket({ signal: NEVER });
    return store;
  } catch (error) {
    await store[Symbol.asyncDispose]();
    throw error;
  }
}

export interface S3Config {
  readonly bucket: string;
  readonly prefix: string;
  readonly endpoint: string | undefined;
  readonly region: string;
  readonly pathStyle: boolean;
}

/** Reads a store URL; unknown parameters are an error. */
export function parseS3Url(text: string): S3Config {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || url.protocol !== 's3:' || url.hostname === '') {
    throw invalidInput(
      `store URL "${text}": expected s3://bucket/prefix?endpoint=http://host:port`,
    );
  }
  for (const name of url.searchParams.keys()) {
    if (!['endpoint', 'region', 'path-style'].includes(name)) {
      throw invalidInput(
        `store URL "${text}": unknown parameter "${name}"; known are endpoint, region, path-style`,
      );
    }
  }
  const endpoint = url.searchParams.get('endpoint') ?? undefined;
  if (endpoint !== undefined && !/^https?:\/\/[^/]/.test(endpoint)) {
    throw invalidInput(`store URL "${text}": endpoint must start with http:// or https://`);
  }
  const path = decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, '');
  return {
    bucket: url.hostname,
    prefix: path === '' ? '' : `${path}/`,
    endpoint,
    region: url.searchParams.get('region') ?? 'us-east-1',
    pathStyle: url.searchParams.get('path-style') !== 'false',
  };
}

export class S3Store implements ObjectStore {
  readonly place: string;
  readonly #client: S3Client;
  readonly #at: S3Place;
  readonly #puts = new Semaphore(PARALLEL_PUTS);
  readonly #gets = new Semaphore(PARALLEL_GETS);
  readonly #deletes = new Semaphore(PARALLEL_DELETES);
  readonly #prefix: string;
  readonly #options: S3StoreOptions;

  constructor(config: S3Config, options: S3StoreOptions) {
    const endpoint = config.endpoint ?? `https://s3.${config.region}.amazonaws.com`;
    this.#at = { bucket: config.bucket, endpoint };
    this.place = `bucket ${config.bucket} at ${endpoint}`;
    this.#prefix = config.prefix;
    this.#options = options;
    this.#client = newS3Client({ ...config, credentials: options.s3, sockets: SOCKETS });
  }

  async ensureBucket(wait: Wait): Promise<void> {
    const Bucket = this.#at.bucket;
    const abort = { abortSignal: wait.signal };
    try {
      const look = new HeadBucketCommand({ Bucket });
      await this.#try('', wait, () => this.#client.send(look, abort), OPEN_BUDGET_MS);
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
      this.#options.log.info({ bucket: Bucket }, 'the bucket does not exist; making it');
      const make = new CreateBucketCommand({ Bucket });
      await this.#try('', wait, () => this.#client.send(make, abort), OPEN_BUDGET_MS);
    }
  }

  async put(
    key: string,
    bytes: Uint8Array | readonly Uint8Array[],
    options: PutOptions,
  ): Promise<void> {
    await this.#puts.with(options, async () => {
      const body = joined(bytes);
      const digest = options.sha256?.toString('hex') ?? sha256Hex(body);
      await this.#try(key, options, async () => {
        const command = new PutObjectCommand({
          ...this.#locate(key),
          Body: body,
          ContentLength: body.byteLength,
        });
        command.middlewareStack.add(
          (next) => async (args) => {
            const request = args.request as { headers: Record<string, string> };
            request.headers['x-amz-content-sha256'] = digest;
            return next(args);
          },
          { step: 'build', name: 'knownPayloadHash' },
        );
        await this.#client.send(command, { abortSignal: options.signal });
      });
    });
  }

  async get(key: string, options: GetOptions): Promise<Buffer> {
    const { offset = 0, length } = options;
    if (length === 0) return Buffer.alloc(0);
    const last = length === undefined ? '' : String(offset + length - 1);
    const range = offset > 0 || length !== undefined ? { Range: `bytes=${offset}-${last}` } : {};
    return this.#gets.with(options, () =>
      this.#try(key, options, async () => {
        const command = new GetObjectCommand({ ...this.#locate(key), ...range });
        try {
          const reply = await this.#client.send(command, { abortSignal: options.signal });
          return await collect(reply.Body as Readable, reply.ContentLength, options);
        } catch (error) {
          if (isOutOfRange(error)) return Buffer.alloc(0);
          throw error;
        }
      }),
    );
  }

  async head(key: string, wait: Wait): Promise<ObjectInfo | undefined> {
    try {
      const reply = await this.#try(key, wait, () =>
        this.#client.send(new HeadObjectCommand(this.#locate(key)), { abortSignal: wait.signal }),
      );
      return { key, size: reply.ContentLength ?? 0 };
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return undefined;
      throw error;
    }
  }

  async *list(
    prefix: string,
    options: Wait & { readonly after?: string },
  ): AsyncGenerator<ObjectInfo> {
    let after = options.after === undefined ? undefined : this.#prefix + options.after;
    for (;;) {
      const command = new ListObjectsV2Command({
        Bucket: this.#at.bucket,
        Prefix: this.#prefix + prefix,
        ...(after === undefined ? {} : { StartAfter: after }),
      });
      const page = await this.#try(prefix, options, () =>
        this.#client.send(command, { abortSignal: options.signal }),
      );
      for (const { Key, Size } of page.Contents ?? []) {
        if (Key === undefined) continue;
        after = Key;
        yield { key: Key.slice(this.#prefix.length), size: Size ?? 0 };
      }
      if (!page.IsTruncated || (page.Contents ?? []).length === 0) return;
    }
  }

  /** One request per key: the multi-object call needs MD5 headers that SDK and servers dispute. */
  async delete(keys: readonly string[], wait: Wait): Promise<void> {
    const one = (key: string): Promise<void> =>
      this.#deletes.with(wait, async () => {
        const command = new DeleteObjectCommand(this.#locate(key));
        await this.#try(key, wait, () =>
          this.#client.send(command, { abortSignal: wait.signal }),
        ).catch((error: unknown) => {
          if (codeOf(error) !== 'NOT_FOUND') throw error;
        });
      });
    for (let at = 0; at < keys.length; at += 1000) {
      await Promise.all(keys.slice(at, at + 1000).map(one));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client.destroy();
  }

  #locate(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#at.bucket, Key: this.#prefix + key };
  }

  async #try<T>(
    key: string,
    wait: Wait,
    work: () => Promise<T>,
    budgetMs = RETRY_BUDGET_MS,
  ): Promise<T> {
    const { clock, log } = this.#options;
    const limits = { at: this.#at, who: 'object store', budgetMs };
    return tryS3({ clock, log, ...limits }, key, wait, work);
  }
}

function joined(bytes: Uint8Array | readonly Uint8Array[]): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  return bytes.length === 1 ? (bytes[0] as Uint8Array) : Buffer.concat(bytes);
}

function isOutOfRange(error: unknown): boolean {
  const status = (error as { $metadata?: { httpStatusCode?: number } })?.$metadata?.httpStatusCode;
  return status === 416;
}
