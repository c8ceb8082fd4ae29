import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { codeOf, messageOf, noSpace } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { sha256 } from '../core/sha256.js';
import {
  isSharedEntry,
  selectionOf,
  Storage,
  writeRun,
  type ApplyOptions,
  type DirNode,
  type FileContent,
  type RunInput,
  type RunOp,
  type RunRef,
  type TreeNode,
  type TreeReader,
} from './index.js';
import { MemoryStore } from './memory-store.js';

const wait = { signal: new AbortController().signal };
const put: ApplyOptions = { ...wait, ordinal: 7, mode: 'put' };
const merge: ApplyOptions = { ...wait, ordinal: 7, mode: 'merge' };

class Bench {
  readonly objects = new MemoryStore();
  readonly storage = new Storage(this.objects, { epoch: 1, log: silentLog, clock: systemClock });
  readonly trees = this.storage.trees;

  async content(text: string): Promise<FileContent> {
    const writer = this.storage.newWriter(wait);
    const sink = writer.beginFile();
    await sink.write(Buffer.from(text));
    const content = await sink.end();
    await writer.flush(wait);
    return content;
  }

  run(ops: readonly RunOp[]): Promise<RunRef> {
    return writeRun(this.storage, ops, wait);
  }

  /** Ops in words: `+/p=text` append, `=/p=text` set, `-/p`, `-p/p` prune, `*glob`, `>/p=a,b` split. */
  async ops(...words: readonly string[]): Promise<RunRef> {
    const ops: RunOp[] = [];
    for (const [seq, word] of words.entries()) ops.push(await this.op(word, seq));
    return this.run(ops);
  }

  async op(word: string, seq: number): Promise<RunOp> {
    const [path = '', text = ''] = word.slice(1).split('=');
    switch (word[0]) {
      case '+':
        return { op: 'append', path, seq, content: await this.content(text) };
      case '=':
        return { op: 'set', path, seq, content: await this.content(text) };
      case '-':
        return { op: 'delete', path, seq };
      case '~':
        return { op: 'delete', path, seq, prune: true };
      case '*':
        return { op: 'deleteGlob', path, seq };
      case '/':
        return { op: 'mkdir', path: word, seq };
      case '<':
        return { op: 'truncate', path, seq, keep: Number(text) };
      case '>': {
        const files = await Promise.all(text.split(',').map((each) => this.content(each)));
        return { op: 'split', path, seq, files };
      }
      default:
        throw new Error(`what is ${word}?`);
    }
  }

  apply(base: DirNode | undefined, runs: readonly RunInput[], options = put): Promise<DirNode> {
    return this.trees.apply(base, runs, options);
  }

  async put(base: DirNode | undefined, ...words: string[]): Promise<DirNode> {
    return this.apply(base, [await this.ops(...words)]);
  }

  async read(content: FileContent): Promise<string> {
    const parts: Buffer[] = [];
    for await (const part of this.storage.read(content, wait)) parts.push(part);
    return Buffer.concat(parts).toString();
  }

  /** `/dir/`, `/file=text` in tree order, without the root. */
  async show(root: DirNode): Promise<string[]> {
    const lines: string[] = [];
    for await (const { path, node } of this.trees.walk(root, '', wait)) {
      if (path === '') continue;
      lines.push(node.type === 'dir' ? `${path}/` : `${path}=${await this.read(node)}`);
    }
    return lines;
  }
}

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => error,
  );
}

