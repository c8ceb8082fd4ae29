/** What every use of the AWS SDK shares: how its client is set up and how a body is read. */
import { S3Client } from '@aws-sdk/client-s3';
import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Readable } from 'node:stream';
import { unavailable } from '../core/errors.js';
import { addAbortListener } from '../core/signals.js';
import { bufferFor, type GetOptions } from './object-store.js';

/** A connection that says nothing for this long is given up (and the request tried again). */
const SILENCE_MS = 20_000;
const CONNECT_MS = 3_000;

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface S3ClientOptions {
  readonly endpoint: string | undefined;
  readonly region: string;
  readonly pathStyle: boolean;
  /** Absent: the SDK's default chain (profile, instance role …). */
  readonly credentials: S3Credentials | undefined;
  readonly sockets: number;
}

/** A client without retries of its own. */
export function newS3Client(options: S3ClientOptions): S3Client {
  const { endpoint, region, pathStyle, credentials, sockets } = options;
  const agent = { keepAlive: true, maxSockets: sockets, scheduling: 'fifo' as const };
  return new S3Client({
    region,
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    forcePathStyle: pathStyle,
    maxAttempts: 1,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Waiting for "100 Continue" costs a round trip per chunk.
    expectContinueHeader: false,
    requestHandler: {
      httpAgent: new HttpAgent(agent),
      httpsAgent: new HttpsAgent(agent),
      connectionTimeout: CONNECT_MS,
      socketTimeout: SILENCE_MS,
      socketAcquisitionWarningTimeout: 600_000,
    },
  });
}

/**
 * The body of an answer, of `length` bytes when it said so. Events instead of an iterator: a body comes
 * in thousands of small parts.
 */
export async function collect(
  body: Readable,
  length: number | undefined,
  options: GetOptions,
): Promise<Buffer> {
  const { signal } = options;
  const stop = addAbortListener(signal, () => body.destroy(signal.reason as Error));
  try {
    const buffer = bufferFor(length ?? 0, options);
    const extra: Buffer[] = [];
    let at = 0;
    await new Promise<void>((resolve, reject) => {
      body.on('data', (part: Buffer) => {
        if (at + part.length <= buffer.length) buffer.set(part, at);
        else if (length === undefined) extra.push(part);
        at += part.length;
      });
      body.once('end', resolve);
      body.once('error', reject);
      // A connection that breaks off may close without an error.
      body.once('close', () => reject(unavailable('the object store broke off its answer')));
    });
    if (length !== undefined && at !== length) {
      throw unavailable(`the object store sent ${at} of ${length} bytes`);
    }
    return length === undefined ? Buffer.concat(extra) : buffer;
  } finally {
    stop();
  }
}
