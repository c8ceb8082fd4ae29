/** Files over gRPC as clients see them: puts with all options, reads, globs, copies, differences. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { connect } from 'node:http2';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Delimiter, PutFileRequest, type FileInfos } from '../../proto/generated/pfs.js';
import {
  commitOf,
  fileOf,
  pathsOf,
  type PfsApi,
  refusalOf,
  type PutPart,
} from '../support/pfs-api.js';
import { sharedPfs } from '../support/shared.js';
import type { Stack } from '../support/stack.js';

let stack: Stack;
let pfs: PfsApi;
let repo: string;

sharedPfs(async (api, made) => {
  [pfs, stack] = [api, made];
  repo = await pfs.repo();
});

let branches = 0;
/** A branch of its own for a case. */
const fresh = (): string => `${repo}@b${(branches += 1)}`;
const readAll = async (at: string): Promise<Record<string, string>> => {
  const files: Record<string, string> = {};
  for (const path of await pfs.walk(`${at}:/`)) {
    const info = await pfs.inspectFile(`${at}:${path}`);
    if (info.fileType === 1) files[path] = await pfs.get(`${at}:${path}`);
  }
  return files;
};

describe('paths', () => {
  it.each(['a', '/a', './a/', 'x/../a', '//a', '/../a', 'a/.'])('%s is /a', async (path) => {
    const at = fresh();
    await pfs.files(at, { [path]: 'x' });
    expect(await readAll(at)).toEqual({ '/a': 'x' });
  });

  it('may hold all that is printable but globs', async () => {
    const at = fresh();
    const name = '/ #$%&\'",-.;<=>\\_`|~:0aZ';
    await pfs.files(at, { [name]: 'x' });
    expect(await pfs.walk(`${at}:/`)).toEqual(['/', name]);
    expect(await pfs.get(`${at}:${name}`)).toBe('x');
  });

  it.each([
    ['../foo', 'path (../foo) invalid: traverses above root'],
    ['a/../../b', 'path (../b) invalid: traverses above root'],
    ['', 'path () invalid: only printable ASCII characters allowed'],
    ['/', 'path (/) invalid: only printable ASCII characters allowed'],
    ['.', 'path (.) invalid: only printable ASCII characters allowed'],
    ['a/..', 'path (a/..) invalid: only printable ASCII characters allowed'],
    ['a\tb', 'path (a\tb) invalid: only printable ASCII characters allowed'],
    ['é', 'path (é) invalid: only printable ASCII characters allowed'],
    ...[...'*?[]{}!()@+^'].map((c): [string, string] => [
      `a${c}b`,
      `path (a${c}b) invalid: globbing character (${c}) not allowed in path`,
    ]),
  ])('%j is refused in puts, urls and copies', async (path, details) => {
    const at = fresh();
    const refused = { code: status.INVALID_ARGUMENT, details };
    expect(await refusalOf(pfs.put(at, { path, value: 'x' }))).toEqual(refused);
    const url = 'http://127.0.0.1:1/none';
    expect(await refusalOf(pfs.put(at, { path, url }))).toEqual(refused);
    await pfs.files(at, { '/f': 'x' });
    expect(await refusalOf(pfs.copy(`${at}:/f`, `${at}:${path}`))).toEqual(refused);
    expect(await readAll(at)).toEqual({ '/f': 'x' });
  });
});

