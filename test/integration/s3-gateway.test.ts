/** The S3 gateway as the AWS SDK uses it: buckets, objects, listings. */
import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  CopyObjectCommand,
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetBucketLocationCommand,
  GetBucketVersioningCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  paginateListObjectsV2,
  PutObjectCommand,
  type S3Client,
} from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytesOf, refusal, repoOf, startS3Gateway, type S3Gateway } from '../support/s3-gateway.js';

let gateway: S3Gateway;
let s3: S3Client;

beforeAll(async () => {
  gateway = await startS3Gateway();
  s3 = gateway.client;
});
afterAll(() => gateway[Symbol.asyncDispose]());

describe('buckets', () => {
  it('are branches of repos: made, listed, found, removed', async () => {
    const name = await gateway.bucket();
    await s3.send(new CreateBucketCommand({ Bucket: `dev.${repoOf(name)}` }));
    const { Buckets } = await s3.send(new ListBucketsCommand({}));
    const names = (Buckets ?? []).map(({ Name }) => Name);
    expect(names).toContain(name);
    expect(names).toContain(`dev.${repoOf(name)}`);
    expect(names).not.toContain('master.__spec__');
    for (const Bucket of [name, repoOf(name), `dev.${repoOf(name)}`]) {
      await s3.send(new HeadBucketCommand({ Bucket }));
      expect(await gateway.keys(Bucket)).toEqual([]);
    }
    await s3.send(new DeleteBucketCommand({ Bucket: `dev.${repoOf(name)}` }));
    await s3.send(new HeadBucketCommand({ Bucket: name }));
    await s3.send(new DeleteBucketCommand({ Bucket: name }));
    expect(await refusal(s3.send(new HeadBucketCommand({ Bucket: name })))).toEqual([
      'NotFound',
      404,
    ]);
  });

  it('show a repo that PFS made before it has a branch', async () => {
    await gateway.stack.client.createRepo('bare');
    const { Buckets } = await s3.send(new ListBucketsCommand({}));
    expect((Buckets ?? []).map(({ Name }) => Name)).toContain('master.bare');
    await gateway.put('bare', 'first');
    expect(await gateway.get('master.bare', 'first')).toBe('first');
  });

  it('say where they are and that they are versioned', async () => {
    const Bucket = await gateway.bucket();
    const { LocationConstraint } = await s3.send(new GetBucketLocationCommand({ Bucket }));
    expect(LocationConstraint ?? '').toBe('');
    const { Status } = await s3.send(new GetBucketVersioningCommand({ Bucket }));
    expect(Status).toBe('Enabled');
  });

  it('are refused with the names S3 has for it', async () => {
    const Bucket = await gateway.bucket();
    const make = (name: string): Promise<unknown> =>
      s3.send(new CreateBucketCommand({ Bucket: name }));
    expect(await refusal(make(Bucket))).toEqual(['BucketAlreadyOwnedByYou', 409]);
    expect(await refusal(make('a.b.c'))).toEqual(['InvalidBucketName', 400]);
    expect(await refusal(make('no spaces'))).toEqual(['InvalidBucketName', 400]);
    expect(await refusal(gateway.keys('nowhere'))).toEqual(['NoSuchBucket', 404]);
    expect(await refusal(gateway.keys(`nobranch.${repoOf(Bucket)}`))).toEqual([
      'NoSuchBucket',
      404,
    ]);
    expect(await refusal(gateway.put('nowhere', 'x'))).toEqual(['NoSuchBucket', 404]);
    expect(await refusal(gateway.put(`nobranch.${repoOf(Bucket)}`, 'x'))).toEqual([
      'NoSuchBucket',
      404,
    ]);
    await gateway.put(Bucket, 'x');
    const remove = s3.send(new DeleteBucketCommand({ Bucket }));
    expect(await refusal(remove)).toEqual(['BucketNotEmpty', 409]);
  });
});

