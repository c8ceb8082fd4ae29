import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import {
  decodeNode,
  encodeNode,
  readRun,
  Storage,
  writeRun,
  type DirNode,
  type FileContent,
  type FileNode,
  type RunOp,
  type TreeNode,
} from './index.js';
import { MemoryStore } from './memory-store.js';

const wait = { signal: new AbortController().signal };
type NewOp = RunOp extends infer Op ? (Op extends RunOp ? Omit<Op, 'seq'> : never) : never;

class Bench {
  readonly storage = new Storage(new MemoryStore(), {
    epoch: 1,
    log: silentLog,
    clock: systemClock,
  });
  readonly trees = this.storage.trees;
  ordinal = 0;

  async content(text: string): Promise<FileContent> {
    const writer = this.storage.newWriter(wait);
    const content = await writer.writeBytes(Buffer.from(text));
    await writer.flush(wait);
    return content;
  }

  /** A split with a header: `header|footer`, then files. */
  async framed(path: string, edges: string, ...texts: string[]): Promise<NewOp[]> {
    const [header = '', footer = ''] = edges.split('|');
    const files = await Promise.all(texts.map((text) => this.content(text)));
    const both = { header: await this.content(header), footer: await this.content(footer) };
    const ops: NewOp[] = [{ op: 'edges', path, ...both }];
    return texts.length > 0 ? [...ops, { op: 'split', path, files, inherits: true }] : ops;
  }

  async append(path: string, text: string): Promise<NewOp> {
    return { op: 'append', path, content: await this.content(text) };
  }

  async put(base: DirNode | undefined, ...ops: NewOp[]): Promise<DirNode> {
    const run = await writeRun(
      this.storage,
      ops.map((op, seq) => ({ ...op, seq }) as RunOp),
      wait,
    );
    this.ordinal += 1;
    return this.trees.apply(base, [run], { ...wait, ordinal: this.ordinal, mode: 'put' });
  }

  async merge(base: DirNode | undefined, ...ops: RunOp[]): Promise<DirNode> {
    const run = await writeRun(this.storage, ops, wait);
    this.ordinal += 1;
    return this.trees.apply(base, [run], { ...wait, ordinal: this.ordinal, mode: 'merge' });
  }

  async read(content: FileContent): Promise<string> {
    const parts: Buffer[] = [];
    for await (const part of this.storage.read(content, wait)) parts.push(Buffer.from(part));
    return Buffer.concat(parts).toString();
  }

  async show(root: DirNode): Promise<string[]> {
    const lines: string[] = [];
    let bytes = 0;
    for await (const { path, node } of this.trees.walk(root, '', wait)) {
      if (node.type === 'dir') continue;
      const text = await this.read(node);
      expect(text.length).toBe(node.size);
      bytes += text.length;
      lines.push(`${path.replace(/0{14}/, '')}=${text}`);
    }
    expect(root.size).toBe(bytes);
    return lines;
  }

  async dir(root: DirNode, path: string): Promise<DirNode> {
    return (await this.trees.lookup(root, path, wait)) as DirNode;
  }
}

const failure = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'no error',
    (error: unknown) => messageOf(error),
  );