describe('where a put goes', () => {
  it('a branch gets one finished commit with everything', async () => {
    const at = fresh();
    await pfs.put(at, { path: '/a', value: '1' }, { value: '2' }, { path: '/b', value: '3' });
    expect((await pfs.inspect(at)).finished).toBeDefined();
    expect(await readAll(at)).toEqual({ '/a': '12', '/b': '3' });
  });

  it('is refused for what is finished, missing, or no plain name', async () => {
    const at = fresh();
    const [, branch] = at.split('@') as [string, string];
    const none = '0123456789ab4def8123456789abcdef';
    await pfs.files(at, { '/a': '1' });
    const id = (await pfs.inspect(at)).commit?.id ?? '';
    const put = (ref: string) => refusalOf(pfs.put(ref, { path: '/x', value: 'x' }));
    expect((await put(`${repo}@${id}`)).details).toBe(
      `commit ${id} in repo ${repo} has already finished`,
    );
    expect((await put(`${repo}@${none}`)).details).toBe(`commit ${none} not found in repo ${repo}`);
    await pfs.files(at, { '/a': '1' });
    expect((await put(`${at}^`)).details).toContain(`name (${branch}^) invalid: `);
    expect((await put(`${at}.1`)).details).toContain(`name (${branch}.1) invalid: `);
    expect((await put('gone@master')).details).toBe('/pachyderm_pfs/repos/ gone not found');
    const out = await pfs.repo();
    await pfs.branch(`${out}@m`, { from: [at] });
    await pfs.finish(`${out}@m`);
    expect((await put(`${out}@m`)).details).toBe('cannot start a commit on an output branch');
  });

  it('an open output commit takes files', async () => {
    const out = await pfs.repo();
    const at = fresh();
    await pfs.branch(`${out}@m`, { from: [at] });
    await pfs.commit(at);
    await pfs.put(`${out}@m`, { path: '/made', value: 'by hand' });
    await pfs.finish(`${out}@m`);
    expect(await pfs.get(`${out}@m:/made`)).toBe('by hand');
  });

  it('is one commit: another repo or reference in the same stream is refused', async () => {
    const at = fresh();
    const other = await pfs.repo();
    const [, branch] = at.split('@') as [string, string];
    await pfs.start(at);
    const id = (await pfs.inspect(at)).commit?.id;
    const mixed = (second: string) =>
      refusalOf(pfs.put(at, { path: '/a', value: 'x' }, { path: '/b', at: second, value: 'y' }));
    expect((await mixed(`${repo}@${id}`)).details).toBe(
      `all requests in a put files call must have the same commit ID; expected '${branch}', got '${id}'`,
    );
    expect((await mixed(`${other}@${branch}`)).details).toBe(
      `all requests in a put files call must have the same repo name; expected '${repo}', got '${other}'`,
    );
    await pfs.finish(at);
    expect(await readAll(at)).toEqual({});
  });

  it('25 at once on one branch make 25 commits', async () => {
    const at = fresh();
    const puts = Array.from({ length: 25 }, (_, i) => pfs.files(at, { [`/${i}`]: 'x' }));
    await Promise.all(puts);
    expect((await pfs.list(repo, { to: commitOf(at) })).length).toBe(25);
    expect(Object.keys(await readAll(at)).length).toBe(25);
  });
});

