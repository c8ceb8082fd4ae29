/** The S3 gateway: versions, uploads in parts, requests that no SDK would send, open commits. */
import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { Readable } from 'node:stream';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CopyObjectCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListMultipartUploadsCommand,
  ListObjectVersionsCommand,
  ListPartsCommand,
  PutObjectCommand,
  UploadPartCommand,
  UploadPartCopyCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytesOf, refusal, repoOf, startS3Gateway, type S3Gateway } from '../support/s3-gateway.js';

let gateway: S3Gateway;
let s3: S3Client;

beforeAll(async () => {
  gateway = await startS3Gateway();
  s3 = gateway.client;
});
afterAll(() => gateway[Symbol.asyncDispose]());

describe('versions', () => {
  it('are commits', async () => {
    const Bucket = await gateway.bucket();
    const one = await gateway.put(Bucket, 'k', '1');
    const two = await gateway.put(Bucket, 'other', 'x');
    const three = await gateway.put(Bucket, 'k', '2');
    expect(await gateway.get(Bucket, 'k', { VersionId: one })).toBe('1');
    expect(await gateway.get(Bucket, 'k', { VersionId: two })).toBe('1');
    expect(await gateway.get(Bucket, 'k', { VersionId: 'master^' })).toBe('1');
    expect(await gateway.get(Bucket, 'k')).toBe('2');
    expect(await gateway.get(`${one}.${repoOf(Bucket)}`, 'k')).toBe('1');
    const missing = 'f'.repeat(12) + '4' + 'f'.repeat(19);
    expect(await refusal(gateway.get(Bucket, 'k', { VersionId: missing }))).toEqual([
      'NoSuchVersion',
      404,
    ]);
    expect(await refusal(gateway.get(Bucket, 'other', { VersionId: one }))).toEqual([
      'NoSuchKey',
      404,
    ]);
    const write = gateway.put(`${one}.${repoOf(Bucket)}`, 'k');
    expect(await refusal(write)).toEqual(['NotImplemented', 501]);
    const remove = s3.send(new DeleteObjectCommand({ Bucket, Key: 'k', VersionId: one }));
    expect(await refusal(remove)).toEqual(['NotImplemented', 501]);

    const list = await s3.send(new ListObjectVersionsCommand({ Bucket }));
    expect(
      list.Versions?.map(({ Key, VersionId, IsLatest }) => [Key, VersionId, IsLatest]),
    ).toEqual([
      ['k', three, true],
      ['k', one, false],
      ['other', two, true],
    ]);
    const page = await s3.send(new ListObjectVersionsCommand({ Bucket, MaxKeys: 1 }));
    expect(page).toMatchObject({
      IsTruncated: true,
      NextKeyMarker: 'k',
      NextVersionIdMarker: three,
    });
    const rest = { Bucket, KeyMarker: 'k', VersionIdMarker: three };
    const second = await s3.send(new ListObjectVersionsCommand(rest));
    expect(second.Versions?.map(({ VersionId }) => VersionId)).toEqual([one, two]);
  });
});