describe('objects', () => {
  it('are written as one commit each and read back', async () => {
    const Bucket = await gateway.bucket();
    const version = await gateway.put(Bucket, 'dir/a.txt', 'hello');
    expect(version).toMatch(/^[0-9a-f]{32}$/);
    const output = await s3.send(new GetObjectCommand({ Bucket, Key: 'dir/a.txt' }));
    expect((await bytesOf(output)).toString()).toBe('hello');
    expect(output).toMatchObject({
      ContentLength: 5,
      ContentType: 'text/plain; charset=utf-8',
      VersionId: version,
      AcceptRanges: 'bytes',
    });
    const hash = createHash('sha256').update('hello').digest('hex');
    expect(output.ETag).toBe(`"${hash}-1"`);
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'dir/a.txt' }));
    expect(head.ETag).toBe(output.ETag);
    expect(head.LastModified).toEqual(output.LastModified);
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toEqual([version]);
    await gateway.put(Bucket, 'dir/a.txt', 'other');
    expect(await gateway.get(Bucket, 'dir/a.txt')).toBe('other');
    await gateway.put(Bucket, 'empty', '');
    expect(await gateway.get(Bucket, 'empty')).toBe('');
  });

  it('keep names that need escaping', async () => {
    const Bucket = await gateway.bucket();
    const keys = ['a b', 'a%20b', 'x&y=z', "it's, <ok>", 'tilde~#;|'];
    for (const key of keys) await gateway.put(Bucket, key);
    expect(await gateway.keys(Bucket)).toEqual([...keys].sort());
    expect(await gateway.keys(Bucket, { EncodingType: 'url' })).toHaveLength(keys.length);
    for (const key of keys) expect(await gateway.get(Bucket, key)).toBe(key);
  });

  it('are streamed, whatever their size', async () => {
    const Bucket = await gateway.bucket();
    const bytes = randomBytes(20_000_000);
    // A stream of known length is sent in signed chunks with a checksum at the end.
    const Body = Readable.from([bytes.subarray(0, 7_000_001), bytes.subarray(7_000_001)]);
    const command = { Bucket, Key: 'large', Body, ContentLength: bytes.length };
    const { ETag } = await s3.send(new PutObjectCommand(command));
    const output = await s3.send(new GetObjectCommand({ Bucket, Key: 'large' }));
    expect((await bytesOf(output)).equals(bytes)).toBe(true);
    const again = await s3.send(new PutObjectCommand({ Bucket, Key: 'again', Body: bytes }));
    expect(again.ETag).toBe(ETag);
    const Range = 'bytes=9999990-12000009';
    const part = await s3.send(new GetObjectCommand({ Bucket, Key: 'large', Range }));
    expect(part.ContentRange).toBe('bytes 9999990-12000009/20000000');
    expect((await bytesOf(part)).equals(bytes.subarray(9_999_990, 12_000_010))).toBe(true);
  });

  it('are read in ranges', async () => {
    const Bucket = await gateway.bucket();
    await gateway.put(Bucket, 'k', '0123456789');
    expect(await gateway.get(Bucket, 'k', { Range: 'bytes=2-4' })).toBe('234');
    expect(await gateway.get(Bucket, 'k', { Range: 'bytes=7-' })).toBe('789');
    expect(await gateway.get(Bucket, 'k', { Range: 'bytes=-3' })).toBe('789');
    expect(await gateway.get(Bucket, 'k', { Range: 'bytes=8-99' })).toBe('89');
    expect(await refusal(gateway.get(Bucket, 'k', { Range: 'bytes=10-' }))).toEqual([
      'InvalidRange',
      416,
    ]);
  });

  it('are read under conditions', async () => {
    const Bucket = await gateway.bucket();
    await gateway.put(Bucket, 'k', 'v');
    const { ETag, LastModified } = await s3.send(new HeadObjectCommand({ Bucket, Key: 'k' }));
    const past = new Date((LastModified?.getTime() ?? 0) - 60_000);
    expect(await gateway.get(Bucket, 'k', { IfMatch: ETag })).toBe('v');
    expect(await gateway.get(Bucket, 'k', { IfModifiedSince: past })).toBe('v');
    const status = async (more: object): Promise<number | undefined> =>
      (await refusal(gateway.get(Bucket, 'k', more)))[1];
    expect(await status({ IfMatch: '"no"' })).toBe(412);
    expect(await status({ IfNoneMatch: ETag })).toBe(304);
    expect(await status({ IfModifiedSince: LastModified })).toBe(304);
    expect(await status({ IfUnmodifiedSince: past })).toBe(412);
  });

  it('are written under conditions, also when many try at once', async () => {
    const Bucket = await gateway.bucket();
    const create = (Body: string): Promise<unknown> =>
      s3.send(new PutObjectCommand({ Bucket, Key: 'lock', Body, IfNoneMatch: '*' }));
    const tries = await Promise.all(['1', '2', '3', '4'].map((who) => refusal(create(who))));
    expect(tries.filter(([name]) => name === 'nothing')).toHaveLength(1);
    expect(tries.filter(([name]) => name === 'PreconditionFailed')).toHaveLength(3);
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toHaveLength(1);
  });

  it('are checked against the digests that come with them', async () => {
    const Bucket = await gateway.bucket();
    const putWith = (more: object): Promise<unknown> =>
      s3.send(new PutObjectCommand({ Bucket, Key: 'k', Body: 'abc', ...more }));
    const wrong = createHash('md5').update('other').digest('base64');
    const right = createHash('md5').update('abc').digest('base64');
    expect(await refusal(putWith({ ContentMD5: wrong }))).toEqual(['BadDigest', 400]);
    expect(await refusal(putWith({ ContentMD5: 'nonsense' }))).toEqual(['InvalidDigest', 400]);
    expect(await refusal(putWith({ ChecksumSHA256: 'A'.repeat(43) + '=' }))).toEqual([
      'BadDigest',
      400,
    ]);
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toEqual([]);
    await putWith({ ContentMD5: right });
    for (const algorithm of ['CRC32', 'CRC32C', 'SHA1', 'SHA256'] as const) {
      await putWith({ ChecksumAlgorithm: algorithm });
    }
    expect(await gateway.get(Bucket, 'k')).toBe('abc');
  });

  it('do not replace directories, and no directory replaces them', async () => {
    const Bucket = await gateway.bucket();
    await gateway.put(Bucket, 'dir/a');
    await gateway.put(Bucket, 'file');
    expect(await refusal(gateway.put(Bucket, 'dir'))).toEqual(['InvalidFilePath', 400]);
    expect(await refusal(gateway.put(Bucket, 'file/below'))).toEqual(['InvalidFileParent', 400]);
    expect(await gateway.keys(Bucket)).toEqual(['dir/a', 'file']);
    for (const key of ['a//b', '../up', './x', 'star*', 'ümlaut', 'q?']) {
      expect(await refusal(gateway.raw('PUT', `/${Bucket}/${encodeURIComponent(key)}`))).toEqual([
        'InvalidFilePath',
        400,
      ]);
    }
    expect(await refusal(gateway.get(Bucket, 'dir'))).toEqual(['NoSuchKey', 404]);
    expect(await refusal(gateway.get(Bucket, 'a//b'))).toEqual(['NoSuchKey', 404]);
  });

  it('may be empty directories', async () => {
    const Bucket = await gateway.bucket();
    await gateway.put(Bucket, 'd/', '');
    expect(await gateway.keys(Bucket)).toEqual(['d/']);
    const head = await s3.send(new HeadObjectCommand({ Bucket, Key: 'd/' }));
    expect(head).toMatchObject({ ContentLength: 0, ContentType: 'application/x-directory' });
    expect(await refusal(gateway.put(Bucket, 'e/', 'bytes'))).toEqual(['InvalidFilePath', 400]);
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'd/' }));
    expect(await gateway.keys(Bucket)).toEqual([]);
  });

  it('are deleted one by one and many at once, and prefixes go with their last key', async () => {
    const Bucket = await gateway.bucket();
    await gateway.putAll(Bucket, ['a/b/c', 'a/b/d', 'e', 'f']);
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'e' }));
    const commits = (await gateway.stack.client.commits(repoOf(Bucket))).length;
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'e' }));
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toHaveLength(commits);
    const Objects = ['a/b/c', 'a/b/d', 'not there'].map((Key) => ({ Key }));
    const answer = await s3.send(new DeleteObjectsCommand({ Bucket, Delete: { Objects } }));
    expect(answer.Deleted).toHaveLength(3);
    expect(await gateway.stack.client.commits(repoOf(Bucket))).toHaveLength(commits + 1);
    expect(await gateway.keys(Bucket)).toEqual(['f']);
    const { CommonPrefixes } = await s3.send(new ListObjectsV2Command({ Bucket, Delimiter: '/' }));
    expect(CommonPrefixes).toBeUndefined();
  });

  it('are copied by reference', async () => {
    const Bucket = await gateway.bucket();
    const version = await gateway.put(Bucket, 'src dir/a b', 'one');
    await gateway.put(Bucket, 'src dir/a b', 'two');
    const CopySource = `${Bucket}/${encodeURIComponent('src dir')}/a%20b`;
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'new', CopySource }));
    expect(await gateway.get(Bucket, 'new')).toBe('two');
    const old = `${CopySource}?versionId=${version}`;
    await s3.send(new CopyObjectCommand({ Bucket, Key: 'old', CopySource: old }));
    expect(await gateway.get(Bucket, 'old')).toBe('one');
    const copy = (more: object): Promise<unknown> =>
      s3.send(new CopyObjectCommand({ Bucket, Key: 'new', CopySource, ...more }));
    expect(await refusal(copy({ CopySource: `${Bucket}/none` }))).toEqual(['NoSuchKey', 404]);
    expect(await refusal(copy({ CopySource: `${Bucket}/new` }))).toEqual(['InvalidRequest', 400]);
    expect(await refusal(copy({ CopySourceIfMatch: '"no"' }))).toEqual(['PreconditionFailed', 412]);
  });
});