describe('options of a put', () => {
  const given: Record<string, string> = { '/a': '12', '/d/x': 'x', '/d/y': 'y' };
  const steps: [string, PutPart[], Record<string, string>][] = [
    ['append', [{ path: '/a', value: '3' }], { '/a': '123' }],
    ['append nothing', [{ path: '/a' }], { '/a': '12' }],
    ['overwrite', [{ path: '/a', value: '9', overwriteIndex: { index: 0 } }], { '/a': '9' }],
    [
      'overwrite a directory',
      [{ path: '/d', value: '9', overwriteIndex: { index: 0 } }],
      { '/d': '9', '/d/x': '', '/d/y': '' },
    ],
    [
      'overwrite beyond the end',
      [{ path: '/a', value: '9', overwriteIndex: { index: 7 } }],
      { '/a': '129' },
    ],
    ['delete', [{ path: '/d/x', delete: true }], { '/d/x': '' }],
    ['delete by glob', [{ path: '/d/*', delete: true }], { '/d/x': '', '/d/y': '' }],
    ['delete a directory', [{ path: 'd/', delete: true }], { '/d/x': '', '/d/y': '' }],
    ['delete everything', [{ path: '/', delete: true }], { '/a': '', '/d/x': '', '/d/y': '' }],
    ['delete what is not there', [{ path: '/none*', delete: true }], {}],
    [
      'delete, then put',
      [
        { path: '/a', delete: true },
        { path: '/a', value: 'new' },
      ],
      { '/a': 'new' },
    ],
    [
      'put, then delete',
      [
        { path: '/n', value: 'new' },
        { path: '/n', delete: true },
      ],
      {},
    ],
    [
      'put, delete above, put again',
      [
        { path: '/d/x', value: 'first' },
        { path: '/d', delete: true },
        { path: '/d/x', value: 'second' },
      ],
      { '/d/x': 'second', '/d/y': '' },
    ],
  ];
  it.each(steps)('%s', async (_what, parts, change) => {
    const after = Object.entries({ ...given, ...change }).filter(([, text]) => text !== '');
    const [oneShot, open] = [fresh(), fresh()];
    for (const at of [oneShot, open]) await pfs.files(at, given);
    await pfs.put(oneShot, ...parts);
    expect(await readAll(oneShot)).toEqual(Object.fromEntries(after));
    // The same in an open commit, one call for each part.
    await pfs.start(open);
    for (const part of parts) await pfs.put(open, part);
    expect(await readAll(open)).toEqual(Object.fromEntries(after));
    await pfs.finish(open);
    expect(await readAll(open)).toEqual(Object.fromEntries(after));
  });

  it('overwriting from a piece on keeps those before', async () => {
    const at = fresh();
    for (const value of ['one', 'two', 'three']) await pfs.put(at, { path: '/f', value });
    const pieces = (await pfs.inspectFile(`${at}:/f`)).objects.length;
    await pfs.put(at, { path: '/f', value: '+', overwriteIndex: { index: pieces } });
    expect(await pfs.get(`${at}:/f`)).toBe('onetwothree+');
    expect((await pfs.inspectFile(`${at}:/f`)).sizeBytes).toBe(12);
  });

  it('deleting on a branch that is not there makes a commit, by the old rpc it does not', async () => {
    const at = fresh();
    await pfs.put(at, { path: '/x', delete: true });
    expect((await pfs.inspect(at)).finished).toBeDefined();
    const gone = fresh();
    expect((await refusalOf(pfs.remove(`${gone}:/x`))).details).toContain('not found');
    await pfs.branch(gone);
    expect((await refusalOf(pfs.remove(`${gone}:/x`))).details).toContain('has no head');
  });

  it('directories stay when their last file goes', async () => {
    const at = fresh();
    await pfs.files(at, given);
    await pfs.remove(`${at}:/d/*`);
    expect(await pfs.walk(`${at}:/`)).toEqual(['/', '/a', '/d']);
    await pfs.remove(`${at}:/`);
    expect(await pfs.walk(`${at}:/`)).toEqual(['/']);
  });

  it.each([{ targetFileDatums: 1 }, { targetFileBytes: 1 }, { headerRecords: 1 }])(
    'those of a split without one are refused: %j',
    async (option) => {
      const refused = await refusalOf(pfs.put(fresh(), { path: '/a', value: 'x', ...option }));
      expect(refused.details).toBe(
        'cannot set split options--targetFileBytes, targetFileDatums, or headerRecords--with ' +
          'delimiter == NONE, split disabled',
      );
    },
  );
});

describe('splits', () => {
  const part = (delimiter: Delimiter, value: string, more: PutPart = {}): PutPart => ({
    path: '/s',
    delimiter,
    value,
    ...more,
  });
  const { LINE, JSON: JSONS, CSV, SQL } = Delimiter;
  const dump = 'SET x;\nCOPY t (a) FROM stdin;\n1\n2\n3\n\\.\n\nDONE;\n';
  it.each<[string, PutPart, string[]]>([
    ['lines', part(LINE, 'a\r\nb\n\nc'), ['a\r\n', 'b\n', '\n', 'c']],
    ['lines by two', part(LINE, '1\n2\n3\n', { targetFileDatums: 2 }), ['1\n2\n', '3\n']],
    ['lines by bytes', part(LINE, '11\n22\n33\n', { targetFileBytes: 4 }), ['11\n22\n', '33\n']],
    ['lines with a header', part(LINE, 'h\n1\n2\n', { headerRecords: 1 }), ['h\n1\n', 'h\n2\n']],
    ['values', part(JSONS, '{"a": 1} [2]\n"x" 3 '), ['{"a": 1}', '[2]', '"x"', '3']],
    ['rows', part(CSV, 'a,"b\nc"\n\n1,2,3\r\n"x""y",z\n'), ['a,"b\nc"\n', '1,2,3\n', '"x""y",z\n']],
    [
      'a dump',
      part(SQL, dump, { targetFileDatums: 2 }),
      [
        'SET x;\nCOPY t (a) FROM stdin;\n1\n2\n\\.\n\nDONE;\n',
        'SET x;\nCOPY t (a) FROM stdin;\n3\n\\.\n\nDONE;\n',
      ],
    ],
    ['nothing', part(LINE, ''), []],
  ])('of %s', async (_what, put, expected) => {
    const at = fresh();
    await pfs.put(at, put);
    const names = expected.map((_, index) => `/s/${index.toString(16).padStart(16, '0')}`);
    expect(Object.keys(await readAll(at))).toEqual(names);
    for (const [index, name] of names.entries()) {
      expect(await pfs.get(`${at}:${name}`)).toBe(expected[index]);
    }
  });

  it.each<[string, PutPart, string]>([
    ['bad values', part(JSONS, '{"a": 1} {"b"'), 'unexpected EOF'],
    ['bad rows', part(CSV, 'x"y\n'), 'parse error on line 1, column 2: bare " in non-quoted-field'],
    ['a dump without rows', part(SQL, 'SET x;\n'), 'invalid header - missing row inserts'],
    ['a dump without an end', part(SQL, 'COPY t;\n1\n'), 'invalid pgdump - missing footer'],
  ])('refuse %s', async (_what, put, text) => {
    const at = fresh();
    expect((await refusalOf(pfs.put(at, put))).details).toContain(text);
    expect((await refusalOf(pfs.inspectBranch(at))).code).toBe(status.NOT_FOUND);
  });

  it('go on after the highest name, and refuse what is no split', async () => {
    const at = fresh();
    for (const value of ['a\n', 'b\n']) await pfs.put(at, part(LINE, value));
    await pfs.put(at, part(LINE, 'c\n', { overwriteIndex: { index: 0 } }));
    expect(Object.values(await readAll(at))).toEqual(['c\n']);
    await pfs.files(at, { '/s/zebra': 'x', '/file': 'x' });
    expect((await refusalOf(pfs.put(at, part(LINE, 'd\n')))).details).toContain(
      'error parsing filename zebra as int, this likely means',
    );
    const file = pfs.put(at, part(LINE, 'd\n', { path: '/file' }));
    expect((await refusalOf(file)).details).toContain('the file at "/file" is not a directory');
    const late = pfs.put(at, part(LINE, 'h\nd\n', { path: '/s', headerRecords: 1 }));
    expect((await refusalOf(late)).details).toContain('could not put header/footer in directory');
  });
});