describe('uploads in parts', () => {
  const PART = 5 * 1024 * 1024;

  it('become one commit with the same content as one put', async () => {
    const Bucket = await gateway.bucket();
    const bytes = randomBytes(3 * PART + 1234);
    const upload = new Upload({
      client: s3,
      params: { Bucket, Key: 'dir/large', Body: Readable.from(chunksOf(bytes)) },
      partSize: PART,
      queueSize: 3,
    });
    await upload.done();
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toHaveLength(1);
    const output = await s3.send(new GetObjectCommand({ Bucket, Key: 'dir/large' }));
    expect((await bytesOf(output)).equals(bytes)).toBe(true);
    const whole = await s3.send(new PutObjectCommand({ Bucket, Key: 'whole', Body: bytes }));
    expect(whole.ETag).toBe(output.ETag);
  });

  it('can be listed, replaced, copied into, completed twice and aborted', async () => {
    const Bucket = await gateway.bucket();
    const Key = 'k';
    const first = randomBytes(PART);
    await gateway.put(Bucket, 'src', Buffer.concat([first, Buffer.from('tail')]));
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key }));
    const part = async (PartNumber: number, Body: Buffer | string): Promise<string> => {
      const command = { Bucket, Key, UploadId, PartNumber, Body };
      return (await s3.send(new UploadPartCommand(command))).ETag ?? '';
    };
    await part(2, 'wrong');
    const two = await part(2, 'right');
    const copied = await s3.send(
      new UploadPartCopyCommand({
        ...{ Bucket, Key, UploadId, PartNumber: 1, CopySource: `${Bucket}/src` },
        CopySourceRange: `bytes=0-${PART - 1}`,
      }),
    );
    const list = await s3.send(new ListPartsCommand({ Bucket, Key, UploadId }));
    expect(list.Parts?.map(({ PartNumber, Size }) => [PartNumber, Size])).toEqual([
      [1, PART],
      [2, 5],
    ]);
    const page = await s3.send(new ListPartsCommand({ Bucket, Key, UploadId, MaxParts: 1 }));
    expect(page).toMatchObject({ IsTruncated: true, NextPartNumberMarker: '1' });
    const uploads = await s3.send(new ListMultipartUploadsCommand({ Bucket }));
    expect(uploads.Uploads?.map((each) => [each.Key, each.UploadId])).toEqual([[Key, UploadId]]);

    const complete = async (Parts: object[]): Promise<unknown> =>
      s3.send(
        new CompleteMultipartUploadCommand({ Bucket, Key, UploadId, MultipartUpload: { Parts } }),
      );
    const parts = [
      { PartNumber: 1, ETag: copied.CopyPartResult?.ETag },
      { PartNumber: 2, ETag: two },
    ];
    const before = (await gateway.stack.client.commits(repoOf(Bucket))).length;
    expect(await refusal(complete([...parts].reverse()))).toEqual(['InvalidPartOrder', 400]);
    expect(await refusal(complete([{ PartNumber: 1, ETag: '"x"' }]))).toEqual(['InvalidPart', 400]);
    const small = [
      { PartNumber: 2, ETag: two },
      { PartNumber: 3, ETag: await part(3, 'x') },
    ];
    expect(await refusal(complete(small))).toEqual(['EntityTooSmall', 400]);
    const answers = [await complete(parts), await complete(parts)] as { ETag: string }[];
    expect(answers[0]?.ETag).toBe(answers[1]?.ETag);
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toHaveLength(before + 1);
    expect(await gateway.get(Bucket, Key, { Range: `bytes=${PART}-` })).toBe('right');
    expect(await refusal(part(4, 'late'))).toEqual(['NoSuchUpload', 404]);

    const other = await s3.send(new CreateMultipartUploadCommand({ Bucket, Key: 'gone' }));
    const abort = new AbortMultipartUploadCommand({
      Bucket,
      Key: 'gone',
      UploadId: other.UploadId,
    });
    await s3.send(abort);
    expect(await refusal(s3.send(abort))).toEqual(['NoSuchUpload', 404]);
    const left = await s3.send(new ListMultipartUploadsCommand({ Bucket }));
    expect(left.Uploads ?? []).toEqual([]);
    expect(await gateway.keys(Bucket)).toEqual(['k', 'src']);
  });
});

function* chunksOf(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 1_000_000) yield bytes.subarray(at, at + 1_000_000);
}

