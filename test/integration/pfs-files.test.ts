/** Files of commits: put, split, append, overwrite, delete, copy; get, list, glob, walk, diff. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { NEVER } from '../../core/signals.js';
import { diffFiles } from '../../coordinator/versioning/files/diff-files.js';
import {
  copyFile,
  deleteFile,
  putFiles,
  type PutItem,
} from '../../coordinator/versioning/files/put-files.js';
import {
  getFile,
  globFiles,
  inspectFile,
  listFiles,
  walkFiles,
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

const at = (text: string): { commit: { repo: string; id: string }; path: string } => {
  const [name = '', path = ''] = text.split(':');
  const [repo = '', id = 'master'] = name.split('@');
  return { commit: { repo, id }, path };
};
const request = () => ({ ...wait, requestId: `request-${(count += 1)}` });
const NONE = { delimiter: 'none', datums: 0, bytes: 0, headerRecords: 0 } as const;

function item(target: string, value: string | Buffer, more: Partial<PutItem> = {}): PutItem {
  return {
    file: at(target),
    value: Buffer.from(value),
    url: '',
    recursive: false,
    split: NONE,
    delete: false,
    ...more,
  };
}

function bytes(value: string | Buffer): PutItem {
  const { file: _none, ...rest } = item('r:x', value);
  return rest;
}

async function* stream<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}

const put = (...items: PutItem[]): Promise<void> => putFiles(stack, stream(items), request());
const remove = (target: string): Promise<void> => deleteFile(stack, at(target), request());
const copy = (src: string, dst: string, overwrite = false): Promise<void> =>
  copyFile(stack, { src: at(src), dst: at(dst), overwrite }, request());
async function get(target: string, offset = 0, size = 0): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of getFile(stack, { file: at(target), offset, size }, wait)) {
    parts.push(Buffer.from(part));
  }
  return Buffer.concat(parts).toString();
}
async function paths(entries: AsyncIterable<FileEntry>): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of entries) found.push(entry.path);
  return found;
}
const list = (target: string, history = 0): Promise<string[]> =>
  paths(listFiles(stack, { file: at(target), history }, wait));
const walk = (target: string): Promise<string[]> => paths(walkFiles(stack, at(target), wait));
const glob = (pattern: string): Promise<string[]> =>
  paths(globFiles(stack, { commit: at('r').commit, pattern }, wait));
const failure = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no error',
    (error: unknown) => messageOf(error),
  );
const commits = async (repo = 'r'): Promise<number> => {
  let found = 0;
  for await (const _each of stack.versioning.listCommits({ repo }, wait)) found += 1;
  return found;
};
const start = () => stack.versioning.startCommit({ repo: 'r', branch: 'master' }, wait);
const finish = () => stack.versioning.finishCommit(at('r').commit, {}, wait);

describe('putting', () => {
  it('makes one finished commit per call on a branch, with all its files', async () => {
    await put(item('r:a', 'one'), bytes('-two'), item('r:/dir//b', 'x'), item('r:empty', ''));
    expect(await commits()).toBe(1);
    expect(await get('r:a')).toBe('one-two');
    expect(await list('r:/')).toEqual(['/a', '/dir', '/empty']);
    expect((await inspectFile(stack, at('r:dir/b'), wait)).node.size).toBe(1);
    await put();
    expect(await commits()).toBe(1);
  });

  it('appends, replaces, deletes in stream order', async () => {
    await put(item('r:a', '1'), item('r:a', '2'), item('r:b', 'b'));
    expect(await get('r:a')).toBe('12');
    await put(item('r:a', '3'));
    expect(await get('r:a')).toBe('123');
    await put(item('r:a', 'new', { overwriteIndex: 0 }), item('r:a', '+'));
    expect(await get('r:a')).toBe('new+');
    await put(item('r:/*', '', { delete: true }), item('r:c', 'c'));
    expect(await list('r')).toEqual(['/c']);
    await put(item('r:d', 'd'), item('r:d', '', { delete: true }));
    expect(await list('r')).toEqual(['/c']);
  });

  it('goes into an open commit and is read back from there at once', async () => {
    await put(item('r:a', '1'));
    const open = await start();
    await put(item('r:a', '2'));
    await put(item(`r@${open.id}:b`, 'b'));
    expect(await get('r:a')).toBe('12');
    await remove('r:b');
    expect(await list('r')).toEqual(['/a']);
    await finish();
    expect(await get('r:a')).toBe('12');
    expect(await failure(put(item(`r@${open.id}:b`, 'b')))).toBe(
      `commit ${open.id} in repo r has already finished`,
    );
  });

  it('hashes content, not history', async () => {
    await put(item('r@one:a', 'hello world'), item('r@one:d/b', 'x'));
    await put(item('r@two:d/b', 'x'), item('r@two:a', 'hello'));
    await put(item('r@two:a', ' world'));
    const hash = async (target: string): Promise<string> =>
      (await inspectFile(stack, at(target), wait)).node.hash.toString('hex');
    expect(await hash('r@one:a')).toBe(await hash('r@two:a'));
    expect(await hash('r@one:/')).toBe(await hash('r@two:/'));
  });

  it('stores nothing when a stream breaks off or fails', async () => {
    const open = await start();
    async function* broken(): AsyncGenerator<PutItem> {
      yield item('r:a', Buffer.alloc(3_000_000));
      yield item('r:b', 'b');
      throw new Error('gone');
    }
    expect(await failure(putFiles(stack, broken(), request()))).toBe('gone');
    expect(await failure(put(item('r:a', 'x'), item('r:a[1]', 'y')))).toContain(
      'globbing character ([) not allowed in path',
    );
    expect(await list(`r@${open.id}`)).toEqual([]);
    expect(await failure(put(item('r:a', 'x'), item('r@other:b', 'y')))).toBe(
      "all requests in a put files call must have the same commit ID; expected 'master', got 'other'",
    );
    expect(await failure(put(bytes('x')))).toBe('must send a request with a file first');
  });

  it('refuses what can not be put, with the texts old clients know', async () => {
    expect(await failure(put(item('r:../foo', 'x')))).toBe(
      'path (../foo) invalid: traverses above root',
    );
    expect(await failure(put(item('r:', 'x')))).toContain('only printable ASCII characters');
    expect(await failure(put(item('none:a', 'x')))).toBe('/pachyderm_pfs/repos/ none not found');
    expect(await failure(put(item('r@mas.ter:a', 'x')))).toContain('mas.ter');
    const split = { ...NONE, datums: 3 };
    expect(await failure(put(item('r:a', 'x', { split })))).toContain('delimiter == NONE');
    await stack.versioning.createRepo({ name: 'out' }, wait);
    await put(item('r:a', 'x'));
    await stack.versioning.createBranch(
      { repo: 'out', name: 'master', provenance: [{ repo: 'r', name: 'master' }] },
      wait,
    );
    await stack.versioning.finishCommit({ repo: 'out', id: 'master' }, { empty: true }, wait);
    expect(await failure(put(item('out:a', 'x')))).toBe(
      'cannot start a commit on an output branch',
    );
    await put(item('r:dir/x', 'x'));
    expect(await failure(put(item('r:dir', 'x')))).toContain('a file of type directory is already');
    expect(await failure(put(item('r:a/b', 'x')))).toContain("but it's not a directory");
    expect(await commits()).toBe(2);
  });

  it('takes 25 one-shot puts at the same time', async () => {
    const puts = Array.from({ length: 25 }, (_unused, i) => put(item(`r:f${i}`, String(i))));
    await Promise.all(puts);
    expect(await commits()).toBe(25);
    expect((await list('r')).length).toBe(25);
  });

  it('fetches URLs', async () => {
    const server = createServer((asked, answer) => {
      answer.statusCode = asked.url === '/ok' ? 200 : 404;
      answer.end(asked.url === '/ok' ? 'from the web' : '');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      await put(item('r:web', 'ignored', { url: `${base}/ok` }), item('r:after', 'x'));
      expect(await get('r:web')).toBe('from the web');
      expect(await failure(put(item('r:web', '', { url: `${base}/no` })))).toBe(
        `error retrieving content from "${base}/no": 404 Not Found`,
      );
      expect(await failure(put(item('r:web', '', { url: 'ftp://x/y' })))).toBe(
        'error parsing url ftp://x/y: unrecognized object store: ftp',
      );
    } finally {
      server.close();
      server.closeAllConnections();
    }
  });
});

describe('splitting', () => {
  const split = { ...NONE, delimiter: 'line', datums: 2 } as const;

  it('names pieces by index and goes on after the highest', async () => {
    await put(item('r:t', '1\n2\n3\n', { split }));
    expect(await list('r:t')).toEqual(['/t/0000000000000000', '/t/0000000000000001']);
    await put(item('r:t', '4\n5\n', { split }), item('r:t', '6', { split }));
    expect((await list('r:t')).length).toBe(4);
    expect(await get('r:t/*')).toBe('1\n2\n3\n4\n5\n6');
    expect(await get('r:t/0000000000000003')).toBe('6');
    await put(item('r:t', '7\n', { split, overwriteIndex: 0 }));
    expect(await get('r:t/*')).toBe('7\n');
    await put(item('r:nothing', '', { split }));
    expect(await list('r')).toEqual(['/t']);
  });

  it('refuses directories that hold other data, and files', async () => {
    await put(item('r:t/other', 'x'), item('r:file', 'x'));
    expect(await failure(put(item('r:t', '1\n', { split })))).toContain(
      'error parsing filename other as int',
    );
    expect(await failure(put(item('r:file', '1\n', { split })))).toBe(
      'the file at "/file" is not a directory',
    );
  });

  it('cuts 200,000 lines into 20,000 pieces quickly', async () => {
    const lines = Array.from({ length: 200_000 }, (_unused, i) => `line ${i},a,b,c\n`).join('');
    const startMs = performance.now();
    await put(item('r:t', lines, { split: { ...split, datums: 10 } }));
    expect(performance.now() - startMs).toBeLessThan(6_000);
    expect((await list('r:t')).length).toBe(20_000);
    expect(await get('r:t/0000000000004e1f')).toContain('line 199999');
  });
});

describe('reading', () => {
  beforeEach(async () => {
    const names = ['a', 'b', 'a.txt', 'dir/a', 'dir/b1', 'dir/sub/x.csv'];
    await put(...names.map((name) => item(`r:${name}`, `<${name}>`)));
  });

  it('lists, walks and globs in tree order', async () => {
    expect(await list('r')).toEqual(['/a', '/a.txt', '/b', '/dir']);
    expect(await list('r:/dir')).toEqual(['/dir/a', '/dir/b1', '/dir/sub']);
    expect(await list('r:*')).toEqual(['/a', '/a.txt', '/b', '/dir/a', '/dir/b1', '/dir/sub']);
    expect(await list('r:**')).toEqual([
      '/a',
      '/a.txt',
      '/b',
      '/dir/a',
      '/dir/b1',
      '/dir/sub/x.csv',
    ]);
    expect(await list('r:a')).toEqual(['/a']);
    expect(await failure(list('r:none'))).toBe('file "/none" not found');
    expect(await list('r:none*')).toEqual([]);
    expect(await walk('r:/dir')).toEqual([
      '/dir',
      '/dir/a',
      '/dir/b1',
      '/dir/sub',
      '/dir/sub/x.csv',
    ]);
    expect((await walk('r:'))[0]).toBe('/');
    expect(await walk('r:none')).toEqual([]);
    expect(await glob('/d*')).toEqual(['/dir']);
    expect(await glob('/')).toEqual(['/']);
    expect(await glob('**.csv')).toEqual(['/dir/sub/x.csv']);
    expect(await failure(glob('/['))).toContain('unexpected end of input');
  });

  it('gets files, globs and ranges', async () => {
    expect(await get('r:/dir/**')).toBe('<dir/a><dir/b1><dir/sub/x.csv>');
    expect(await get('r:/dir/**', 4, 6)).toBe('/a><di');
    expect(await get('r:a', 1)).toBe('a>');
    expect(await get('r:a', 100)).toBe('');
    expect(await get('r:dir')).toBe('');
    expect(await failure(get('r:none'))).toBe('file "/none" not found');
    expect(await failure(get('r:none*'))).toContain('file none* not found in repo r at commit ');
    const missing = inspectFile(stack, at('r:none'), wait);
    expect(await missing.catch(codeOf)).toBe('NOT_FOUND');
    expect((await inspectFile(stack, at('r:./dir/'), wait)).path).toBe('./dir/');
  });

  it('compares', async () => {
    await put(item('r:a', '!'), item('r:dir/new', 'x'), item('r:b', '', { delete: true }));
    const diff = async (
      newFile: string,
      oldFile?: string,
      shallow = false,
    ): Promise<[string[], string[]]> => {
      const asked = { newFile: at(newFile), oldFile: oldFile ? at(oldFile) : undefined, shallow };
      const { newFiles, oldFiles } = await diffFiles(stack, asked, wait);
      return [newFiles.map(({ path }) => path), oldFiles.map(({ path }) => path)];
    };
    expect(await diff('r:/')).toEqual([
      ['/a', '/dir/new'],
      ['/a', '/b'],
    ]);
    expect(await diff('r:')).toEqual([
      ['a', 'dir/new'],
      ['a', 'b'],
    ]);
    expect(await diff('r:/', 'r@master^:/', true)).toEqual([
      ['/a', '/dir'],
      ['/a', '/b', '/dir'],
    ]);
    expect(await diff('r:dir')).toEqual([['dir/new'], []]);
    expect(await diff('r:a')).toEqual([['a'], ['a']]);
    expect(await diff('r:none')).toEqual([[], []]);
  });

  it('tells the history of entries', async () => {
    await put(item('r:a', '!'));
    await put(item('r:b', 'more'));
    await put(item('r:a', '?'));
    expect(await list('r:a', -1)).toEqual(['/a', '/a', '/a']);
    expect(await list('r:/', 1)).toEqual(['/a', '/a.txt', '/b', '/dir']);
    const versions: string[] = [];
    const all: string[] = [];
    for await (const each of stack.versioning.listCommits({ repo: 'r' }, wait)) all.push(each.id);
    const file = at('r:a');
    for await (const entry of listFiles(stack, { file, history: -1 }, wait)) {
      versions.push(entry.commit.id);
    }
    expect(versions).toEqual([all[0], all[2], all[3]]);
  });

  it('copies by reference', async () => {
    await copy('r:dir', 'r@other:copy').catch(() => undefined);
    await stack.versioning.createBranch({ repo: 'r', name: 'other', provenance: [] }, wait);
    await copy('r:dir', 'r@other:copy');
    expect(await get('r@other:copy/sub/x.csv')).toBe('<dir/sub/x.csv>');
    await copy('r:a', 'r@other:copy/a');
    expect(await get('r@other:copy/a')).toBe('<dir/a><a>');
    await copy('r:a', 'r@other:copy/a', true);
    expect(await get('r@other:copy/a')).toBe('<a>');
    await copy('r:none', 'r@other:x');
    expect(await list('r@other')).toEqual(['/copy']);
    expect(await failure(copy('r:a', 'r@missing:x'))).toBe(
      '/pachyderm_pfs/branches/r/ missing not found',
    );
  });

  it('deletes', async () => {
    await remove('r:dir/sub/x.csv');
    expect(await walk('r:dir')).toEqual(['/dir', '/dir/a', '/dir/b1', '/dir/sub']);
    await remove('r:/dir/*');
    expect(await walk('r:dir')).toEqual(['/dir']);
    await remove('r:/');
    expect(await walk('r:')).toEqual(['/']);
    expect(await failure(remove('r@none:x'))).toContain('branches/r/ none not found');
  });
});

it('keeps memory bounded while very many small files arrive', async () => {
  async function* many(): AsyncGenerator<PutItem> {
    for (let i = 0; i < 100_000; i += 1) yield item(`r:d${i % 100}/f${i}`, Buffer.alloc(3000, i));
  }
  let peak = 0;
  const timer = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 50);
  const startMs = performance.now();
  await putFiles(stack, many(), request());
  clearInterval(timer);
  expect(performance.now() - startMs).toBeLessThan(25_000);
  expect((await inspectFile(stack, at('r:/'), wait)).node.size).toBe(300_000_000);
  expect(peak).toBeLessThan(700 * 1024 * 1024);
});