describe('urls', () => {
  let web: Server;
  let base: string;
  beforeAll(async () => {
    web = createServer((request, response) => {
      if (request.url === '/ok') response.end('from the web');
      else if (request.url === '/lines') response.end('1\n2\n');
      else response.writeHead(404).end('no');
    });
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  });
  afterAll(() => new Promise((resolve) => web.close(resolve)));

  it('are fetched by the server, split if asked for, beside a value that is ignored', async () => {
    const at = fresh();
    await pfs.put(
      at,
      { path: '/w', url: `${base}/ok`, value: 'ignored' },
      { path: '/l', url: `${base}/lines`, delimiter: Delimiter.LINE },
    );
    expect(Object.values(await readAll(at))).toEqual(['1\n', '2\n', 'from the web']);
  });

  const other = 'putting files from';
  it.each([
    ['http', () => `${base}/none`, 'error retrieving content from "http://127.0.0.1'],
    ['http', () => `${base}/none`, '404 Not Found'],
    ['ftp', () => 'ftp://h/x', 'error parsing url ftp://h/x: unrecognized object store: ftp'],
    ['no scheme', () => 'nonsense', 'error parsing url nonsense'],
    ['gs', () => 'gs://bucket/key', `${other} gs:// is not built in Tusk: use s3://`],
    ['gcs', () => 'gcs://bucket/key', `${other} gcs:// is not built in Tusk: use s3://`],
    ['as', () => 'as://container/key', `${other} as:// is not built in Tusk: use a URL with`],
    ['wasb', () => 'wasb://container/key', `${other} wasb:// is not built in Tusk: use a URL`],
    ['local', () => 'local:///etc/passwd', 'local'],
  ])('that can not be: %s', async (_what, url, text) => {
    const at = fresh();
    for (const recursive of [false, true]) {
      const bad = { path: '/x', url: url(), recursive };
      const refused = await refusalOf(pfs.put(at, { path: '/fine', value: 'x' }, bad));
      expect(refused.details).toContain(text);
      expect(refused.details).toMatch(/^[^\n]{10,300}$/);
    }
    expect((await refusalOf(pfs.inspectBranch(at))).code).toBe(status.NOT_FOUND);
  });
});

