/** Pipelines that read and write through S3, with the AWS SDK in the place of user code. */
import {
  AbortMultipartUploadCommand,
  CopyObjectCommand,
  CreateBucketCommand,
  CreateMultipartUploadCommand,
  DeleteBucketCommand,
  DeleteObjectCommand,
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadBucketCommand,
  HeadObjectCommand,
  ListBucketsCommand,
  ListObjectsCommand,
  ListObjectsV2Command,
  ListPartsCommand,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
  UploadPartCopyCommand,
  CompleteMultipartUploadCommand,
} from '@aws-sdk/client-s3';
import { Upload } from '@aws-sdk/lib-storage';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CreatePipelineRequest, JobState } from '../../proto/generated/pps.js';
import { DatumDoor, type HeldDatum } from '../support/datum-door.js';
import { freePort } from '../support/free-port.js';
import { startStack, type Stack } from '../support/stack.js';

let stack: Stack;
let door: DatumDoor;

beforeAll(async () => {
  [stack, door] = await Promise.all([startStack({ workers: 1, slots: 2 }), DatumDoor.open()]);
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/a': 'first', '/d/b': 'deep', '/d/c': 'deeper', '/e': '' });
  await stack.client.createRepo('side');
  await stack.client.put('side', { '/1': 'one', '/2': 'two' });
});
afterAll(async () => {
  await door[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
});

const s3in = { pfs: { repo: 'in', name: 'data', glob: '/', s3: true } };

async function create(name: string, more: object): Promise<void> {
  const request = { pipeline: { name }, transform: { cmd: door.cmd }, ...more };
  await stack.client.createPipeline(CreatePipelineRequest.fromPartial(request));
}

const remove = (name: string) => stack.tusk(['delete', 'pipeline', name]);

const sh = (...stdin: string[]) => ({ transform: { cmd: ['sh'], stdin: ['set -e', ...stdin] } });

function clientOf({ env }: HeldDatum): S3Client {
  return new S3Client({
    endpoint: env['S3_ENDPOINT'] ?? 'http://none',
    region: 'anywhere',
    credentials: { accessKeyId: 'any', secretAccessKey: 'thing' },
    maxAttempts: 1,
  });
}

/** The S3 code of what a request is refused with. */
async function refusal(sent: Promise<unknown>): Promise<string> {
  const error = await sent.then(
    () => new Error('it was not refused'),
    (reason: unknown) => reason as Error,
  );
  return error.name;
}

const read = async (s3: S3Client, Bucket: string, Key: string, more = {}): Promise<string> => {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key, ...more }));
  return (await Body?.transformToString()) ?? '';
};

