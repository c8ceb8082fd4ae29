/**
 * The bytes of an upload, proven: framing taken off, length and every digest the client sent
 * compared. The last step throws when anything differs, and then nothing was stored for anyone.
 */
import type { IncomingHttpHeaders } from 'node:http';
import { decodeAwsChunked } from './aws-chunked.js';
import { CHECKSUM_NAMES, newChecksum, type Checksum, type ChecksumName } from './checksum.js';
import { invalidArgument, invalidRequest, S3Error } from './s3-error.js';

export interface Payload {
  readonly bytes: AsyncGenerator<Buffer>;
  /** Checksums that were given and hold, by header name; complete when `bytes` ended. */
  readonly checksums: ReadonlyMap<string, string>;
}

interface Expected {
  readonly sum: Checksum;
  /** What it must be; undefined until its trailer came. */
  value: Buffer | undefined;
  readonly failure: () => S3Error;
}

const STREAMING = new Map([
  ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD', { signed: true }],
  ['STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER', { signed: true }],
  ['STREAMING-UNSIGNED-PAYLOAD-TRAILER', { signed: false }],
]);

type HeaderText = (name: string) => string | undefined;

/** Reads the upload that these headers describe from the raw body. Throws S3Error. */
export function openPayload(headers: IncomingHttpHeaders, raw: AsyncIterable<Buffer>): Payload {
  const text: HeaderText = (name) => {
    const value = headers[name];
    return typeof value === 'string' ? value : undefined;
  };
  const chunked = framingOf(text);
  const expected = expectedOf(text, chunked !== undefined);
  const checksums = new Map<string, string>();
  const size = sizeOf(text, chunked !== undefined);
  const bytes = chunked
    ? decodeAwsChunked(raw, {
        signed: chunked.signed,
        onTrailer: (name, value) => {
          const entry = expected.get(name);
          if (entry && entry.value === undefined) entry.value = decodeDigest(name, value);
        },
      })
    : raw;
  return { bytes: proven(bytes, { size, expected, checksums }), checksums };
}

/** How the body is framed; undefined: not at all. */
function framingOf(text: HeaderText): { readonly signed: boolean } | undefined {
  const hash = text('x-amz-content-sha256');
  if (hash?.startsWith('STREAMING-')) {
    const framing = STREAMING.get(hash);
    if (framing) return framing;
    throw invalidArgument('x-amz-content-sha256', hash, 'this payload signing is not supported');
  }
  const encoded = /(^|,)\s*aws-chunked/.test(text('content-encoding') ?? '');
  return encoded ? { signed: false } : undefined;
}

function expectedOf(text: HeaderText, chunked: boolean): Map<string, Expected> {
  const expected = new Map<string, Expected>();
  addMd5(expected, text('content-md5'));
  if (!chunked) addSha256(expected, text('x-amz-content-sha256'));
  for (const name of CHECKSUM_NAMES) addChecksum(expected, name, text(`x-amz-checksum-${name}`));
  for (const trailer of (text('x-amz-trailer') ?? '').split(',')) {
    const header = trailer.trim().toLowerCase();
    const name = CHECKSUM_NAMES.find((each) => header === `x-amz-checksum-${each}`);
    if (name && !expected.has(header)) expected.set(header, checksumOf(name));
  }
  return expected;
}

async function* proven(
  source: AsyncIterable<Buffer>,
  proof: {
    size: number | undefined;
    expected: ReadonlyMap<string, Expected>;
    checksums: Map<string, string>;
  },
): AsyncGenerator<Buffer> {
  const sums = [...proof.expected.values()].map(({ sum }) => sum);
  let size = 0;
  for await (const part of source) {
    size += part.length;
    for (const sum of sums) sum.update(part);
    yield part;
  }
  if (proof.size !== undefined && size !== proof.size) {
    throw new S3Error(
      'IncompleteBody',
      400,
      `You did not provide the number of bytes specified by the Content-Length HTTP header: got ${size}, expected ${proof.size}`,
    );
  }
  for (const [name, { sum, value, failure }] of proof.expected) {
    if (value === undefined) {
      throw new S3Error('MalformedTrailerError', 400, `The trailer ${name} is missing`);
    }
    if (!sum.digest().equals(value)) throw failure();
    if (name.startsWith('x-amz-checksum-')) proof.checksums.set(name, value.toString('base64'));
  }
}

function sizeOf(header: HeaderText, chunked: boolean): number | undefined {
  const text = header(chunked ? 'x-amz-decoded-content-length' : 'content-length');
  if (text === undefined) {
    if (!chunked) return undefined;
    throw new S3Error(
      'MissingContentLength',
      411,
      'You must provide the x-amz-decoded-content-length HTTP header.',
    );
  }
  if (!/^\d{1,15}$/.test(text)) {
    throw invalidArgument('x-amz-decoded-content-length', text, 'the length is not a number');
  }
  return Number(text);
}

function addMd5(expected: Map<string, Expected>, text: string | undefined): void {
  if (text === undefined) return;
  const value = Buffer.from(text, 'base64');
  if (value.length !== 16) {
    throw new S3Error('InvalidDigest', 400, 'The Content-MD5 you specified was invalid.', {
      details: { 'Content-MD5': text },
    });
  }
  expected.set('content-md5', {
    sum: newChecksum('md5'),
    value,
    failure: () =>
      new S3Error(
        'BadDigest',
        400,
        'The Content-MD5 you specified did not match what we received.',
        { details: { ExpectedDigest: text } },
      ),
  });
}

function addSha256(expected: Map<string, Expected>, text: string | undefined): void {
  if (text === undefined || text === 'UNSIGNED-PAYLOAD') return;
  if (!/^[0-9a-fA-F]{64}$/.test(text)) {
    throw invalidArgument(
      'x-amz-content-sha256',
      text,
      'x-amz-content-sha256 must be UNSIGNED-PAYLOAD, a STREAMING- payload, or a valid sha256 value.',
    );
  }
  expected.set('x-amz-content-sha256', {
    sum: newChecksum('sha256'),
    value: Buffer.from(text, 'hex'),
    failure: () =>
      new S3Error(
        'XAmzContentSHA256Mismatch',
        400,
        "The provided 'x-amz-content-sha256' header does not match what was computed.",
        { details: { ClientComputedContentSHA256: text } },
      ),
  });
}

function addChecksum(
  expected: Map<string, Expected>,
  name: ChecksumName,
  text: string | undefined,
): void {
  if (text === undefined) return;
  const entry = checksumOf(name);
  entry.value = decodeDigest(`x-amz-checksum-${name}`, text);
  expected.set(`x-amz-checksum-${name}`, entry);
}

function checksumOf(name: ChecksumName): Expected {
  const failure = (): S3Error =>
    new S3Error(
      'BadDigest',
      400,
      `The ${name.toUpperCase()} you specified did not match the calculated checksum.`,
    );
  return { sum: newChecksum(name), value: undefined, failure };
}

const DIGEST_BYTES: Readonly<Record<string, number>> = {
  'x-amz-checksum-crc32': 4,
  'x-amz-checksum-crc32c': 4,
  'x-amz-checksum-crc64nvme': 8,
  'x-amz-checksum-sha1': 20,
  'x-amz-checksum-sha256': 32,
};

function decodeDigest(name: string, text: string): Buffer {
  const value = Buffer.from(text, 'base64');
  if (value.length !== DIGEST_BYTES[name]) {
    throw invalidRequest(`Value for ${name} header is invalid.`);
  }
  return value;
}