describe('files and directories in each other’s way', () => {
  it('are told when the commit finishes, which stays open until they are gone', async () => {
    const at = fresh();
    await pfs.files(at, { '/f': 'x', '/d/x': 'x' });
    await pfs.start(at);
    await pfs.put(at, { path: '/d', value: 'x' });
    const text = 'could not put file at "/d"; a file of type directory is already there';
    expect((await refusalOf(pfs.ls(`${at}:/`))).details).toContain(text);
    expect(await refusalOf(pfs.finish(at))).toMatchObject({ code: status.FAILED_PRECONDITION });
    await pfs.put(at, { path: '/d', delete: true });
    await pfs.put(at, { path: '/f/b/c', value: 'x' });
    expect((await refusalOf(pfs.finish(at))).details).toContain(
      'attempted to visit "/f/b", but it\'s not a directory',
    );
    await pfs.put(at, { path: '/f', delete: true });
    await pfs.finish(at);
    expect(await pfs.walk(`${at}:/`)).toEqual(['/']);
  });

  it('a put on a branch makes no commit', async () => {
    const at = fresh();
    await pfs.files(at, { '/d/x': 'x' });
    const before = await pfs.list(repo, { to: commitOf(at) });
    expect((await refusalOf(pfs.files(at, { '/d': 'x' }))).code).toBe(status.FAILED_PRECONDITION);
    expect(await pfs.list(repo, { to: commitOf(at) })).toEqual(before);
  });
});