describe('headers and footers of directories', () => {
  it('surround the files of splits with a header, also after later ones replaced them', async () => {
    const bench = new Bench();
    const first = await bench.put(undefined, ...(await bench.framed('/d', 'H|F', 'a', 'b')));
    expect(await bench.show(first)).toEqual(['/d/00=HaF', '/d/01=HbF']);
    const plain: NewOp = { op: 'split', path: '/d', files: [await bench.content('c')] };
    const second = await bench.put(first, plain, await bench.append('/d/0000000000000000', '+'));
    expect(await bench.show(second)).toEqual(['/d/00=Ha+F', '/d/01=HbF', '/d/02=c']);
    const third = await bench.put(second, ...(await bench.framed('/d', 'head', 'x')));
    expect(await bench.show(third)).toEqual([
      '/d/00=heada+',
      '/d/01=headb',
      '/d/02=c',
      '/d/03=headx',
    ]);
    const only = await bench.put(first, ...(await bench.framed('/d', 'h|f')));
    expect(await bench.show(only)).toEqual(['/d/00=haf', '/d/01=hbf']);
  });

  it('change the hash of every file that shows them, and of no other', async () => {
    const bench = new Bench();
    const plain: NewOp = { op: 'split', path: '/d', files: [await bench.content('c')] };
    const a = await bench.put(undefined, ...(await bench.framed('/d', 'H', 'a', 'b')), plain);
    const b = await bench.put(a, ...(await bench.framed('/d', 'G')));
    const changed: string[] = [];
    for await (const { path } of bench.trees.diff(a, b, wait)) changed.push(path);
    expect(changed).toEqual(['', '/d', '/d/0000000000000000', '/d/0000000000000001']);
    const node = (await bench.trees.lookup(b, '/d/0000000000000000', wait)) as FileNode;
    expect(node.changed).toBe(2);
    // The same header again is no change; the same content made another way has the same hash.
    const again = await bench.put(b, ...(await bench.framed('/d', 'G')));
    expect(again.hash.equals(b.hash)).toBe(true);
    const other = await bench.put(undefined, ...(await bench.framed('/d', 'G', 'a', 'b')), plain);
    expect(other.hash.equals(b.hash)).toBe(true);
    const bare = await bench.put(undefined, {
      op: 'split',
      path: '/d',
      files: await Promise.all(['Ga', 'Gb', 'c'].map((text) => bench.content(text))),
    });
    expect(bare.hash.equals(b.hash)).toBe(false);
  });

  it('diff many files behind one changed header', async () => {
    const bench = new Bench();
    const texts = Array.from({ length: 3000 }, (_unused, n) => `line ${n}\n`);
    const a = await bench.put(undefined, ...(await bench.framed('/d', 'H\n', ...texts)));
    const b = await bench.put(a, ...(await bench.framed('/d', 'G\n')));
    let files = 0;
    for await (const { a: old, b: fresh } of bench.trees.diff(a, b, wait)) {
      if (old?.type === 'file' && fresh?.type === 'file') files += 1;
    }
    expect(files).toBe(3000);
    for await (const batch of bench.trees.globBatches(b, '/d/*', wait)) {
      for (let i = 0; i < batch.length; i += 97) {
        const found = await bench.trees.lookup(b, batch.path(i), wait);
        expect([batch.node(i), batch.size(i)]).toEqual([found, found?.size]);
      }
      files -= batch.length;
    }
    expect(files).toBe(0);
    expect((await bench.dir(b, '/d')).edges?.files).toBe(3000);
    const c = await bench.put(b, { op: 'deleteGlob', path: '/d/*[0-7]' } as NewOp);
    expect((await bench.dir(c, '/d')).edges?.files).toBe(c.files);
    expect(c.files).toBeLessThan(3000);
    await bench.show(c);
  });

  it('can not be given to a directory that exists without', async () => {
    const bench = new Bench();
    const text =
      'could not put header/footer in directory at "/d" as it was not initialized with a ' +
      'header/footer, and headers/footers cannot be added after creation';
    const base = await bench.put(undefined, await bench.append('/d/x', '1'));
    const framed = await bench.framed('/d', 'H', 'a');
    expect(await failure(bench.put(base, ...framed))).toBe(text);
    const put = bench.put(undefined, await bench.append('/d/sub/x', '1'), ...framed);
    expect(await failure(put)).toBe(text);
    const onFile = bench.put(undefined, await bench.append('/d', '1'), ...framed);
    expect(await failure(onFile)).toBe('the file at "/d" is not a directory');
    const fresh = await bench.put(base, { op: 'delete', path: '/d' }, ...framed);
    expect(await bench.show(fresh)).toEqual(['/d/00=Ha']);
  });

  it('travel with copies of the directory; copies onto another keep their bytes', async () => {
    const bench = new Bench();
    const base = await bench.put(
      undefined,
      ...(await bench.framed('/d', 'H|F', 'a', 'b')),
      ...(await bench.framed('/e', 'h', 'x')),
      await bench.append('/p/q', '1'),
    );
    const graft = async (from: string, to: string): Promise<NewOp> => {
      const node = (await bench.trees.lookup(base, from, wait)) as TreeNode;
      return { op: 'graft', path: to, node };
    };
    const copied = await bench.put(base, await graft('/d', '/c/d'));
    expect((await bench.show(copied)).slice(0, 2)).toEqual(['/c/d/00=HaF', '/c/d/01=HbF']);
    const dir = await bench.dir(copied, '/c/d');
    expect(dir.hash.equals((await bench.dir(base, '/d')).hash)).toBe(true);

    const onto = await bench.put(base, await graft('/d', '/p'), await graft('/e', '/d'));
    expect(await bench.show(onto)).toEqual([
      '/d/00=HahxF',
      '/d/01=HbF',
      '/e/00=hx',
      '/p/00=HaF',
      '/p/01=HbF',
      '/p/q=1',
    ]);
    expect((await bench.dir(onto, '/p')).edges).toBeUndefined();
    const late = await bench.put(
      undefined,
      await bench.append('/n/q', '1'),
      await graft('/d', '/n'),
    );
    expect(await bench.show(late)).toEqual(['/n/00=HaF', '/n/01=HbF', '/n/q=1']);
    const one = await bench.put(base, await graft('/d/0000000000000000', '/one'));
    expect(await bench.read((await bench.trees.lookup(one, '/one', wait)) as FileNode)).toBe('HaF');
    const whole = await bench.content('HaF');
    expect((await bench.trees.lookup(one, '/one', wait))?.hash.equals(whole.hash)).toBe(true);
  });

  it('travel through outputs of jobs', async () => {
    const bench = new Bench();
    const base = await bench.put(undefined, ...(await bench.framed('/d', 'H|F', 'a', 'b')));
    const node = decodeNode(encodeNode(await bench.dir(base, '/d')));
    const file = (await bench.trees.lookup(base, '/d/0000000000000001', wait)) as FileNode;
    expect(decodeNode(encodeNode(file))).toEqual(file);
    const content = await bench.content('+');
    const out = await bench.merge(
      undefined,
      { op: 'graft', path: '/o', seq: 0, node },
      { op: 'append', path: '/o/new', seq: 1, content },
    );
    expect(await bench.show(out)).toEqual(['/o/00=HaF', '/o/01=HbF', '/o/new=+']);
    const both = await bench.merge(
      undefined,
      { op: 'graft', path: '/o', seq: 0, node },
      { op: 'append', path: '/o/0000000000000000', seq: 1, content },
      { op: 'graft', path: '/f', seq: 1, node: decodeNode(encodeNode(file)) },
    );
    expect(await bench.show(both)).toEqual(['/f=HbF', '/o/00=HaF+', '/o/01=HbF']);
  });

  it('are kept in runs and pages byte for byte', async () => {
    const bench = new Bench();
    const ops = (await bench.framed('/d', 'H|F', 'a', 'b')).map(
      (op, seq) => ({ ...op, seq }) as RunOp,
    );
    const run = await writeRun(bench.storage, ops, wait);
    const read: RunOp[] = [];
    for await (const op of readRun(bench.storage, run, wait)) read.push(op);
    expect(read).toEqual(ops);
  });
});