describe('listings', () => {
  const KEYS = ['a-/x', 'a-b', 'a.txt', 'a/1', 'a/b/2', 'a0', 'b/c/d', 'b/c/e', 'z'];

  it('are in the order of S3, page by page', async () => {
    const Bucket = await gateway.bucket();
    await gateway.putAll(Bucket, KEYS);
    expect(await gateway.keys(Bucket)).toEqual(KEYS);
    for (const pageSize of [1, 2, 4]) {
      const keys: string[] = [];
      for await (const page of paginateListObjectsV2({ client: s3, pageSize }, { Bucket })) {
        expect(page.Contents?.length ?? 0).toBeLessThanOrEqual(pageSize);
        keys.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ''));
      }
      expect(keys).toEqual(KEYS);
    }
    for (const StartAfter of [...KEYS, 'a', 'a-', 'a/', 'a/b', 'a0/', 'b/c', 'nothing']) {
      const behind = KEYS.filter((key) => key > StartAfter);
      expect(await gateway.keys(Bucket, { StartAfter })).toEqual(behind);
      const { Contents } = await s3.send(new ListObjectsCommand({ Bucket, Marker: StartAfter }));
      expect((Contents ?? []).map(({ Key }) => Key)).toEqual(behind);
    }
    for (const Prefix of ['a', 'a-', 'a/', 'a/b', 'b/c/', 'b/c/d', 'q', '/']) {
      expect(await gateway.keys(Bucket, { Prefix })).toEqual(
        KEYS.filter((key) => key.startsWith(Prefix)),
      );
    }
  });

  it('roll up at a delimiter', async () => {
    const Bucket = await gateway.bucket();
    await gateway.putAll(Bucket, KEYS);
    const list = async (more: object): Promise<[string[], string[]]> => {
      const command = new ListObjectsV2Command({ Bucket, Delimiter: '/', ...more });
      const { Contents, CommonPrefixes } = await s3.send(command);
      return [
        (Contents ?? []).map(({ Key }) => Key ?? ''),
        (CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ''),
      ];
    };
    expect(await list({})).toEqual([
      ['a-b', 'a.txt', 'a0', 'z'],
      ['a-/', 'a/', 'b/'],
    ]);
    expect(await list({ Prefix: 'a/' })).toEqual([['a/1'], ['a/b/']]);
    expect(await list({ Prefix: 'b/c' })).toEqual([[], ['b/c/']]);
    expect(await list({ StartAfter: 'a/' })).toEqual([['a0', 'z'], ['b/']]);
    expect(await list({ StartAfter: 'a/1' })).toEqual([
      ['a0', 'z'],
      ['a/', 'b/'],
    ]);
    expect(await list({ Delimiter: '-' })).toEqual([KEYS.slice(2), ['a-']]);
    const seen: string[] = [];
    const all = { Bucket, Delimiter: '/' };
    for await (const page of paginateListObjectsV2({ client: s3, pageSize: 1 }, all)) {
      seen.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ''));
      seen.push(...(page.CommonPrefixes ?? []).map(({ Prefix }) => Prefix ?? ''));
    }
    expect(seen).toEqual(['a-/', 'a-b', 'a.txt', 'a/', 'a0', 'b/', 'z']);
  });

  it('of many pages show one moment', async () => {
    const Bucket = await gateway.bucket();
    await gateway.putAll(Bucket, ['a', 'b', 'c']);
    const first = await s3.send(new ListObjectsV2Command({ Bucket, MaxKeys: 1 }));
    await s3.send(new DeleteObjectCommand({ Bucket, Key: 'b' }));
    const ContinuationToken = first.NextContinuationToken;
    expect(await gateway.keys(Bucket, { ContinuationToken })).toEqual(['b', 'c']);
    expect(await refusal(gateway.keys(Bucket, { ContinuationToken: 'nonsense' }))).toEqual([
      'InvalidArgument',
      400,
    ]);
    expect(await refusal(gateway.keys(Bucket, { MaxKeys: -1 }))).toEqual(['InvalidArgument', 400]);
    expect(await gateway.keys(Bucket, { MaxKeys: 0 })).toEqual([]);
  });
});