describe('reading', () => {
  const at = 'reading@master';
  beforeAll(async () => {
    await pfs.repo('reading');
    await pfs.files(at, {
      '/a': 'A',
      '/b': 'BB',
      '/a.txt': 'text',
      '/dir/a': 'da',
      '/dir/b1': 'db1',
      '/dir/b2': 'db2',
      '/dir/sub/x.csv': 'x',
      '/dir/sub/y.tar.gz': 'y',
      '/2019-01': '1',
      '/2019-02': '2',
      '/2020-01': '3',
    });
  });

  it.each<[string, string[]]>([
    ['/dir/*', ['/dir/a', '/dir/b1', '/dir/b2', '/dir/sub']],
    ['dir/b?', ['/dir/b1', '/dir/b2']],
    ['**.csv', ['/dir/sub/x.csv']],
    ['/**/a', ['/dir/a']],
    ['/**a', ['/a', '/dir/a']],
    ['/@(2019|2020)-*', ['/2019-01', '/2019-02', '/2020-01']],
    ['/!(dir|20*)', ['/a', '/a.txt', '/b']],
    ['/{a,dir/{a,sub}}', ['/a', '/dir/a', '/dir/sub']],
    ['/+(a|b)', ['/a', '/b']],
    ['/dir', ['/dir']],
    ['/none', []],
    ['', ['/']],
    ['/', ['/']],
  ])('glob %j', async (pattern, expected) => {
    expect(await pfs.glob(`${at}:${pattern}`)).toEqual(expected);
    const unary = { commit: commitOf(at), pattern };
    expect(pathsOf((await pfs.call<FileInfos>('globFile', unary)).fileInfo)).toEqual(expected);
  });

  it.each(['/[a', '/[]', '/^(a)', '/[[:nope:]]'])('glob %s is refused', async (pattern) => {
    const refused = await refusalOf(pfs.glob(`${at}:${pattern}`));
    expect(refused.code).toBe(status.INVALID_ARGUMENT);
    if (pattern === '/[a') expect(refused.details).toContain('unexpected end of input');
  });

  it.each<[string, string[]]>([
    ['/dir', ['/dir/a', '/dir/b1', '/dir/b2', '/dir/sub']],
    ['/dir/', ['/dir/a', '/dir/b1', '/dir/b2', '/dir/sub']],
    ['/a', ['/a']],
    ['/d*', ['/dir/a', '/dir/b1', '/dir/b2', '/dir/sub']],
    // Children that the pattern matches too are not listed for their parent.
    ['/dir/**', ['/dir/a', '/dir/b1', '/dir/b2', '/dir/sub/x.csv', '/dir/sub/y.tar.gz']],
    ['/none*', []],
  ])('list %s', async (path, expected) => {
    expect(pathsOf(await pfs.ls(`${at}:${path}`))).toEqual(expected);
  });

  it.each(['', '/', '.', './'])('the root is %j', async (path) => {
    expect((await pfs.ls(`${at}:${path}`)).length).toBe(7);
    expect((await pfs.walk(`${at}:${path}`))[0]).toBe('/');
    expect((await pfs.walk(`${at}:${path}`)).length).toBe(14);
  });

  it('walks in tree order, a file as itself, nothing where nothing is', async () => {
    expect(await pfs.walk(`${at}:/dir`)).toEqual([
      ...['/dir', '/dir/a', '/dir/b1', '/dir/b2'],
      ...['/dir/sub', '/dir/sub/x.csv', '/dir/sub/y.tar.gz'],
    ]);
    expect(await pfs.walk(`${at}:/a`)).toEqual(['/a']);
    expect(await pfs.walk(`${at}:/none`)).toEqual([]);
    expect(await pfs.walk(`${at}:/d*`)).toEqual([]);
  });

  it.each<[string, { offset?: number; size?: number }, string]>([
    ['/dir/*', {}, 'dadb1db2'],
    ['/dir/*', { offset: 1, size: 3 }, 'adb'],
    ['/dir/*', { offset: 6 }, 'b2'.slice(0, 2)],
    ['/dir/*', { offset: 8 }, ''],
    ['/dir/*', { offset: 80 }, ''],
    ['/dir/*', { offset: 7, size: 99 }, '2'],
    ['/a.txt', { offset: 1, size: 2 }, 'ex'],
    ['/dir', {}, ''],
    ['/@(*)/@(*)', {}, 'dadb1db2'],
  ])('get %s %j', async (path, range, expected) => {
    expect(await pfs.get(`${at}:${path}`, range)).toBe(expected);
  });

  it('tells what is missing, in the two ways there are', async () => {
    const id = (await pfs.inspect(at)).commit?.id;
    const missing = [
      [pfs.get(`${at}:none`), 'file "/none" not found'],
      [pfs.get(`${at}:none*`), `file none* not found in repo reading at commit ${id}`],
      [pfs.inspectFile(`${at}:none`), `file none not found in repo reading at commit ${id}`],
      [pfs.ls(`${at}:none`), 'file "/none" not found'],
    ] as const;
    const told = await Promise.all(missing.map(([work]) => refusalOf(work)));
    expect(told.map(({ details }) => details)).toEqual(missing.map(([, text]) => text));
    const negative = await refusalOf(pfs.get(`${at}:/a`, { offset: -1 }));
    expect(negative.code).toBe(status.INVALID_ARGUMENT);
  });

  it('tells of a file what there is to tell', async () => {
    const commit = await pfs.inspect(at);
    const info = await pfs.inspectFile(`${at}:dir//a`);
    expect(info).toMatchObject({
      file: { path: 'dir//a', commit: commit.commit },
      fileType: 1,
      sizeBytes: 2,
      children: [],
      committed: commit.finished,
    });
    expect(info.objects.length).toBe(1);
    const [listed] = await pfs.ls(`${at}:/dir/a`);
    expect(listed?.objects).toEqual([]);
    expect(listed?.hash).toEqual(info.hash);
    expect((await pfs.ls(`${at}:/dir/a`, { full: true }))[0]?.objects).toEqual(info.objects);
    expect(await pfs.inspectFile(`${at}:/dir`)).toMatchObject({ fileType: 2, sizeBytes: 10 });
  });

  it('equal bytes have equal hashes, and every change shows up to the root', async () => {
    const [one, two] = [fresh(), fresh()];
    await pfs.files(one, { '/d/f': 'same', '/d/g': 'x' });
    await pfs.put(two, { path: '/d/f', value: 'sa' });
    await pfs.put(two, { path: '/d/f', value: 'me' }, { path: '/d/g', value: 'x' });
    const hash = async (name: string) => (await pfs.inspectFile(name)).hash;
    for (const path of ['/', '/d', '/d/f']) {
      expect(await hash(`${one}:${path}`)).toEqual(await hash(`${two}:${path}`));
    }
    await pfs.files(two, { '/d/f': '!' });
    for (const path of ['/', '/d', '/d/f']) {
      expect(await hash(`${one}:${path}`)).not.toEqual(await hash(`${two}:${path}`));
    }
    expect(await hash(`${one}:/d/g`)).toEqual(await hash(`${two}:/d/g`));
  });

  it('sends at most 2 MiB in a message', async () => {
    const here = fresh();
    await pfs.put(here, { path: '/big', value: Buffer.alloc(5_000_000, 1) });
    const messages = await pfs.messages(`${here}:/big`);
    expect(Math.max(...messages.map(({ length }) => length))).toBeLessThanOrEqual(2 ** 21);
    expect(Buffer.concat(messages).equals(Buffer.alloc(5_000_000, 1))).toBe(true);
  });

  it('of an open commit shows what was written so far; under an open parent nothing', async () => {
    const here = fresh();
    await pfs.files(here, { '/a': '1', '/d/x': 'x' });
    const id = await pfs.start(here);
    await pfs.put(here, { path: '/a', value: '2' }, { path: '/d', delete: true });
    expect(await pfs.get(`${here}:/a`)).toBe('12');
    expect((await pfs.inspectFile(`${here}:/a`)).committed).toBeUndefined();
    expect(await refusalOf(pfs.inspectFile(`${here}:/d/x`))).toMatchObject({
      code: status.NOT_FOUND,
    });
    expect(await pfs.diff(`${here}:/`)).toEqual({ added: ['/a'], removed: ['/a', '/d/x'] });
    await pfs.finish(`${repo}@${id}`);
    expect(await pfs.walk(`${here}:/`)).toEqual(['/', '/a']);
  });

  it('of outputs that are under way, failed or under open parents', async () => {
    const [input, out] = [await pfs.repo(), await pfs.repo()];
    await pfs.branch(`${out}@m`, { from: [`${input}@m`] });
    await pfs.commit(`${input}@m`);
    await pfs.commit(`${input}@m`);
    const [first] = await pfs.list(out, { reverse: true });
    const head = (await pfs.inspect(`${out}@m`)).commit?.id;
    const reads = [
      pfs.get(`${out}@m:/f`),
      pfs.inspectFile(`${out}@m:/f`),
      pfs.ls(`${out}@m:/`),
      pfs.walk(`${out}@m:/`),
      pfs.glob(`${out}@m:/*`),
    ];
    for (const { details } of await Promise.all(reads.map((read) => refusalOf(read)))) {
      expect(details).toBe(`output commit ${head} not finished`);
    }
    await pfs.finish(`${out}@${first}`, { empty: true });
    const done = `${out}@${first}`;
    expect((await refusalOf(pfs.get(`${done}:/f`))).details).toContain('file /f not found in repo');
    expect((await refusalOf(pfs.get(`${done}:/`))).details).toContain('not found');
    expect(await pfs.ls(`${done}:/none`)).toEqual([]);
    expect(await pfs.walk(`${done}:/`)).toEqual([]);
    expect(await pfs.glob(`${done}:/*`)).toEqual([]);
  });
});

