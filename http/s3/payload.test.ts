import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { newChecksum } from './checksum.js';
import { openPayload } from './payload.js';
import { S3Error } from './s3-error.js';

const SIGNATURE = `;chunk-signature=${'ab'.repeat(32)}`;

async function* parts(bytes: Buffer, at: readonly number[] = []): AsyncGenerator<Buffer> {
  const places = [0, ...at.map((place) => place % (bytes.length + 1)), bytes.length];
  places.sort((a, b) => a - b);
  for (let i = 1; i < places.length; i += 1) yield bytes.subarray(places[i - 1], places[i]);
}

async function read(
  headers: Record<string, string>,
  body: string | Buffer,
  at: readonly number[] = [],
): Promise<string> {
  const got: Buffer[] = [];
  for await (const part of openPayload(headers, parts(Buffer.from(body), at)).bytes) got.push(part);
  return Buffer.concat(got).toString('latin1');
}

async function refusal(headers: Record<string, string>, body: string): Promise<string> {
  const error = await read(headers, body).catch((reason: unknown) => reason);
  return error instanceof S3Error ? error.code : String(error);
}

/** A body in signed chunks of these texts. */
function framed(texts: readonly string[], signature = SIGNATURE, trailers = ''): string {
  const chunks = texts.map((text) => `${text.length.toString(16)}${signature}\r\n${text}\r\n`);
  return `${chunks.join('')}0${signature}\r\n${trailers}\r\n`;
}

const signed = (length: number): Record<string, string> => ({
  'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  'x-amz-decoded-content-length': String(length),
});

const trailing = (length: number, name: string): Record<string, string> => ({
  'x-amz-content-sha256': 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
  'x-amz-decoded-content-length': String(length),
  'x-amz-trailer': name,
});

describe('checksums', () => {
  it('are those everybody computes', () => {
    const known = {
      crc32: 'cbf43926',
      crc32c: 'e3069283',
      crc64nvme: 'ae8b14860a799888',
      sha1: 'f7c3bc1d808e04732adf679965ccc34ca7ae3441',
    } as const;
    for (const [name, value] of Object.entries(known)) {
      const sum = newChecksum(name as keyof typeof known);
      sum.update(Buffer.from('12345'));
      sum.update(Buffer.from('6789'));
      expect(sum.digest().toString('hex')).toBe(value);
    }
  });

  it('do not depend on how the bytes are cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(), (bytes, place) => {
        for (const name of ['crc32', 'crc32c', 'crc64nvme'] as const) {
          const whole = newChecksum(name);
          whole.update(bytes);
          const cut = newChecksum(name);
          cut.update(bytes.subarray(0, place % (bytes.length + 1)));
          cut.update(bytes.subarray(place % (bytes.length + 1)));
          expect(cut.digest()).toEqual(whole.digest());
        }
      }),
    );
  });
});

describe('plain bodies', () => {
  it('are compared with what the headers say', async () => {
    const md5 = createHash('md5').update('abc').digest('base64');
    const sha256 = createHash('sha256').update('abc').digest('hex');
    const headers = { 'content-md5': md5, 'x-amz-content-sha256': sha256, 'content-length': '3' };
    expect(await read(headers, 'abc')).toBe('abc');
    expect(await refusal({ 'content-md5': md5 }, 'abd')).toBe('BadDigest');
    expect(await refusal({ 'content-md5': 'x' }, 'abc')).toBe('InvalidDigest');
    expect(await refusal({ 'x-amz-content-sha256': sha256 }, 'x')).toBe(
      'XAmzContentSHA256Mismatch',
    );
    expect(await refusal({ 'x-amz-content-sha256': 'what' }, 'x')).toBe('InvalidArgument');
    expect(await refusal({ 'x-amz-content-sha256': 'STREAMING-NEW' }, 'x')).toBe('InvalidArgument');
    expect(await refusal({ 'content-length': '4' }, 'abc')).toBe('IncompleteBody');
    expect(await refusal({ 'x-amz-checksum-crc32': 'AAAAAA==' }, 'abc')).toBe('BadDigest');
    expect(await refusal({ 'x-amz-checksum-crc32': 'AA==' }, 'abc')).toBe('InvalidRequest');
    expect(await read({ 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' }, 'x')).toBe('x');
  });
});

describe('aws-chunked bodies', () => {
  it('give the same bytes however they arrive', async () => {
    const body = framed(['hello ', 'x'.repeat(300), 'y']);
    const whole = `hello ${'x'.repeat(300)}y`;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(), { maxLength: 30 }), async (places) => {
        expect(await read(signed(whole.length), body, places)).toBe(whole);
      }),
    );
    expect(await read(signed(0), framed([]))).toBe('');
  });

  it('carry checksums behind the last chunk', async () => {
    const sum = newChecksum('crc32c');
    sum.update(Buffer.from('hello'));
    const value = sum.digest().toString('base64');
    const name = 'x-amz-checksum-crc32c';
    const body = (text: string): string => framed(['hello'], '', text);
    expect(await read(trailing(5, name), body(`${name}:${value}\r\n`))).toBe('hello');
    expect(await refusal(trailing(5, name), body(`${name}:AAAAAA==\r\n`))).toBe('BadDigest');
    expect(await refusal(trailing(5, name), body(''))).toBe('MalformedTrailerError');
    expect(await refusal(trailing(5, name), body('no colon\r\n'))).toBe('MalformedTrailerError');
  });

  it('are refused unless they are whole', async () => {
    const body = framed(['hello']);
    for (let length = 0; length < body.length - 4; length += 1) {
      expect(await refusal(signed(5), body.slice(0, length))).toBe('IncompleteBody');
    }
    expect(await refusal(signed(6), body)).toBe('IncompleteBody');
    expect(await refusal(signed(5), `${body}more\r\n`)).toBe('InvalidRequest');
    expect(await refusal(signed(5), framed(['hello'], ''))).toBe('InvalidRequest');
    expect(await refusal(signed(5), body.replace('hello\r', 'hello!\r'))).toBe('InvalidRequest');
    expect(await refusal(signed(5), `zz${SIGNATURE}\r\n`)).toBe('InvalidRequest');
    expect(await refusal(signed(5), 'f'.repeat(9000))).toBe('InvalidRequest');
    const { 'x-amz-decoded-content-length': _length, ...headers } = signed(5);
    expect(await refusal(headers, body)).toBe('MissingContentLength');
  });
});
