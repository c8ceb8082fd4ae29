import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PutFileRequest } from '../../proto/generated/pfs.js';
import { destinations } from './destination.js';
import { FrameMaker } from './frames.js';
import { Pace, readAhead } from './read-ahead.js';
import { walkSource } from './walk.js';

const to = (path: string, sources: string[], recursive = false): string[] =>
  destinations(sources, { path, recursive }).map((source) => source.to);

describe('destinations', () => {
  it.each([
    ['', ['top.txt'], ['top.txt']],
    ['', ['./top.txt'], ['top.txt']],
    ['', ['dir/a.txt'], ['dir/a.txt']],
    ['', ['../other/o.txt'], ['other/o.txt']],
    ['', ['/tmp/o.txt'], ['tmp/o.txt']],
    ['/x', ['top.txt'], ['/x']],
    ['x/', ['top.txt'], ['x/']],
    ['/', ['top.txt'], ['/top.txt']],
    ['p', ['top.txt', 'dir/a.txt'], ['p/top.txt', 'p/dir/a.txt']],
    ['p', ['../other/o.txt', 'b'], ['p/other/o.txt', 'p/b']],
    ['', ['http://h/a/b.csv'], ['a/b.csv']],
    ['', ['pfs://host/repo/branch/a/b'], ['a/b']],
  ])('put to %j from %j', (path, sources, expected) => {
    expect(to(path, sources)).toEqual(expected);
  });

  it('refuses impossible standard input', () => {
    expect(() => to('', ['-'])).toThrow('must specify filename when reading data from stdin');
    expect(() => to('p', ['-'], true)).toThrow(/stdin/);
    expect(to('p', ['-'])).toEqual(['p']);
  });
});

describe('walking', () => {
  let root = '';
  let before = '';
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'tusk-walk-'));
    before = process.cwd();
    process.chdir(root);
    mkdirSync('dir/.hid', { recursive: true });
    mkdirSync('dir/sub');
    mkdirSync('dir/empty');
    mkdirSync('other');
    for (const file of ['top.txt', 'dir/a.txt', 'dir/.dot', 'dir/.hid/x', 'dir/sub/b.txt']) {
      writeFileSync(file, file);
    }
    writeFileSync('other/o.txt', 'o');
    symlinkSync('../top.txt', 'dir/link.txt');
    symlinkSync('sub', 'dir/linked');
  });
  afterAll(() => {
    process.chdir(before);
    rmSync(root, { recursive: true, force: true });
  });

  const stored = (path: string, ...sources: string[]): string[] =>
    destinations(sources, { path, recursive: true }).flatMap((source) =>
      [...walkSource(source.from, source.to, { recursive: true, note: () => undefined })].map(
        (file) => file.to,
      ),
    );
  const names = ['.dot', '.hid/x', 'a.txt', 'link.txt', 'sub/b.txt'];
  const under = (folder: string): string[] => names.map((name) => folder + name);

  it.each([
    ['', ['dir'], 'dir/'],
    ['', ['dir/'], 'dir/'],
    ['', ['./dir'], 'dir/'],
    ['/', ['dir'], '/'],
    ['p', ['dir'], 'p/'],
    ['p', ['./dir/'], 'p/'],
  ])('-r to %j from %j', (path, sources, folder) => {
    expect(stored(path, ...sources)).toEqual(under(folder));
  });

  it('keeps the dot of hidden names when putting .', () => {
    process.chdir('dir');
    expect(stored('', '.')).toEqual(names);
    expect(stored('', './')).toEqual(names);
    process.chdir('..');
  });

  it('keeps several sources apart, also with .. under a prefix', () => {
    process.chdir('dir');
    expect(stored('p', '.', '../other')).toEqual([...under('p/'), 'p/other/o.txt']);
    process.chdir('..');
  });

  it('puts a plain file with -r, and says what is wrong without', () => {
    expect(stored('', 'top.txt')).toEqual(['top.txt']);
    const plain = { recursive: false, note: (): void => undefined };
    expect(() => [...walkSource('dir', 'dir', plain)]).toThrow(/^read dir: is a directory/);
    expect(() => [...walkSource('nope', 'nope', plain)]).toThrow(
      'open nope: no such file or directory',
    );
    expect(() => stored('', 'nope')).toThrow("nope doesn't exist");
  });
});

