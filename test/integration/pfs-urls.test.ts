/** Files that the server fetches itself, or leaves where they are: s3, local and http urls. */
import {
  CreateBucketCommand,
  DeleteObjectCommand,
  PutObjectCommand,
  S3Client,
} from '@aws-sdk/client-s3';
import { randomBytes } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { NEVER } from '../../core/signals.js';
import {
  putFiles,
  type FilesDeps,
  type PutItem,
} from '../../coordinator/versioning/files/put-files.js';
import { getFile, inspectFile, walkFiles } from '../../coordinator/versioning/files/read-files.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { startSwift, type SwiftServer } from '../support/swift.js';
import { tempDir, type TempDir } from '../support/temp-dir.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
let swift: SwiftServer;
let client: S3Client;
let stack: VersioningStack;
let deps: FilesDeps;
let dir: TempDir;
let count = 0;
const BUCKET = 'sources';

beforeAll(async () => {
  [etcd, swift] = await Promise.all([startEtcd({ fsync: false }), startSwift()]);
  dir = await tempDir('urls');
  client = new S3Client({
    endpoint: swift.url,
    region: swift.region,
    forcePathStyle: true,
    credentials: swift,
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
  });
  await client.send(new CreateBucketCommand({ Bucket: BUCKET }));
}, 90_000);
afterAll(async () => {
  client.destroy();
  await dir[Symbol.asyncDispose]();
  await Promise.all([etcd[Symbol.asyncDispose](), swift[Symbol.asyncDispose]()]);
});
beforeEach(async () => {
  const { accessKeyId, secretAccessKey } = swift;
  stack = await openVersioningStack(etcd, { s3: { accessKeyId, secretAccessKey } });
  await stack.versioning.createRepo({ name: 'r' }, wait);
  const { versioning, storage } = stack;
  deps = { versioning, storage, localSources: join(dir.path, 'local') };
});
afterEach(() => stack[Symbol.asyncDispose]());

const at = (path: string) => ({ commit: { repo: 'r', id: 'master' }, path });
const s3Url = (key: string): string =>
  `s3://${BUCKET}/${key}?endpoint=${encodeURIComponent(swift.url)}`;

async function putUrl(path: string, url: string, more: Partial<PutItem> = {}): Promise<void> {
  const item: PutItem = {
    file: at(path),
    value: Buffer.alloc(0),
    url,
    recursive: false,
    split: { delimiter: 'none', datums: 0, bytes: 0, headerRecords: 0 },
    delete: false,
    ...more,
  };
  async function* items(): AsyncGenerator<PutItem> {
    yield item;
  }
  await putFiles(deps, items(), { ...wait, requestId: `request-${(count += 1)}` });
}

async function get(path: string, offset = 0, size = 0): Promise<Buffer> {
  const parts: Buffer[] = [];
  const request = { file: at(path), offset, size };
  for await (const part of getFile(deps, request, wait)) parts.push(Buffer.from(part));
  return Buffer.concat(parts);
}

async function paths(): Promise<string[]> {
  const found: string[] = [];
  for await (const { path, node } of walkFiles(deps, at('/'), wait)) {
    if (node.type === 'file') found.push(path);
  }
  return found;
}

const upload = (Key: string, Body: string | Buffer): Promise<unknown> =>
  client.send(new PutObjectCommand({ Bucket: BUCKET, Key, Body }));
const failed = (work: Promise<unknown>): Promise<{ code: string; text: string }> =>
  work.then(
    () => ({ code: 'none', text: 'no error' }),
    (error: unknown) => ({ code: codeOf(error), text: messageOf(error) }),
  );
/** Bytes that the store holds. */
async function stored(): Promise<number> {
  let bytes = 0;
  for await (const { size } of stack.storage.objects.list('', wait)) bytes += size;
  return bytes;
}