describe('an input with s3', () => {
  it('is a read-only bucket of its commit, for as long as the datum runs', async () => {
    await stack.client.createRepo('book');
    await stack.client.put('book', { '/a': 'first', '/d/b': 'deep', '/d/c': 'deeper', '/e': '' });
    await create('reader', { input: { pfs: { ...s3in.pfs, repo: 'book' } } });
    const datum = await door.next('reader');
    const s3 = clientOf(datum);
    const commit = await stack.client.commits('book');
    expect(datum.env['data']).toBeUndefined();
    expect(datum.env['data_COMMIT']).toBe(commit[0]);

    const { Buckets } = await s3.send(new ListBucketsCommand({}));
    expect(Buckets?.map(({ Name }) => Name)).toEqual(['data']);
    await s3.send(new HeadBucketCommand({ Bucket: 'data' }));
    expect(await read(s3, 'data', 'a')).toBe('first');
    expect(await read(s3, 'data', 'e')).toBe('');
    expect(await read(s3, 'data', 'd/c', { Range: 'bytes=2-4' })).toBe('epe');
    const head = await s3.send(new HeadObjectCommand({ Bucket: 'data', Key: 'd/b' }));
    expect(head).toMatchObject({ ContentLength: 4 });

    const v1 = await s3.send(new ListObjectsCommand({ Bucket: 'data', Delimiter: '/' }));
    expect(v1.Contents?.map(({ Key }) => Key)).toEqual(['a', 'e']);
    expect(v1.CommonPrefixes?.map(({ Prefix }) => Prefix)).toEqual(['d/']);
    const keys: string[] = [];
    let ContinuationToken: string | undefined;
    do {
      const page = await s3.send(
        new ListObjectsV2Command({ Bucket: 'data', MaxKeys: 3, ContinuationToken }),
      );
      keys.push(...(page.Contents ?? []).map(({ Key }) => Key ?? ''));
      ContinuationToken = page.NextContinuationToken;
    } while (ContinuationToken !== undefined);
    expect(keys).toEqual(['a', 'd/b', 'd/c', 'e']);

    const at = { Bucket: 'data', Key: 'x' };
    expect(await refusal(read(s3, 'data', 'none'))).toBe('NoSuchKey');
    expect(await refusal(read(s3, 'data', 'd'))).toBe('NoSuchKey');
    expect(await refusal(read(s3, 'book', 'a'))).toBe('NoSuchBucket');
    expect(await refusal(read(s3, 'out', 'a'))).toBe('NoSuchBucket');
    expect(await refusal(s3.send(new PutObjectCommand({ ...at, Body: 'y' })))).toBe(
      'NotImplemented',
    );
    expect(await refusal(s3.send(new DeleteObjectCommand({ ...at, Key: 'a' })))).toBe(
      'NotImplemented',
    );
    expect(
      await refusal(
        s3.send(new DeleteObjectsCommand({ Bucket: 'data', Delete: { Objects: [{ Key: 'a' }] } })),
      ),
    ).toBe('NotImplemented');
    expect(await refusal(s3.send(new CreateMultipartUploadCommand(at)))).toBe('NotImplemented');
    expect(await refusal(s3.send(new DeleteBucketCommand({ Bucket: 'data' })))).toBe(
      'NotImplemented',
    );
    expect(await refusal(s3.send(new CreateBucketCommand({ Bucket: 'new' })))).toBe('NoSuchBucket');

    // The job stays with its commit.
    await stack.client.put('book', { '/later': 'late' });
    expect(await refusal(read(s3, 'data', 'later'))).toBe('NoSuchKey');
    datum.end();
    expect((await stack.client.ended('reader')).state).toBe(JobState.JOB_SUCCESS);

    const second = await door.next('reader');
    expect(await read(clientOf(second), 'data', 'later')).toBe('late');
    second.end();
    const job = await stack.client.ended('reader', 2);
    expect(job.stats?.downloadBytes).toBe(4);
    await remove('reader');
    expect(await refusal(read(s3, 'data', 'a'))).toBe('ServiceUnavailable');
  });

  it('is not below /pfs, other inputs are; datums that are done are skipped', async () => {
    const cross = [s3in, { pfs: { repo: 'side', glob: '/*' } }];
    const more = {
      input: { cross },
      ...sh(
        'test ! -e /pfs/data',
        'test -w /pfs/out',
        'curl -sf $S3_ENDPOINT/data/a > /pfs/out/$(basename $side)',
        'cat $side >> /pfs/out/$(basename $side)',
      ),
    };
    await create('both', more);
    expect((await stack.client.ended('both')).state).toBe(JobState.JOB_SUCCESS);
    expect(await stack.client.files('both', 'master')).toEqual({
      '/1': 'firstone',
      '/2': 'firsttwo',
    });
    await stack.client.put('side', { '/3': 'three' });
    const job = await stack.client.ended('both', 2);
    expect([job.dataProcessed, job.dataSkipped, job.dataTotal]).toEqual([1, 2, 3]);
    await remove('both');
  });

  it('can be read by a service as long as its commit is the newest', async () => {
    const [internalPort, externalPort] = [await freePort(), await freePort()];
    await create('serving', { input: s3in, service: { internalPort, externalPort } });
    const first = await door.next('serving');
    expect(await read(clientOf(first), 'data', 'a')).toBe('first');
    await stack.client.put('in', { '/newest': 'yes' });
    const next = await door.next('serving');
    expect(await read(clientOf(next), 'data', 'newest')).toBe('yes');
    await remove('serving');
  });
});