describe('requests', () => {
  const CREDENTIAL = 'key/20260101/us-east-1/s3/aws4_request';
  const signed = (authorization: string): Record<string, string> => ({
    authorization,
    'x-amz-date': '20260101T000000Z',
  });

  it('may be signed by anybody, but not wrongly', async () => {
    const Bucket = await gateway.bucket();
    const good = `AWS4-HMAC-SHA256 Credential=${CREDENTIAL}, SignedHeaders=host;x-amz-date, Signature=${'a'.repeat(64)}`;
    await gateway.raw('GET', `/${Bucket}`, signed(good));
    await gateway.raw('GET', `/${Bucket}`);
    await gateway.raw('GET', `/${Bucket}`, { authorization: 'AWS key:c2lnbmF0dXJl' });
    const bad = ['AuthorizationHeaderMalformed', 400];
    for (const [from, to] of [
      ['Signature=', 'Sig='],
      [CREDENTIAL, 'key/us-east-1/s3/aws4_request'],
      ['/s3/', '/ec2/'],
      ['aaaa', 'zzzz'],
      ['host;', ''],
    ] as const) {
      expect(
        await refusal(gateway.raw('GET', `/${Bucket}`, signed(good.replace(from, to)))),
      ).toEqual(bad);
    }
    expect(await refusal(gateway.raw('GET', `/${Bucket}`, { authorization: good }))).toEqual([
      'AccessDenied',
      403,
    ]);
    expect(await refusal(gateway.raw('GET', `/${Bucket}`, { authorization: 'Basic abc' }))).toEqual(
      ['InvalidArgument', 400],
    );
  });

  it('may be signed in the query until they expire', async () => {
    const Bucket = await gateway.bucket();
    await gateway.put(Bucket, 'k', 'v');
    const url = (date: string): string =>
      `/${Bucket}/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=${encodeURIComponent(CREDENTIAL)}` +
      `&X-Amz-Date=${date}&X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature=${'0'.repeat(64)}`;
    const now = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    await gateway.raw('GET', url(now));
    expect(await refusal(gateway.raw('GET', url('20200101T000000Z')))).toEqual([
      'AccessDenied',
      403,
    ]);
    expect(await refusal(gateway.raw('GET', url('yesterday')))).toEqual([
      'AuthorizationQueryParametersError',
      400,
    ]);
  });

  it('that make no sense are refused, and settle nothing', async () => {
    const Bucket = await gateway.bucket();
    expect(await refusal(gateway.raw('PATCH', `/${Bucket}/k`))).toEqual(['MethodNotAllowed', 405]);
    expect(await refusal(gateway.raw('GET', `/${Bucket}/%ff`))).toEqual(['InvalidURI', 400]);
    expect(await refusal(gateway.raw('GET', `/${Bucket}?cors`))).toEqual([
      'NoSuchCORSConfiguration',
      404,
    ]);
    expect(await refusal(gateway.raw('PUT', `/${Bucket}?cors`, {}, '<x/>'))).toEqual([
      'NotImplemented',
      501,
    ]);
    expect(await refusal(gateway.raw('POST', `/${Bucket}?delete`, {}, '<Delete><Object>'))).toEqual(
      ['MalformedXML', 400],
    );
    const bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete>&a;</Delete>';
    expect(await refusal(gateway.raw('POST', `/${Bucket}?delete`, {}, bomb))).toEqual([
      'MalformedXML',
      400,
    ]);
    expect(await refusal(gateway.raw('PUT', `/${Bucket}/${'k'.repeat(1025)}`, {}, 'v'))).toEqual([
      'KeyTooLongError',
      400,
    ]);
    const chunked = {
      'x-amz-content-sha256': 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
      'x-amz-decoded-content-length': '5',
    };
    const unsigned = '5\r\nhello\r\n0\r\n\r\n';
    expect(await refusal(gateway.raw('PUT', `/${Bucket}/k`, chunked, unsigned))).toEqual([
      'InvalidRequest',
      400,
    ]);
    const signature = `;chunk-signature=${'a'.repeat(64)}`;
    const cut = `5${signature}\r\nhello\r\n`;
    expect(await refusal(gateway.raw('PUT', `/${Bucket}/k`, chunked, cut))).toEqual([
      'IncompleteBody',
      400,
    ]);
    await gateway.raw('PUT', `/${Bucket}/k`, chunked, `${cut}0${signature}\r\n\r\n`);
    expect(await gateway.get(Bucket, 'k')).toBe('hello');
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toHaveLength(1);
  });

  it('that break off store nothing', async () => {
    const Bucket = await gateway.bucket();
    const { port } = gateway;
    for (const head of ['content-length: 100000', 'transfer-encoding: chunked']) {
      const socket = connect(Number(port), '127.0.0.1');
      const body = head.startsWith('content')
        ? 'x'.repeat(5000)
        : `1388\r\n${'x'.repeat(5000)}\r\n`;
      socket.write(`PUT /${Bucket}/cut HTTP/1.1\r\nhost: x\r\n${head}\r\n\r\n${body}`);
      await new Promise((resolve) => setTimeout(resolve, 200));
      socket.destroy();
    }
    const abort = new AbortController();
    const Body = Readable.from(
      (async function* () {
        yield Buffer.alloc(3_000_000);
        abort.abort();
        await new Promise(() => undefined);
      })(),
    );
    const upload = s3.send(
      new PutObjectCommand({ Bucket, Key: 'cut', Body, ContentLength: 9_000_000 }),
      { abortSignal: abort.signal },
    );
    expect((await refusal(upload))[0]).toBe('AbortError');
    await gateway.put(Bucket, 'after');
    expect(await gateway.keys(Bucket)).toEqual(['after']);
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toHaveLength(1);
  });

  it('may name the bucket in the host', async () => {
    const Bucket = await gateway.bucket();
    await gateway.put(Bucket, 'k', 'v');
    const { port } = gateway;
    const answer = await new Promise<string>((resolve) => {
      const socket = connect(Number(port), '127.0.0.1');
      socket.write(
        `GET /k HTTP/1.1\r\nhost: ${Bucket}.localhost:${port}\r\nconnection: close\r\n\r\n`,
      );
      let text = '';
      socket.on('data', (part) => (text += part.toString()));
      socket.on('close', () => resolve(text));
    });
    expect(answer).toMatch(/^HTTP\/1.1 200 [\s\S]*\r\n\r\nv$/);
  });
});