describe('frames', () => {
  const options = {
    delimiter: 2,
    targetFileDatums: 5,
    targetFileBytes: 0,
    headerRecords: 0,
    overwrite: true,
  };
  const commit = { repo: { name: 'data' }, id: 'master' };
  const fill = (frame: { value: Buffer }, text: string): number => frame.value.write(text);

  it.each([0, 1, 100, 127, 128, 20_000, 3_000_000])('is a PutFileRequest with %d bytes', (size) => {
    const maker = new FrameMaker(commit, options);
    const text = 'x'.repeat(size);
    const frame = maker.first('/a/ü.txt', size + 10);
    const decoded = PutFileRequest.decode(frame.sealed(fill(frame, text)));
    expect(decoded.file).toEqual({ commit, path: '/a/ü.txt' });
    expect(decoded.delimiter).toBe(2);
    expect(decoded.targetFileDatums).toBe(5);
    expect(decoded.overwriteIndex).toEqual({ index: 0 });
    expect(decoded.value.toString()).toBe(text);
    const next = maker.next(size + 1);
    const more = PutFileRequest.decode(next.sealed(fill(next, text)));
    expect(more.file).toBeUndefined();
    expect(more.value.length).toBe(size);
  });

  it('marks the end and names URLs', () => {
    const maker = new FrameMaker(commit, { ...options, delimiter: 0, overwrite: false });
    expect(PutFileRequest.decode(maker.end()).end).toBe(true);
    const url = PutFileRequest.decode(maker.url('p', 'http://h/x', true));
    expect(url).toMatchObject({ url: 'http://h/x', recursive: true, file: { path: 'p' } });
  });
});

describe('reading ahead', () => {
  const options = {
    delimiter: 0,
    targetFileDatums: 0,
    targetFileBytes: 0,
    headerRecords: 0,
    overwrite: false,
  };
  const frames = new FrameMaker({ repo: { name: 'r' }, id: 'm' }, options);

  it('keeps the order, reads several at once when slow, and leaves trouble to the reader', async () => {
    const root = mkdtempSync(join(tmpdir(), 'tusk-ahead-'));
    const names = Array.from({ length: 30 }, (_unused, index) => `f${index}`);
    for (const name of names) writeFileSync(join(root, name), `text of ${name}`);
    const files = [...names, 'missing'].map((name) => ({ from: join(root, name), to: name }));
    const pace = new Pace();
    const seen: string[] = [];
    const texts: (string | undefined)[] = [];
    for (const { file, content } of readAhead(files, { pace, parallelism: 4, frames })) {
      seen.push(file.to);
      const prepared = await content;
      texts.push(prepared && PutFileRequest.decode(prepared.message).value.toString());
      pace.measured(seen.length < 5 ? 0.01 : 100);
    }
    rmSync(root, { recursive: true, force: true });
    expect(seen).toEqual([...names, 'missing']);
    expect(texts.slice(0, 5)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(texts[20]).toBe('text of f20');
    expect(texts.at(-1)).toBeUndefined();
  });

  it('takes a stall now and then for nothing, and measures a slow disk again after a while', () => {
    const pace = new Pace();
    for (let i = 0; i < 10_000; i += 1) pace.measured(i % 50 === 0 ? 80 : 0.03);
    expect(pace.slow).toBe(false);
    for (let i = 0; i < 100 && !pace.slow; i += 1) pace.measured(2);
    expect(pace.slow).toBe(true);
    for (let i = 0; i < 1_000 && pace.slow; i += 1) pace.ahead();
    expect(pace.slow).toBe(false);
  });
});
