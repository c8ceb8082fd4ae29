/**
 * Objects written into other people's buckets. Small ones are one request; large ones are put
 * together from parts that are read and sent a few at a time.
 *
 * S1 An object appears whole or not at all; parts of one that broke off are taken back.
 * S2 All requests go through s3-requests.ts.
 */
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import type { Clock } from '../core/clock.js';
import { codeOf } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { orderedAhead } from './ordered-ahead.js';
import { newS3Client, type S3Credentials } from './s3-client.js';
import { S3Requests } from './s3-requests.js';
import type { SourceAddress } from './s3-source.js';
import type { Wait } from './types.js';

/** Reads a range of what is to be written. */
export type ReadRange = (offset: number, length: number, wait: Wait) => Promise<Buffer>;

const SOCKETS = 32;
const RETRY_BUDGET_MS = 10_000;
const PART_BYTES = 8 * 1024 * 1024;
/** S3 takes no more parts than this. */
const PARTS_MAX = 10_000;
const PARTS_PARALLEL = 4;
const ABORT_MS = 5_000;

export class S3Sink implements Disposable {
  readonly #client: S3Client;
  readonly #requests: S3Requests;
  readonly #bucket: string;

  constructor(
    address: SourceAddress,
    readonly deps: {
      readonly s3: S3Credentials | undefined;
      readonly clock: Clock;
      readonly log: Log;
    },
  ) {
    this.#client = newS3Client({ ...address, credentials: deps.s3, sockets: SOCKETS });
    const { bucket, endpoint, region } = address;
    this.#bucket = bucket;
    this.#requests = new S3Requests({
      ...{ clock: deps.clock, log: deps.log, who: 'sink', baseDelayMs: 100 },
      at: { bucket, endpoint: endpoint ?? `https://s3.${region}.amazonaws.com` },
      budgetMs: RETRY_BUDGET_MS,
      // Anything else the egress hears of at once: it tries again, and says why.
      retryable: (error) => codeOf(error) === 'OVERLOADED',
    });
  }

  /** Writes an object of `size` bytes, replacing what is there. */
  async put(key: string, size: number, read: ReadRange, wait: Wait): Promise<void> {
    if (size > PART_BYTES) return this.#inParts(key, size, read, wait);
    const Body = await read(0, size, wait);
    const command = new PutObjectCommand({ ...this.#locate(key), Body, ContentLength: size });
    await this.#try(key, wait, (abort) => this.#client.send(command, abort));
  }

  async #inParts(key: string, size: number, read: ReadRange, wait: Wait): Promise<void> {
    const at = this.#locate(key);
    const begun = await this.#try(key, wait, (abort) =>
      this.#client.send(new CreateMultipartUploadCommand(at), abort),
    );
    const upload = { ...at, UploadId: begun.UploadId };
    try {
      const Parts: { ETag: string | undefined; PartNumber: number }[] = [];
      const limits = { parallel: PARTS_PARALLEL, bytes: PARTS_PARALLEL * PART_BYTES };
      const jobs = this.#parts(upload, size, read);
      for await (const part of orderedAhead(jobs, { signal: wait.signal, ...limits })) {
        Parts.push(part);
      }
      const command = new CompleteMultipartUploadCommand({ ...upload, MultipartUpload: { Parts } });
      await this.#try(key, wait, (abort) => this.#client.send(command, abort));
    } catch (error) {
      await this.#client
        .send(new AbortMultipartUploadCommand(upload), {
          abortSignal: AbortSignal.timeout(ABORT_MS),
        })
        .catch((left: unknown) => this.deps.log.info({ err: left, key }, 'parts were left over'));
      throw error;
    }
  }

  *#parts(
    upload: { Bucket: string; Key: string; UploadId: string | undefined },
    size: number,
    read: ReadRange,
  ): Generator<{
    bytes: number;
    run: (signal: AbortSignal) => Promise<{ ETag: string | undefined; PartNumber: number }>;
  }> {
    const partBytes = Math.max(PART_BYTES, Math.ceil(size / PARTS_MAX));
    for (let offset = 0, number = 1; offset < size; offset += partBytes, number += 1) {
      const length = Math.min(partBytes, size - offset);
      const PartNumber = number;
      yield {
        bytes: length,
        run: async (signal) => {
          const Body = await read(offset, length, { signal });
          const command = new UploadPartCommand({
            ...upload,
            PartNumber,
            Body,
            ContentLength: length,
          });
          const reply = await this.#try(upload.Key, { signal }, (abort) =>
            this.#client.send(command, abort),
          );
          return { ETag: reply.ETag, PartNumber };
        },
      };
    }
  }

  [Symbol.dispose](): void {
    this.#client.destroy();
  }

  #locate(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: key };
  }

  async #try<T>(
    key: string,
    wait: Wait,
    work: (abort: { abortSignal: AbortSignal }) => Promise<T>,
  ): Promise<T> {
    const send = (): Promise<T> => work({ abortSignal: wait.signal });
    return this.#requests.send(key, wait, send, { kind: 'write' });
  }
}
