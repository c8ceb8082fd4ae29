/**
 * Objects in an S3 bucket, through any server that speaks the S3 API with path-style addresses.
 *
 * S1 All requests go through s3-requests.ts: one retry layer, paced, reads hedged.
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
import type {
  GetOptions,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  StoreCounts,
} from './object-store.js';
import { collect, newS3Client } from './s3-client.js';
import type { S3Place } from './s3-errors.js';
import { sizeClass } from './s3-hedge.js';
import { S3Requests } from './s3-requests.js';
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
  readonly #requests: S3Requests;
  readonly #at: S3Place;
  readonly #puts = new Semaphore(PARALLEL_PUTS);
  readonly #gets = new Semaphore(PARALLEL_GETS);
  readonly #deletes = new Semaphore(PARALLEL_DELETES);
  readonly #prefix: string;
  readonly #options: S3StoreOptions;
  readonly #reads = { reads: 0, readBytes: 0 };

  constructor(config: S3Config, options: S3StoreOptions) {
    const endpoint = config.endpoint ?? `https://s3.${config.region}.amazonaws.com`;
    this.#at = { bucket: config.bucket, endpoint };
    this.place = `bucket ${config.bucket} at ${endpoint}`;
    this.#prefix = config.prefix;
    this.#options = options;
    this.#client = newS3Client({ ...config, credentials: options.s3, sockets: SOCKETS });
    this.#requests = new S3Requests({
      ...{ clock: options.clock, log: options.log, at: this.#at, who: 'object store' },
      budgetMs: RETRY_BUDGET_MS,
      prefixOf: (key) => key.slice(0, key.lastIndexOf('/') + 1),
    });
  }

  get counts(): StoreCounts {
    return { ...this.#reads, ...this.#requests.counts };
  }

  async ensureBucket(wait: Wait): Promise<void> {
    const Bucket = this.#at.bucket;
    const abort = { abortSignal: wait.signal };
    const limits = { budgetMs: OPEN_BUDGET_MS };
    try {
      const look = new HeadBucketCommand({ Bucket });
      await this.#requests.send('', wait, () => this.#client.send(look, abort), limits);
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
      this.#options.log.info({ bucket: Bucket }, 'the bucket does not exist; making it');
      const make = new CreateBucketCommand({ Bucket });
      await this.#requests.send('', wait, () => this.#client.send(make, abort), limits);
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
      const send = async (): Promise<void> => {
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
      };
      await this.#requests.send(key, options, send, { kind: 'write' });
    });
  }

  async get(key: string, options: GetOptions): Promise<Buffer> {
    const { offset = 0, length } = options;
    if (length === 0) return Buffer.alloc(0);
    const last = length === undefined ? '' : String(offset + length - 1);
    const range = offset > 0 || length !== undefined ? { Range: `bytes=${offset}-${last}` } : {};
    const input = { ...this.#locate(key), ...range };
    return this.#gets.with(options, async () => {
      try {
        const bytes = await this.#requests.read(key, options, {
          size: sizeClass(length),
          ask: ({ signal }) =>
            this.#client.send(new GetObjectCommand(input), { abortSignal: signal }),
          take: (reply) => collect(reply.Body as Readable, reply.ContentLength, options),
          drop: (late) => (late.Body as Readable).destroy(),
        });
        this.#reads.reads += 1;
        this.#reads.readBytes += bytes.length;
        return bytes;
      } catch (error) {
        if (isOutOfRange(error)) return Buffer.alloc(0);
        throw error;
      }
    });
  }

  async head(key: string, wait: Wait): Promise<ObjectInfo | undefined> {
    const input = this.#locate(key);
    try {
      const reply = await this.#requests.read(key, wait, {
        size: 'head',
        ask: ({ signal }) =>
          this.#client.send(new HeadObjectCommand(input), { abortSignal: signal }),
        take: (first) => Promise.resolve(first),
        drop: () => undefined,
      });
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
      const page = await this.#requests.send(prefix, options, () =>
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
        const send = async (): Promise<void> => {
          await this.#client.send(command, { abortSignal: wait.signal });
        };
        await this.#requests.send(key, wait, send, { kind: 'write' }).catch((error: unknown) => {
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
}

function joined(bytes: Uint8Array | readonly Uint8Array[]): Uint8Array {
  if (bytes instanceof Uint8Array) return bytes;
  return bytes.length === 1 ? (bytes[0] as Uint8Array) : Buffer.concat(bytes);
}

function isOutOfRange(error: unknown): boolean {
  const { cause } = (error ?? {}) as { cause?: { $metadata?: { httpStatusCode?: number } } };
  return cause?.$metadata?.httpStatusCode === 416;
}