describe('a pipeline with s3_out', () => {
  it('puts objects into the bucket out, which can be written and not read', async () => {
    await create('writer', { input: s3in, s3Out: true });
    const datum = await door.next('writer');
    const s3 = clientOf(datum);
    const put = (Key: string, Body: string | Buffer) =>
      s3.send(new PutObjectCommand({ Bucket: 'out', Key, Body }));
    const { Buckets } = await s3.send(new ListBucketsCommand({}));
    expect(Buckets?.map(({ Name }) => Name)).toEqual(['data', 'out']);

    await put('one', 'old');
    await put('one', 'new');
    await put('gone', 'x');
    await put('dir/deep/f', 'f');
    const gone = new DeleteObjectCommand({ Bucket: 'out', Key: 'gone' });
    await s3.send(gone);
    await s3.send(gone);
    await put('many/1', '1');
    const Objects = [{ Key: 'many/1' }, { Key: 'never' }];
    const { Deleted } = await s3.send(
      new DeleteObjectsCommand({ Bucket: 'out', Delete: { Objects } }),
    );
    expect(Deleted?.map(({ Key }) => Key)).toEqual(['many/1', 'never']);

    expect(await refusal(read(s3, 'out', 'one'))).toBe('NoSuchKey');
    const head = new HeadObjectCommand({ Bucket: 'out', Key: 'one' });
    expect(await refusal(s3.send(head))).toBe('NotFound');
    const list = await s3.send(new ListObjectsV2Command({ Bucket: 'out' }));
    expect(list.Contents).toBeUndefined();

    await s3.send(new CopyObjectCommand({ Bucket: 'out', Key: 'copied', CopySource: 'data/d/c' }));
    const fromOut = new CopyObjectCommand({ Bucket: 'out', Key: 'x', CopySource: 'out/one' });
    expect(await refusal(s3.send(fromOut))).toBe('NoSuchKey');
    expect(await refusal(put('one/below', 'x'))).toBe('InvalidFileParent');
    expect(await refusal(put('dir/deep', 'x'))).toBe('InvalidFilePath');
    expect(await refusal(put('a//b', 'x'))).toBe('InvalidFilePath');

    const big = Buffer.alloc(17_000_000, 'abcdefg');
    await new Upload({ client: s3, params: { Bucket: 'out', Key: 'big', Body: big } }).done();
    datum.end();
    const job = await stack.client.ended('writer');
    expect(job).toMatchObject({ state: JobState.JOB_SUCCESS, dataProcessed: 1 });
    const files = await stack.client.files('writer', 'master');
    expect(files['/big']?.length).toBe(big.length);
    expect(Buffer.from(files['/big'] ?? '', 'latin1').equals(big)).toBe(true);
    delete files['/big'];
    expect(files).toEqual({ '/copied': 'deeper', '/dir/deep/f': 'f', '/one': 'new' });
    expect((await stack.tusk(['fsck'])).stdout).toContain('No errors found');
  });

  it('starts every job with nothing and skips nothing', async () => {
    await stack.client.put('in', { '/more': '1' });
    const datum = await door.next('writer');
    await clientOf(datum).send(new PutObjectCommand({ Bucket: 'out', Key: 'only', Body: 'me' }));
    datum.end();
    await stack.client.ended('writer', 2);
    expect(await stack.client.files('writer', 'master')).toEqual({ '/only': 'me' });

    await remove('writer');
    await create('again', {
      input: { pfs: { repo: 'side', glob: '/*' } },
      s3Out: true,
      ...sh('curl -sf -T $side $S3_ENDPOINT/out/$(basename $side)', 'test ! -e /pfs/out'),
    });
    expect(await stack.client.ended('again')).toMatchObject({ dataProcessed: 3, dataSkipped: 0 });
    await stack.client.put('side', { '/4': 'four' });
    expect(await stack.client.ended('again', 2)).toMatchObject({
      dataProcessed: 4,
      dataSkipped: 0,
      state: JobState.JOB_SUCCESS,
    });
    const files = await stack.client.files('again', 'master');
    expect(Object.keys(files)).toEqual(['/1', '/2', '/3', '/4']);
    await remove('again');
  });

  it('keeps the last of what several datums put under one key', async () => {
    await create('same', {
      input: { pfs: { repo: 'side', glob: '/*' } },
      s3Out: true,
      parallelismSpec: { constant: 2 },
      chunkSpec: { number: 1 },
      // The last datums end first.
      ...sh(
        'n=$(basename $side); sleep 0.$((9 - n))',
        'curl -sf -T $side $S3_ENDPOINT/out/same',
        'curl -sf -T $side $S3_ENDPOINT/out/dir/$n',
      ),
    });
    expect((await stack.client.ended('same')).state).toBe(JobState.JOB_SUCCESS);
    // In the order of enumeration: three, four, one, two.
    expect(await stack.client.files('same', 'master')).toEqual({
      '/dir/1': 'one',
      '/dir/2': 'two',
      '/dir/3': 'three',
      '/dir/4': 'four',
      '/same': 'two',
    });
  });

  it('shows nothing of a try that failed, and fails with a reason', async () => {
    await create('failing', { input: s3in, s3Out: true, datumTries: 2 });
    const first = await door.next('failing');
    await clientOf(first).send(new PutObjectCommand({ Bucket: 'out', Key: 'half', Body: 'x' }));
    first.end(3);
    const second = await door.next('failing');
    await clientOf(second).send(new PutObjectCommand({ Bucket: 'out', Key: 'all', Body: 'y' }));
    second.end();
    await stack.client.ended('failing');
    expect(await stack.client.files('failing', 'master')).toEqual({ '/all': 'y' });

    await stack.client.put('in', { '/another': '1' });
    (await door.next('failing')).end(4);
    (await door.next('failing')).end(5);
    const job = await stack.client.ended('failing', 2);
    expect(job.state).toBe(JobState.JOB_FAILURE);
    expect(job.reason).toMatch(/^datum failed: .*exit status 5/);
    await remove('failing');
  });
});