describe('apply: put', () => {
  it('appends, sets, makes directories, reads them in tree order', async () => {
    const bench = new Bench();
    const first = await bench.put(undefined, '+/dir.txt=x', '+/dir/b=1', '+/dir/a=2', '/empty');
    expect(await bench.show(first)).toEqual([
      '/dir/',
      '/dir/a=2',
      '/dir/b=1',
      '/dir.txt=x',
      '/empty/',
    ]);
    const second = await bench.put(first, '+/dir/a=34', '=/dir/b=new', '+/dir/a=5');
    expect(await bench.show(second)).toContain('/dir/a=2345');
    expect(await bench.show(second)).toContain('/dir/b=new');
    expect([second.size, second.files]).toEqual([8, 3]);
    expect('page' in second.root).toBe(true);
  });

  it('takes deletes in strict order', async () => {
    const bench = new Bench();
    const base = await bench.put(undefined, '+/d/x=1', '+/d/y=2', '+/e=3');
    const show = async (...words: string[]): Promise<string[]> =>
      bench.show(await bench.put(base, ...words));
    expect(await show('-/d', '+/d/x=n')).toEqual(['/d/', '/d/x=n', '/e=3']);
    expect(await show('+/d/x=n', '-/d')).toEqual(['/e=3']);
    expect(await show('-/d/x', '-/d/y')).toEqual(['/d/', '/e=3']);
    expect(await show('~/d/x', '~/d/y')).toEqual(['/e=3']);
    expect(await show('+/n/a/b=1', '-/n/a/b')).toEqual([
      '/d/',
      '/d/x=1',
      '/d/y=2',
      '/e=3',
      '/n/',
      '/n/a/',
    ]);
    expect(await show('*/d/*', '+/d/z=1')).toEqual(['/d/', '/d/z=1', '/e=3']);
    expect(await show('+/d/z=1', '*/**/x')).toEqual(['/d/', '/d/y=2', '/d/z=1', '/e=3']);
    expect(await show('-', '+/f=1')).toEqual(['/f=1']);
    expect(await show('+/f=1', '*/')).toEqual([]);
    expect(await show('-/d', '+/d=file')).toEqual(['/d=file', '/e=3']);
    expect(await show('=/d=file')).toEqual(['/d=file', '/e=3']);
    expect(await show('-/e', '+/e/f=1')).toEqual(['/d/', '/d/x=1', '/d/y=2', '/e/', '/e/f=1']);
    expect(await show('-/nothing', '*/no*')).toEqual(await bench.show(base));
  });

  it('refuses files over directories and below files', async () => {
    const bench = new Bench();
    const base = await bench.put(undefined, '+/d/x=1', '+/f=2');
    const text = async (...words: string[]): Promise<string> => {
      const error = await failure(bench.put(base, ...words));
      expect(codeOf(error)).toBe('STATE_CONFLICT');
      return messageOf(error);
    };
    const over = 'could not put file at "/d"; a file of type directory is already there';
    expect(await text('+/d=1')).toBe(over);
    expect(await text('+/n/x=1', '+/n=1')).toBe(over.replace('/d', '/n'));
    expect(await text('-/d/x', '+/d=1')).toBe(over);
    const below = `attempted to visit "/f/g", but it's not a directory`;
    expect(await text('+/f/g/h=1')).toBe(below);
    expect(await text('+/f/g=1')).toBe(below);
    expect(await text('+/n=1', '+/n/g=1')).toBe(below.replace('/f', '/n'));
    expect(await text('>/f=1')).toBe('the file at "/f" is not a directory');
    await bench.put(base, '+/d/y=1', '+/f/g=1', '-/f');
    const same = await bench.show(base);
    expect(await bench.show(await bench.put(base, '+/f/g=1', '-/f/g'))).toEqual(same);
    expect(await bench.show(await bench.put(base, '+/f/g/h=1', '-/f/g'))).toEqual(same);
    expect(await bench.show(await bench.put(base, '+/f/g/h=1', '*/f/*/h'))).toEqual(same);
    expect(await text('+/f/g=1', '-/f/g', '+/f/g=2')).toBe(below);
    expect(await text('+/f/g=1', '-/f/a', '+/f/z=2')).toBe(below);
  });

  it('continues splits after the highest name', async () => {
    const bench = new Bench();
    const base = await bench.put(undefined, '>/s=a,b');
    expect(await bench.show(base)).toEqual([
      '/s/',
      `/s/${'0'.repeat(16)}=a`,
      `/s/${'0'.repeat(15)}1=b`,
    ]);
    const more = await bench.apply(base, [await bench.ops('>/s=c'), await bench.ops('>/s=d,e')]);
    expect((await bench.show(more)).slice(3)).toEqual([
      `/s/${'0'.repeat(15)}2=c`,
      `/s/${'0'.repeat(15)}3=d`,
      `/s/${'0'.repeat(15)}4=e`,
    ]);
    const shorter = await bench.put(base, `-/s/${'0'.repeat(15)}1`, '>/s=z');
    expect((await bench.show(shorter)).slice(2)).toEqual([`/s/${'0'.repeat(15)}1=z`]);
    const anew = await bench.put(base, '-/s', '>/s=z');
    expect(await bench.show(anew)).toEqual(['/s/', `/s/${'0'.repeat(16)}=z`]);
    const named = await bench.put(base, '+/s/00000000000000ff=n', '>/s=z', '*/s/*f', '>/s=y');
    expect((await bench.show(named)).slice(3)).toEqual([
      '/s/0000000000000100=z',
      '/s/0000000000000101=y',
    ]);
    const error = await failure(bench.put(base, '+/s/zz=n', '>/s=z'));
    expect(messageOf(error)).toBe(
      "error parsing filename zz as int, this likely means you're using split on a directory " +
        "which contains other data that wasn't put with split",
    );
    await bench.put(base, '>/s=z', '+/s/zz=n');
  });

  it('grafts: as a whole where nothing is, else entry by entry', async () => {
    const bench = new Bench();
    const source = await bench.put(undefined, '+/a/x=1', '+/a/sub/y=2', '+/b=3');
    const a = (await bench.trees.lookup(source, '/a', wait)) as DirNode;
    const graft = (path: string, node = a): Promise<RunRef> =>
      bench.run([{ op: 'graft', path, seq: 0, node }]);
    const base = await bench.put(undefined, '+/t/x=0');
    const fresh = await bench.apply(base, [await graft('/new')]);
    expect(((await bench.trees.lookup(fresh, '/new', wait)) as DirNode).hash).toEqual(a.hash);
    const whole = await bench.apply(undefined, [await graft('/copy', source)]);
    const copy = (await bench.trees.lookup(whole, '/copy', wait)) as DirNode;
    expect(copy.hash).toEqual(source.hash);
    expect('inline' in copy.root).toBe(true);
    const merged = await bench.apply(base, [await graft('/t')]);
    expect(await bench.show(merged)).toEqual(['/t/', '/t/sub/', '/t/sub/y=2', '/t/x=01']);
    const conflict = await failure(bench.apply(source, [await graft('/b')]));
    expect(messageOf(conflict)).toMatch(/but it's not a directory/);
  });

  it('truncates by pieces and keeps what did not change', async () => {
    const bench = new Bench();
    const base = await bench.put(undefined, '+/f=one', '+/g=two', '+/d/h=three');
    const same = await bench.apply(
      base,
      [await bench.ops('</f=0', '+/f=one', '=/g=two', '-/d/no')],
      {
        ...put,
        ordinal: 9,
      },
    );
    expect(same).toEqual(base);
    const kept = await bench.put(base, '</f=5', '+/f=!');
    expect(await bench.show(kept)).toContain('/f=one!');
    const next = await bench.apply(base, [await bench.ops('+/d/i=4')], { ...put, ordinal: 9 });
    const changed = async (path: string): Promise<number | undefined> =>
      (await bench.trees.lookup(next, path, wait))?.changed;
    expect(await changed('/d')).toBe(9);
    expect(await changed('/d/i')).toBe(9);
    expect(await changed('/d/h')).toBe(7);
    expect(await changed('/f')).toBe(7);
  });
});

describe('apply: merge', () => {
  it('concatenates in seq order and knows what several wrote', async () => {
    const bench = new Bench();
    const one = await bench.run([
      { op: 'append', path: '/all', seq: 3, content: await bench.content('three') },
      { op: 'append', path: '/own/3', seq: 3, content: await bench.content('3') },
    ]);
    const two = await bench.run([
      { op: 'append', path: '/all', seq: 1, content: await bench.content('one') },
      { op: 'append', path: '/own/1', seq: 1, content: await bench.content('1') },
    ]);
    const both = await bench.apply(undefined, [one, two], merge);
    expect(await bench.show(both)).toEqual(['/all=onethree', '/own/', '/own/1=1', '/own/3=3']);
    const order = selectionOf([[3, 0]]);
    const turned = await bench.apply(undefined, [{ run: one, select: order }, two], merge);
    expect(await bench.show(turned)).toContain('/all=threeone');

    const subtract = { run: one, subtract: true };
    expect(isSharedEntry(await failure(bench.apply(both, [subtract], merge)))).toBe(true);
    expect(isSharedEntry(await failure(bench.apply(both, [two], merge)))).toBe(true);
    const alone = await bench.apply(undefined, [one], merge);
    expect(await bench.show(await bench.apply(alone, [subtract], merge))).toEqual([]);
    const part = await bench.run([
      { op: 'append', path: '/own/5', seq: 5, content: await bench.content('5') },
    ]);
    const grown = await bench.apply(both, [part], merge);
    expect((await bench.apply(grown, [{ run: part, subtract: true }], merge)).hash).toEqual(
      both.hash,
    );
    const again = await bench.apply(grown, [one, two], { ...merge, ordinal: 9, fresh: true });
    expect(again.hash).toEqual(both.hash);
    expect((await bench.trees.lookup(again, '/own/1', wait))?.changed).toBe(7);
  });

  it('refuses a path of two types', async () => {
    const bench = new Bench();
    const file = await bench.run([
      { op: 'append', path: '/x/p', seq: 1, content: await bench.content('1') },
    ]);
    const dir = await bench.run([{ op: 'mkdir', path: '/x/p', seq: 2 }]);
    const error = await failure(bench.apply(undefined, [file, dir], merge));
    expect(messageOf(error)).toBe(
      'could not merge path "/x/p" which is a different type in different hashtrees',
    );
    expect(codeOf(error)).toBe('STATE_CONFLICT');
  });
});

describe('trouble', () => {
  it('fails with the reason of the store, and with that of the caller when cancelled', async () => {
    class FullStore extends MemoryStore {
      full = false;
      override put(...args: Parameters<MemoryStore['put']>): Promise<void> {
        if (this.full && args[0].startsWith('page/'))
          return Promise.reject(noSpace('disk is full'));
        return super.put(...args);
      }
    }
    const objects = new FullStore();
    const storage = new Storage(objects, { epoch: 1, log: silentLog, clock: systemClock });
    const sets = (text: string): RunOp[] => {
      const hash = sha256(text);
      const location = { kind: 'p' as const, epoch: 1, digest: hash, offset: 0 };
      const content = { size: 1, hash, pieces: [{ hash, size: 1, location }] };
      const path = (n: number): string => `/d${n % 50}/${n}`;
      const all = Array.from({ length: 20_000 }, (_unused, seq) => seq);
      return all.map((seq) => ({ op: 'set', path: path(seq), seq, content }));
    };
    const run = await writeRun(storage, sets('x'), wait);
    const base = await storage.trees.apply(undefined, [run], put);
    objects.full = true;
    const again = await writeRun(storage, sets('y'), wait);
    for (const start of [undefined, base]) {
      const error = await failure(storage.trees.apply(start, [again], put));
      expect([codeOf(error), messageOf(error)]).toEqual(['NO_SPACE', 'disk is full']);
    }
    objects.full = false;
    const control = new AbortController();
    const stopped = storage.trees.apply(base, [again], { ...put, signal: control.signal });
    control.abort(new Error('client went away'));
    expect(messageOf(await failure(stopped))).toBe('client went away');
  });
});

describe('reading', () => {
  it('lists, globs, finds differences, keeps long piece lists apart', async () => {
    const bench = new Bench();
    const piece = (n: number) => ({
      hash: sha256(`piece ${n}`),
      size: 4_000_000,
      location: { kind: 'c' as const, epoch: 1, digest: sha256(`piece ${n}`), offset: 0 },
    });
    const pieces = Array.from({ length: 40 }, (_unused, n) => piece(n));
    const big = { size: 160_000_000, hash: sha256('big'), pieces };
    const run = await bench.run([{ op: 'set', path: '/big', seq: 0, content: big }]);
    const root = await bench.apply(await bench.put(undefined, '+/a/x=1', '+/a/y=2', '+/é=3'), [
      run,
    ]);
    const found = await bench.trees.lookup(root, '/big', wait);
    expect(found?.type === 'file' && found.pieces).toEqual(pieces);
    const names: string[] = [];
    for await (const { name, node } of bench.trees.list(root, '', { ...wait, after: 'a' })) {
      names.push(name);
      if (node.type === 'file' && name === 'big') expect(node.pieces).toEqual(pieces);
    }
    expect(names).toEqual(['big', 'é']);
    const globbed: string[][] = [];
    for await (const { captures } of bench.trees.glob(root, '/a/(*)', wait)) globbed.push(captures);
    expect(globbed).toEqual([
      ['/a/x', 'x'],
      ['/a/y', 'y'],
    ]);
    for (const pattern of [
      '/',
      '/*',
      '/**',
      '/a/(*)',
      '/(*)/(?)',
      '/é',
      '/none',
      '/b*',
      '/**(x)',
    ]) {
      expect(await batches(bench.trees, root, pattern)).toEqual(
        await singles(bench.trees, root, pattern),
      );
    }
    const other = await bench.put(root, '-/a/x', '+/a/z/q=1', '+/é=!');
    const differences: string[] = [];
    for await (const { path, a, b } of bench.trees.diff(root, other, wait)) {
      differences.push(`${path} ${a?.type ?? '-'} ${b?.type ?? '-'}`);
    }
    expect(differences).toEqual([
      ' dir dir',
      '/a dir dir',
      '/a/x file -',
      '/a/z - dir',
      '/a/z/q - file',
      '/é file file',
    ]);
  });
});

interface Shown {
  readonly path: string;
  readonly node: TreeNode;
  readonly captures: readonly string[];
}

async function singles(trees: TreeReader, root: DirNode, pattern: string): Promise<Shown[]> {
  const found: Shown[] = [];
  for await (const match of trees.glob(root, pattern, wait)) found.push(match);
  return found;
}

async function batches(trees: TreeReader, root: DirNode, pattern: string): Promise<Shown[]> {
  const found: Shown[] = [];
  for await (const batch of trees.globBatches(root, pattern, wait)) {
    for (let i = 0; i < batch.length; i += 1) {
      const node = batch.node(i);
      expect(batch.size(i)).toBe(node.size);
      found.push({ path: batch.path(i), node, captures: batch.captures(i) });
    }
  }
  return found;
}