describe('history', () => {
  it('tells versions, newest first, each where it came in', async () => {
    const at = fresh();
    const ids: string[] = [];
    const step = async (...parts: PutPart[]): Promise<void> => {
      await pfs.put(at, ...parts);
      ids.push((await pfs.inspect(at)).commit?.id ?? '');
    };
    await step({ path: '/f', value: 'gone before' });
    await step({ path: '/f', delete: true });
    await step({ path: '/f', value: '1' }, { path: '/d/x', value: 'x' });
    await step({ path: '/other', value: 'o' });
    await step({ path: '/f', value: '2' });
    const versions = async (path: string, history: number): Promise<number[]> =>
      (await pfs.ls(`${at}:${path}`, { history })).map(({ file }) =>
        ids.indexOf(file?.commit?.id ?? ''),
      );
    expect(await versions('/f', 0)).toEqual([4]);
    expect(await versions('/f', 1)).toEqual([4]);
    expect(await versions('/f', 2)).toEqual([4, 2]);
    expect(await versions('/f', -1)).toEqual([4, 2]);
    // In tree order: /d, /f, /other.
    expect(await versions('/', -1)).toEqual([2, 4, 2, 3]);
    const [version] = await pfs.ls(`${at}:/d`, { history: 1 });
    expect(version?.committed).toEqual((await pfs.inspect(`${repo}@${ids[2]}`)).finished);
  });
});