describe('s3 urls', () => {
  it('give one key, or everything below a prefix', async () => {
    const big = randomBytes(20_000_000);
    await Promise.all([
      upload('in/a b.txt', 'one'),
      upload('in/sub/deep/x', 'two'),
      upload('in/sub/', ''),
      upload('in/empty', ''),
      upload('in/big', big),
      upload('other', 'no'),
    ]);
    await putUrl('/one', s3Url('in/a%20b.txt'));
    expect((await get('/one')).toString()).toBe('one');
    await putUrl('/all', s3Url('in/'), { recursive: true });
    expect(await paths()).toEqual([
      '/all/a b.txt',
      '/all/big',
      '/all/empty',
      '/all/sub/deep/x',
      '/one',
    ]);
    expect((await get('/all/big')).equals(big)).toBe(true);
    expect((await get('/all/sub/deep/x')).toString()).toBe('two');
    await putUrl('/', s3Url('in/sub'), { recursive: true });
    expect((await get('/deep/x')).toString()).toBe('two');
  });

  it('can be split, and appended to what is there', async () => {
    await upload('rows.csv', 'h\n1\n2\n');
    const split = { delimiter: 'csv', datums: 0, bytes: 0, headerRecords: 1 } as const;
    await putUrl('/rows', s3Url('rows.csv'), { split });
    expect((await get('/rows/*')).toString()).toBe('h\n1\n2\n');
    await putUrl('/twice', s3Url('rows.csv'));
    await putUrl('/twice', s3Url('rows.csv'));
    expect((await get('/twice')).toString()).toBe('h\n1\n2\nh\n1\n2\n');
  });

  it('say what is wrong, and leave nothing behind', async () => {
    const url = s3Url('none/such');
    const missing = await failed(putUrl('/x', url));
    expect(missing.code).toBe('NOT_FOUND');
    expect(missing.text).toContain(`error retrieving content from "${url}": object none/such is`);
    expect((await failed(putUrl('/x', 'ftp://h/x'))).text).toBe(
      'error parsing url ftp://h/x: unrecognized object store: ftp',
    );
    expect((await failed(putUrl('/x', 's3://b/k?colour=red'))).text).toContain('"colour"');
    expect((await failed(putUrl('/x', 'gs://b/k'))).code).toBe('UNIMPLEMENTED');
    await upload('bad/[x]', '1');
    const bad = await failed(putUrl('/x', s3Url('bad/'), { recursive: true }));
    expect(bad.text).toBe('path (/x/[x]) invalid: globbing character ([) not allowed in path');
    expect((await failed(get('/x'))).text).toContain('master not found');
  });
});

describe('links', () => {
  it('keep a reference; reads go to the source', async () => {
    const big = randomBytes(30_000_000);
    await Promise.all([upload('l/big', big), upload('l/small', 'small'), upload('l/zero', '')]);
    await putUrl('/l', s3Url('l/'), { recursive: true, link: true });
    expect(await stored()).toBeLessThan(100_000);
    expect((await get('/l/big')).equals(big)).toBe(true);
    expect(
      (await get('/l/big', 12_345_678, 9_000_000)).equals(big.subarray(12_345_678, 21_345_678)),
    ).toBe(true);
    expect((await get('/l/*')).length).toBe(30_000_005);
    const node = (await inspectFile(deps, at('/l/big'), wait)).node;
    await putUrl('/again', s3Url('l/big'), { link: true });
    expect((await inspectFile(deps, at('/again'), wait)).node.hash.equals(node.hash)).toBe(true);
    // Bytes are taken over where they must be: what is appended to is read.
    await putUrl('/l/small', s3Url('l/small'));
    await upload('l/small', 'other');
    expect((await get('/l/small')).toString()).toBe('smallsmall');
  });

  it('fail when the source is another one, or gone', async () => {
    await upload('c', 'first');
    await putUrl('/c', s3Url('c'), { link: true });
    await upload('c', 'other');
    const changed = await failed(get('/c'));
    expect(changed.code).toBe('STATE_CONFLICT');
    expect(changed.text).toContain(`s3://${BUCKET}/c has changed at its source`);
    await client.send(new DeleteObjectCommand({ Bucket: BUCKET, Key: 'c' }));
    const gone = await failed(get('/c'));
    expect(gone.code).toBe('STATE_CONFLICT');
    expect(gone.text).toContain('is gone at its source');
  });

  it('are for s3 urls, whole files only', async () => {
    expect((await failed(putUrl('/c', 'http://127.0.0.1/x', { link: true }))).text).toBe(
      'cannot link to http://127.0.0.1/x: only s3:// urls can be linked',
    );
    const split = { delimiter: 'line', datums: 0, bytes: 0, headerRecords: 0 } as const;
    expect((await failed(putUrl('/c', s3Url('c'), { link: true, split }))).code).toBe(
      'INVALID_INPUT',
    );
  });
});

describe('local urls', () => {
  it('read below the directory that the server names, and nowhere else', async () => {
    const root = join(dir.path, 'local');
    mkdirSync(join(root, 'd/e'), { recursive: true });
    writeFileSync(join(root, 'd/x'), 'x');
    writeFileSync(join(root, 'd/e/y'), 'y');
    writeFileSync(join(dir.path, 'secret'), 's');
    symlinkSync(join(dir.path, 'secret'), join(root, 'd/out'));
    await putUrl('/f', 'local:///d/x');
    await putUrl('/all', 'local:///d', { recursive: true });
    expect(await paths()).toEqual(['/all/e/y', '/all/x', '/f']);
    for (const path of ['d/out', '../secret', '%2e%2e/secret']) {
      const { text } = await failed(putUrl('/s', `local:///${path}`));
      expect(text).toMatch(/outside localSources|no such file/);
    }
    deps = { versioning: stack.versioning, storage: stack.storage };
    expect((await failed(putUrl('/f', 'local:///d/x'))).code).toBe('PERMISSION_DENIED');
  });
});