describe('names of splits', () => {
  it('go on after the highest that is there, also when a glob took the last ones', async () => {
    const bench = new Bench();
    const split = async (...texts: string[]): Promise<NewOp> => {
      const files = await Promise.all(texts.map((text) => bench.content(text)));
      return { op: 'split', path: '/d', files };
    };
    const glob: NewOp = { op: 'deleteGlob', path: '/d/*1' };
    const root = await bench.put(undefined, await split('a', 'b'), glob, await split('c'));
    expect(await bench.show(root)).toEqual(['/d/00=a', '/d/01=c']);
  });
});

describe('changes of directories with headers', () => {
  const names = fc.constantFrom('0000000000000000', '0000000000000001', 'f');
  const dirs = fc.constantFrom('/a', '/b', '/a/a');
  const word = fc.oneof(
    fc.record({ op: fc.constant('framed'), dir: dirs, text: fc.constantFrom('H|', 'G|F', 'I|') }),
    fc.record({ op: fc.constantFrom('split', 'edges', 'delete'), dir: dirs, text: names }),
    fc.record({ op: fc.constantFrom('append', 'set', 'remove'), dir: dirs, text: names }),
    fc.record({ op: fc.constant('glob'), dir: dirs, text: fc.constantFrom('*0', '*1', 'f') }),
    fc.record({ op: fc.constant('graft'), dir: dirs, text: fc.constantFrom('/s', '/t') }),
  );
  type Word = { readonly op: string; readonly dir: string; readonly text: string };

  async function opsOf(bench: Bench, source: DirNode, { op, dir, text }: Word): Promise<NewOp[]> {
    const path = `${dir}/${text}`;
    switch (op) {
      case 'framed':
        return bench.framed(dir, text, 'x', 'y');
      case 'edges':
        return bench.framed(dir, 'E|e');
      case 'split':
        return [{ op: 'split', path: dir, files: [await bench.content('z')] }];
      case 'append':
      case 'set':
        return [{ op, path, content: await bench.content('+') }];
      case 'remove':
        return [{ op: 'delete', path }];
      case 'delete':
        return [{ op: 'delete', path: dir }];
      case 'glob':
        return [{ op: 'deleteGlob', path }];
      default:
        return [{ op: 'graft', path: dir, node: await bench.dir(source, text) }];
    }
  }

  it('are the same in one go or step by step, and count what inherits', async () => {
    const bench = new Bench();
    const source = await bench.put(
      undefined,
      ...(await bench.framed('/s', 'H|', 'x', 'p')),
      ...(await bench.framed('/t', 'T|t', 'q')),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 8 }), async (words) => {
        const groups: NewOp[][] = [];
        for (const each of words) groups.push(await opsOf(bench, source, each));
        let stepwise: DirNode | undefined;
        const failed = await failure(
          (async () => {
            for (const ops of groups) stepwise = await bench.put(stepwise, ...ops);
          })(),
        );
        if (failed !== 'no error') return;
        const atOnce = await bench.put(undefined, ...groups.flat());
        const lines = await bench.show(atOnce);
        expect(stepwise ? await bench.show(stepwise) : []).toEqual(lines);
        expect((stepwise ?? bench.trees.empty).hash.equals(atOnce.hash)).toBe(true);
        for await (const { node, path } of bench.trees.walk(atOnce, '', wait)) {
          if (node.type !== 'dir') continue;
          let inheriting = 0;
          for await (const child of bench.trees.list(atOnce, path, wait)) {
            if (child.node.type === 'file' && child.node.edges) inheriting += 1;
          }
          expect(node.edges?.files ?? 0).toBe(inheriting);
        }
      }),
      { numRuns: 300 },
    );
  });
});