describe('branches with commits under way', () => {
  it('writes go into an open commit and are read from it', async () => {
    const Bucket = await gateway.bucket();
    const repo = repoOf(Bucket);
    const { stdout } = await gateway.stack.tusk(['start', 'commit', `${repo}@master`]);
    const version = await gateway.put(Bucket, 'k', 'v');
    expect(version).toBe(stdout.trim());
    expect(await gateway.get(Bucket, 'k')).toBe('v');
    expect(await gateway.keys(Bucket)).toEqual(['k']);
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'k' }));
    await gateway.put(Bucket, 'l', 'w');
    await gateway.stack.tusk(['finish', 'commit', `${repo}@master`]);
    expect(await gateway.keys(Bucket)).toEqual(['l']);
    expect(await gateway.stack.client.commits(repo)).toEqual([version]);
  });

  it('outputs of pipelines are read-only and empty until a job has finished', async () => {
    const Bucket = await gateway.bucket();
    const repo = repoOf(Bucket);
    const spec = {
      pipeline: { name: `${repo}-out` },
      transform: { cmd: ['true'] },
      input: { pfs: { repo, glob: '/*' } },
    };
    await gateway.stack.tusk(['create', 'pipeline', '-f', '-'], { input: JSON.stringify(spec) });
    await gateway.put(Bucket, 'k');
    expect(await gateway.keys(`${repo}-out`)).toEqual([]);
    expect(await refusal(gateway.put(`${repo}-out`, 'x'))).toEqual(['WriteToOutputBranch', 400]);
    const remove = s3.send(new DeleteObjectCommand({ Bucket: `${repo}-out`, Key: 'x' }));
    expect(await refusal(remove)).toEqual(['WriteToOutputBranch', 400]);
  });
});

describe('files with headers', () => {
  it('are read and copied whole', async () => {
    const Bucket = await gateway.bucket();
    const split = ['put', 'file', `${repoOf(Bucket)}@master:t`, '--split', 'line'];
    const input = 'head\none\ntwo\n';
    await gateway.stack.tusk([...split, '--header-records', '1', '-f', '-'], { input });
    const keys = await gateway.keys(Bucket);
    expect(keys).toHaveLength(2);
    expect(await gateway.get(Bucket, keys[1] ?? '')).toBe('head\ntwo\n');
    expect(await gateway.get(Bucket, keys[1] ?? '', { Range: 'bytes=3-6' })).toBe('d\ntw');
    const CopySource = `${Bucket}/${keys[1]}`;
    const copy = await s3.send(new CopyObjectCommand({ Bucket, Key: 'copy', CopySource }));
    const whole = { Bucket, Key: 'whole', Body: 'head\ntwo\n' };
    const { ETag } = await s3.send(new PutObjectCommand(whole));
    expect(await gateway.get(Bucket, 'copy')).toBe('head\ntwo\n');
    expect((await s3.send(new HeadObjectCommand({ Bucket, Key: 'copy' }))).ETag).toBe(ETag);
    expect(copy.CopyObjectResult?.ETag).toBeDefined();
  });
});
