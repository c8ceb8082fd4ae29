/** Splits with headers and footers: what readers, listings, copies and later splits make of them. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { messageOf } from '../../core/errors.js';
import { NEVER } from '../../core/signals.js';
import { copyFile, putFiles, type PutItem } from '../../coordinator/versioning/files/put-files.js';
import { diffFiles } from '../../coordinator/versioning/files/diff-files.js';
import { toInfo } from '../../coordinator/rpc/pfs-files.js';
import {
  getFile,
  inspectFile,
  listFiles,
  type FileEntry,
} from '../../coordinator/versioning/files/read-files.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
let stack: VersioningStack;
let count = 0;

beforeAll(async () => {
  etcd = await startEtcd({ fsync: false });
});
afterAll(() => etcd[Symbol.asyncDispose]());
beforeEach(async () => {
  stack = await openVersioningStack(etcd);
  await stack.versioning.createRepo({ name: 'r' }, wait);
});
afterEach(() => stack[Symbol.asyncDispose]());

const at = (path: string) => ({ commit: { repo: 'r', id: 'master' }, path });
const request = () => ({ ...wait, requestId: `request-${(count += 1)}` });

type Split = Partial<PutItem['split']>;

async function put(path: string, value: string, split: Split, more: Partial<PutItem> = {}) {
  const item: PutItem = {
    file: at(path),
    value: Buffer.from(value),
    url: '',
    recursive: false,
    split: { delimiter: 'none', datums: 0, bytes: 0, headerRecords: 0, ...split },
    delete: false,
    ...more,
  };
  await putFiles(
    stack,
    (async function* () {
      yield item;
    })(),
    request(),
  );
}

async function get(path: string, offset = 0, size = 0): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of getFile(stack, { file: at(path), offset, size }, wait)) {
    parts.push(Buffer.from(part));
  }
  return Buffer.concat(parts).toString();
}

async function list(path: string): Promise<FileEntry[]> {
  const found: FileEntry[] = [];
  for await (const each of listFiles(stack, { file: at(path), history: 0 }, wait)) found.push(each);
  return found;
}

const name = (index: number): string => index.toString(16).padStart(16, '0');
const failure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no error',
    (error: unknown) => messageOf(error),
  );

const CSV = 'h,k\n1,a\n2,b\n3,c\n';

describe('headers of splits', () => {
  it('come once per run of files of one directory', async () => {
    await put('d', CSV, { delimiter: 'csv', headerRecords: 1 });
    await put('e', 'top\nx\ny\n', { delimiter: 'line', headerRecords: 1 });
    expect((await list('d')).map(({ path }) => path)).toEqual(
      [0, 1, 2].map((n) => `/d/${name(n)}`),
    );
    expect(await get(`d/${name(1)}`)).toBe('h,k\n2,b\n');
    expect(await get('d/*')).toBe(CSV);
    expect(await get('*/*')).toBe(`${CSV}top\nx\ny\n`);
    expect(await get('/d/*', 2, 5)).toBe(CSV.slice(2, 7));
    expect(await get('*/*', CSV.length - 2)).toBe('c\ntop\nx\ny\n');
  });

  it('count in sizes, hashes and objects', async () => {
    await put('d', CSV, { delimiter: 'csv', headerRecords: 1 });
    const [first] = await list('d');
    const entry = await inspectFile(stack, at(`/d/${name(0)}`), wait);
    expect(entry.node.size).toBe(8);
    expect(first?.node.hash.equals(entry.node.hash)).toBe(true);
    expect(toInfo(entry, true).objects).toHaveLength(2);
    expect((await inspectFile(stack, at('/d'), wait)).node.size).toBe(24);
    const before = (await inspectFile(stack, at('/'), wait)).node.hash;
    await put('d', 'H,K\n', { delimiter: 'csv', headerRecords: 1 });
    expect(await get('/d/*')).toBe(CSV.replace('h,k', 'H,K'));
    expect((await inspectFile(stack, at('/'), wait)).node.hash.equals(before)).toBe(false);
    const { newFiles } = await diffFiles(
      stack,
      { newFile: at('/'), oldFile: undefined, shallow: false },
      wait,
    );
    expect(newFiles.map(({ path }) => path)).toEqual([0, 1, 2].map((n) => `/d/${name(n)}`));
    const versions: string[] = [];
    const history = { file: at(`/d/${name(0)}`), history: -1 };
    for await (const { commit } of listFiles(stack, history, wait)) versions.push(commit.id);
    expect(new Set(versions).size).toBe(2);
  });

  it('go on: later splits add files, with or without it', async () => {
    await put('d', 'h\na\n', { delimiter: 'line', headerRecords: 1 });
    await put('d', 'b\n', { delimiter: 'line' });
    await put('d', 'g\nc\n', { delimiter: 'line', headerRecords: 1 });
    expect(await get(`d/${name(0)}`)).toBe('g\na\n');
    expect(await get(`d/${name(1)}`)).toBe('b\n');
    expect(await get(`d/${name(2)}`)).toBe('g\nc\n');
    expect(await get('d/*')).toBe('g\na\nb\nc\n');
    await put('d', 'n\nz\n', { delimiter: 'line', headerRecords: 1 }, { overwriteIndex: 0 });
    expect(await get('d/*')).toBe('n\nz\n');
  });

  it('are refused where a directory or a file was made without', async () => {
    await put('/d/x', '1', {});
    const header = { delimiter: 'line', headerRecords: 1 } as const;
    expect(await failure(put('d', 'h\na\n', header))).toBe(
      'could not put header/footer in directory at "/d" as it was not initialized with a ' +
        'header/footer, and headers/footers cannot be added after creation',
    );
    expect(await failure(put('/d/x', 'h\na\n', header))).toBe(
      'the file at "/d/x" is not a directory',
    );
    await put('empty', '', header);
    expect((await list('/')).map(({ path }) => path)).toEqual(['/d']);
  });

  it('stay with copies of the directory', async () => {
    await put('d', CSV, { delimiter: 'csv', headerRecords: 1 });
    await copyFile(stack, { src: at('d'), dst: at('c/d'), overwrite: false }, request());
    await copyFile(stack, { src: at(`d/${name(0)}`), dst: at('one'), overwrite: false }, request());
    await put('d', 'x,y\n', { delimiter: 'csv', headerRecords: 1 });
    expect(await get('/c/d/*')).toBe(CSV);
    expect(await get('/one')).toBe('h,k\n1,a\n');
  });

  it('are given by dumps of tables', async () => {
    const rows = ['Tesla\t1\n', 'Ford\t2\n', 'Fiat\t3\n'];
    const dump = `--\nCOPY cars (name, mpg) FROM stdin;\n${rows.join('')}\\.\n\n-- done\n`;
    await put('cars', dump, { delimiter: 'sql', datums: 2 });
    expect(await get('cars/*')).toBe(dump);
    expect(await get(`cars/${name(1)}`)).toBe(dump.replace(rows.slice(0, 2).join(''), ''));
    expect(await get('cars/*', dump.length - 6)).toBe(' done\n');
    expect(await failure(put('cars', 'SELECT 1;\n', { delimiter: 'sql' }))).toBe(
      'invalid header - missing row inserts',
    );
  });

  it('work within one open commit, in the order of its calls', async () => {
    await stack.versioning.startCommit({ repo: 'r', branch: 'master' }, wait);
    await put('d', 'h\na\n', { delimiter: 'line', headerRecords: 1 });
    expect(await get('d/*')).toBe('h\na\n');
    await put('d', 'i\nb\n', { delimiter: 'line', headerRecords: 1 });
    expect(await get('d/*')).toBe('i\na\nb\n');
    await stack.versioning.finishCommit(at('').commit, {}, wait);
    expect(await get(`d/${name(0)}`)).toBe('i\na\n');
  });
});