describe('differences', () => {
  it.each<[string, boolean, string[], string[]]>([
    ['', false, ['d/new', 'same-name'], ['d/old', 'same-name']],
    ['/', false, ['/d/new', '/same-name'], ['/d/old', '/same-name']],
    ['/d', false, ['/d/new'], ['/d/old']],
    ['', true, ['d', 'same-name'], ['d', 'same-name']],
    ['/d/new', false, ['/d/new'], []],
    ['/none', false, [], []],
  ])('below %j, shallow %s', async (path, shallow, added, removed) => {
    const at = fresh();
    await pfs.files(at, { '/d/old': 'o', '/d/kept': 'k', '/same-name': '1', '/e/x': 'x' });
    await pfs.put(
      at,
      { path: '/d/old', delete: true },
      { path: '/d/new', value: 'n' },
      { path: '/same-name', value: '2' },
    );
    const expected = { added: [...added].sort(), removed: [...removed].sort() };
    const told = await pfs.diff(`${at}:${path}`, undefined, shallow);
    expect({ added: told.added.sort(), removed: told.removed.sort() }).toEqual(expected);
    expect(await pfs.diff(`${at}:${path}`, `${at}^:${path}`, shallow)).toEqual(told);
  });

  it('between repos, and of a first commit', async () => {
    const other = await pfs.repo();
    const at = fresh();
    await pfs.files(at, { '/a': '1', '/b': '2' });
    await pfs.files(`${other}@m`, { '/x/a': '1', '/x/b': 'other' });
    expect(await pfs.diff(`${other}@m:/x`, `${at}:/`)).toEqual({
      added: ['/x/b'],
      removed: ['/b'],
    });
    expect(await pfs.diff(`${at}:/`)).toEqual({ added: ['/a', '/b'], removed: [] });
  });

  it('of a file that became a directory tells both', async () => {
    const at = fresh();
    await pfs.files(at, { '/t': 'file' });
    await pfs.put(at, { path: '/t', delete: true }, { path: '/t/in', value: 'x' });
    expect(await pfs.diff(`${at}:/`)).toEqual({ added: ['/t/in'], removed: ['/t'] });
  });
});

describe('copies', () => {
  it('of files and directories, onto what is there or over it', async () => {
    const [from, to] = [fresh(), fresh()];
    await pfs.files(from, { '/f': 'new', '/d/x': 'X', '/d/e/y': 'Y' });
    await pfs.files(to, { '/f': 'old', '/t/x': 'was', '/t/z': 'Z' });
    await pfs.copy(`${from}:/f`, `${to}:/f`);
    await pfs.copy(`${from}:/d`, `${to}:/t`);
    expect(await readAll(to)).toEqual({
      '/f': 'oldnew',
      '/t/e/y': 'Y',
      '/t/x': 'wasX',
      '/t/z': 'Z',
    });
    await pfs.copy(`${from}:/d`, `${to}:/t`, true);
    await pfs.copy(`${from}:/f`, `${to}:/f`, true);
    expect(await readAll(to)).toEqual({ '/f': 'new', '/t/e/y': 'Y', '/t/x': 'X' });
    const before = await pfs.list(repo, { to: commitOf(to) });
    await pfs.copy(`${from}:/none`, `${to}:/n`);
    await pfs.copy(`${from}:/d*`, `${to}:/n`);
    expect((await readAll(to))['/n']).toBeUndefined();
    expect(before.length).toBe(5);
  });

  it('into open commits, not into finished or missing ones', async () => {
    const at = fresh();
    await pfs.files(at, { '/f': 'x' });
    const done = (await pfs.inspect(at)).commit?.id;
    const gone = await refusalOf(pfs.copy(`${at}:/f`, `${fresh()}:/f`));
    expect(gone.details).toContain('not found');
    const late = await refusalOf(pfs.copy(`${at}:/f`, `${repo}@${done}:/g`));
    expect(late.details).toBe(`commit ${done} in repo ${repo} has already finished`);
    await pfs.start(at);
    await pfs.copy(`${repo}@${done}:/f`, `${at}:/g`);
    expect(await pfs.get(`${at}:/g`)).toBe('x');
  });
});

it('takes requests that are compressed', async () => {
  const at = fresh();
  const message = PutFileRequest.encode(
    PutFileRequest.fromPartial({ file: fileOf(`${at}:/z`), value: Buffer.from('zipped') }),
  ).finish();
  const zipped = gzipSync(message);
  const head = Buffer.alloc(5);
  head.writeUInt8(1, 0);
  head.writeUInt32BE(zipped.length, 1);
  const session = connect(`http://${stack.address}`);
  const stream = session.request({
    ':method': 'POST',
    ':path': '/pfs.API/PutFile',
    'content-type': 'application/grpc',
    'grpc-encoding': 'gzip',
    te: 'trailers',
  });
  const answer = new Promise((resolve) =>
    stream.on('trailers', (headers) => resolve(headers['grpc-status'])),
  );
  stream.resume();
  stream.end(Buffer.concat([head, zipped]));
  expect(await answer).toBe('0');
  session.close();
  expect(await pfs.get(`${at}:/z`)).toBe('zipped');
});