it('takes uploads in parts like any S3 server', async () => {
  await create('parts', { input: s3in, s3Out: true });
  const datum = await door.next('parts');
  const s3 = clientOf(datum);
  const at = { Bucket: 'out', Key: 'joined' };
  const begin = async () => {
    const { UploadId } = await s3.send(new CreateMultipartUploadCommand(at));
    return { ...at, UploadId: UploadId ?? '' };
  };
  const upload = await begin();
  const five = Buffer.alloc(5 * 1024 * 1024, '5');
  const part = (PartNumber: number, Body: Buffer | string, of = upload) =>
    s3.send(new UploadPartCommand({ ...of, PartNumber, Body }));
  const { ETag: second } = await part(2, 'end');
  const { ETag: first } = await part(1, five);
  const copied = await s3.send(
    new UploadPartCopyCommand({
      ...upload,
      PartNumber: 3,
      CopySource: 'data/d/c',
      CopySourceRange: 'bytes=1-2',
    }),
  );
  const { Parts } = await s3.send(new ListPartsCommand(upload));
  expect(Parts?.map(({ PartNumber, Size }) => [PartNumber, Size])).toEqual([
    [1, five.length],
    [2, 3],
    [3, 2],
  ]);
  const complete = (Chosen: { PartNumber: number; ETag: string | undefined }[], of = upload) =>
    s3.send(new CompleteMultipartUploadCommand({ ...of, MultipartUpload: { Parts: Chosen } }));
  const third = { PartNumber: 3, ETag: copied.CopyPartResult?.ETag };
  expect(await refusal(complete([{ PartNumber: 2, ETag: second }, third]))).toBe('EntityTooSmall');
  expect(await refusal(complete([{ PartNumber: 7, ETag: second }]))).toBe('InvalidPart');
  const good = [{ PartNumber: 1, ETag: first }, third];
  const { ETag } = await complete(good);
  expect((await complete(good)).ETag).toBe(ETag);
  expect(await refusal(part(1, 'x'))).toBe('NoSuchUpload');

  const dropped = await begin();
  await part(1, 'never', dropped);
  await s3.send(new AbortMultipartUploadCommand(dropped));
  expect(await refusal(complete(good, dropped))).toBe('NoSuchUpload');
  datum.end();
  await stack.client.ended('parts');
  const files = await stack.client.files('parts', 'master');
  expect(Object.keys(files)).toEqual(['/joined']);
  expect(files['/joined'] === `${'5'.repeat(five.length)}ee`).toBe(true);
});

describe('a datum on one’s own machine', () => {
  /** S3 by plain requests: any key is taken where nobody logs in. */
  const code = [
    'import os, urllib.request as u',
    'at = os.environ["S3_ENDPOINT"]',
    'def ask(path, **more): return u.urlopen(u.Request(at + path, **more)).read().decode()',
    'print(ask("/data/a"), ask("/data/d/c"), ask("/data?prefix=d/").count("<Key>"))',
    'print(os.path.exists("/pfs/data"), open("/pfs/side/1").read(), "data" in os.environ)',
    'ask("/out/made/x", data=b"put", method="PUT")',
    'ask("/out/gone", data=b"no", method="PUT"); ask("/out/gone", method="DELETE")',
  ];

  it('reads inputs and writes outputs through S3 as on a worker', async () => {
    const cross = [s3in, { pfs: { repo: 'side', glob: '/1' } }];
    const transform = { cmd: ['python3', '-'], stdin: code };
    await create('mine', { input: { cross }, transform, s3Out: true });
    const job = await stack.client.ended('mine');
    expect(job).toMatchObject({ state: JobState.JOB_SUCCESS, reason: '' });
    expect(await stack.client.files('mine', 'master')).toEqual({ '/made/x': 'put' });
    const [datum = ''] = (await stack.tusk(['list', 'datum', job.job?.id ?? ''])).stdout
      .split('\n')
      .slice(1);
    const dir = join(stack.dir, 'kept');
    const args = ['debug', 'datum', job.job?.id ?? '', datum.slice(0, 12), '--dir', dir];
    const ran = await stack.tusk([...args, '--', '/tmp/run-datum']);
    expect(ran.stdout).toBe('first deeper 2\nFalse one False\n');
    expect(readdirSync(dir).sort()).toEqual(['out', 'pfs', 'run-datum']);
    expect(readFileSync(join(dir, 'out/made/x'), 'utf8')).toBe('put');
    expect(readdirSync(join(dir, 'out'))).toEqual(['made']);
    await remove('mine');
  });
});
