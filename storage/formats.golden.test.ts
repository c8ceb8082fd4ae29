/**
 * Encoded records that must never change (docs/formats/tree.md, docs/formats/run.md). A difference
 * here is a new format version, not a new golden file.
 */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { codeOf } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { sha256 } from '../core/sha256.js';
import { EMPTY_CONTENT } from './content.js';
import { decodePieceList, encodePieceList } from './content-format.js';
import { endsPage, keyHash } from './page-boundary.js';
import {
  decodeNode,
  encodeNode,
  readRun,
  SortedMap,
  Storage,
  writeRun,
  type DirNode,
  type FileContent,
  type FileNode,
  type Piece,
  type RunOp,
} from './index.js';
import { MemoryStore } from './memory-store.js';

const FILE = new URL('./golden/formats.json', import.meta.url);
const golden = JSON.parse(readFileSync(FILE, 'utf8')) as Record<string, string>;
const wait = { signal: new AbortController().signal };

/** A new record is added to the file by hand, with the text that this shows. */
function check(name: string, value: string): void {
  expect(value).toBe(golden[name]);
}

const piece = (n: number, kind: 'c' | 'p'): Piece => {
  const hash = sha256(`piece ${n}`);
  const digest = kind === 'c' ? hash : sha256(`pack ${n % 2}`);
  return {
    hash,
    size: 1000 + n,
    location: { kind, epoch: 2, digest, offset: kind === 'c' ? 0 : n * 300 },
  };
};
const content = (...pieces: Piece[]): FileContent => {
  const size = pieces.reduce((total, each) => total + each.size, 0);
  if (pieces.length === 1) return { size, hash: (pieces[0] as Piece).hash, pieces };
  return { size, hash: sha256(`content of ${pieces.length}`), pieces };
};
const many = Array.from({ length: 20 }, (_unused, n) => piece(n, 'c'));

const grafted: RunOp = {
  op: 'graft',
  path: '/grafted',
  seq: 6,
  node: { type: 'file', changed: 0x0102030405, ...content(piece(5, 'p')) },
};
const ops: readonly RunOp[] = [
  { op: 'append', path: '/dir/packed', seq: 0, content: content(piece(1, 'p')) },
  { op: 'set', path: '/dir/pieces', seq: 1, content: content(piece(2, 'p'), piece(3, 'c')) },
  { op: 'append', path: '/dir.txt', seq: 2, content: EMPTY_CONTENT },
  { op: 'mkdir', path: '/empty', seq: 3 },
  { op: 'append', path: '/large', seq: 4, content: content(...many) },
  { op: 'split', path: '/é', seq: 5, files: [content(piece(6, 'p')), content(piece(7, 'p'))] },
  grafted,
  { op: 'delete', path: '/gone', seq: 7 },
  { op: 'delete', path: '/dir/gone', seq: 8, prune: true },
  { op: 'truncate', path: '/dir.txt', seq: 9, keep: 3 },
  { op: 'deleteGlob', path: '/old/*.csv', seq: 300 },
];

async function openObjects(): Promise<{ storage: Storage; objects: MemoryStore }> {
  const objects = new MemoryStore();
  const storage = new Storage(objects, { epoch: 2, log: silentLog, clock: systemClock });
  return Promise.resolve({ storage, objects });
}

/** Every object of the store: key and sha256 of the stored bytes are one, so keys say it all. */
async function keys(objects: MemoryStore): Promise<string> {
  const found: string[] = [];
  for await (const { key, size } of objects.list('', wait)) found.push(`${key} ${size}`);
  return found.join('\n');
}

describe('golden bytes', () => {
  it('run', async () => {
    const { storage } = await openObjects();
    const run = await writeRun(storage, ops, wait);
    const bytes = (run as { inline: Buffer }).inline;
    check('run', bytes.toString('hex'));
    const read: RunOp[] = [];
    for await (const op of readRun(
      storage,
      { inline: Buffer.from(golden['run'] ?? '', 'hex') },
      wait,
    )) {
      read.push(op);
    }
    const byPath = [10, 8, 0, 1, 2, 9, 3, 7, 6, 4, 5].map((index) => ops[index]);
    expect(read).toEqual(byPath);
  });

  it('page, node, piece list', async () => {
    const { storage, objects } = await openObjects();
    const { trees } = storage;
    const run = await writeRun(storage, ops, wait);
    const root = await trees.apply(undefined, [run], {
      ...wait,
      ordinal: 0x18abcdef0123,
      mode: 'put',
    });
    const page = await storage.getObject((root.root as { page: never }).page, wait);
    check('page', page.toString('hex'));
    check('tree hash', root.hash.toString('hex'));
    check('node of a commit', encodeNode(root).toString('hex'));
    const dir = (await trees.lookup(root, '/dir', wait)) as DirNode;
    check('node of a small directory', encodeNode(dir).toString('hex'));
    const file = await trees.lookup(root, '/large', wait);
    check('node of a file', encodeNode(file as never).toString('hex'));
    expect(decodeNode(Buffer.from(golden['node of a commit'] ?? '', 'hex'))).toEqual(root);
    expect(decodeNode(Buffer.from(golden['node of a small directory'] ?? '', 'hex'))).toEqual(dir);
    check('piece list', encodePieceList(many).toString('hex'));
    expect(decodePieceList(Buffer.from(golden['piece list'] ?? '', 'hex'))).toEqual(many);
    check('objects of the tree', await keys(objects));
  });

  it('large directory: boundaries and index pages', async () => {
    const { storage, objects } = await openObjects();
    const files = Array.from({ length: 6000 }, (_unused, n): RunOp => {
      const hash = sha256(String(n));
      const location = { kind: 'p' as const, epoch: 2, digest: sha256('pack'), offset: n * 10 };
      const only = { size: 10, hash, pieces: [{ hash, size: 10, location }] };
      return { op: 'append', path: `/many/file-${n}`, seq: n, content: only };
    });
    const run = await writeRun(storage, files, wait);
    const root = await storage.trees.apply(undefined, [run], { ...wait, ordinal: 5, mode: 'put' });
    check('large tree hash', root.hash.toString('hex'));
    check('objects of the large tree', await keys(objects));
  });

  it('headers and footers', async () => {
    const { storage } = await openObjects();
    const wide: RunOp[] = [
      { op: 'edges', path: '/d', seq: 0, header: content(piece(1, 'p')), footer: EMPTY_CONTENT },
      { op: 'split', path: '/d', seq: 1, files: [content(piece(6, 'p'))], inherits: true },
    ];
    const run = await writeRun(storage, wide, wait);
    check('run with a header', (run as { inline: Buffer }).inline.toString('hex'));
    const root = await storage.trees.apply(undefined, [run], { ...wait, ordinal: 9, mode: 'put' });
    check('tree hash with a header', root.hash.toString('hex'));
    const dir = (await storage.trees.lookup(root, '/d', wait)) as DirNode;
    check('node of a directory with a header', encodeNode(dir).toString('hex'));
    const file = await storage.trees.lookup(root, '/d/0000000000000000', wait);
    check('node of a file with a header', encodeNode(file as never).toString('hex'));
    const hash = sha256('source');
    const location = { kind: 'x', epoch: 2, digest: sha256('blob'), offset: 0 } as const;
    const pieces = [{ hash, size: 7, location }];
    const linked: FileNode = { type: 'file', changed: 9, size: 7, hash, pieces };
    check('node of a linked file', encodeNode(linked).toString('hex'));
    expect(decodeNode(encodeNode(linked))).toEqual(linked);
    const known = golden['node of a file with a header'] ?? '';
    expect(decodeNode(Buffer.from(known, 'hex'))).toEqual(file);
  });

  it('sorted map', async () => {
    const { storage, objects } = await openObjects();
    const entries = Array.from({ length: 3000 }, (_unused, n) => ({
      key: Buffer.from(`key ${String(n).padStart(5, '0')}`),
      value: Buffer.from(`value ${n}`.repeat(5)),
    }));
    const map = await SortedMap.build(storage, entries, wait);
    check('map', map.toText());
    check('objects of the map', await keys(objects));
  });

  it('boundary rule', () => {
    const hashes = ['', 'a', 'name', '\xff\x00'].flatMap((key) => [
      keyHash(key, 0),
      keyHash(key, 3),
    ]);
    check('key hashes', hashes.join(' '));
    expect(endsPage('x', 0, 100, 2 ** 14 - 1)).toBe(false);
    expect(endsPage('x', 0, 100, 2 ** 19)).toBe(true);
  });
});

describe('bytes that are not ours', () => {
  it('are CORRUPT_DATA, whatever is cut off or changed', async () => {
    const { storage } = await openObjects();
    const node = Buffer.from(golden['node of a small directory'] ?? '', 'hex');
    const codes = new Set<string>();
    for (let length = 0; length < node.length; length += 1) {
      try {
        decodeNode(node.subarray(0, length));
      } catch (error) {
        codes.add(codeOf(error));
      }
    }
    const newer = Buffer.from(node);
    newer[1] = 2;
    expect(() => decodeNode(newer)).toThrow('newer release');
    const run = Buffer.from(golden['run'] ?? '', 'hex');
    for (let at = 0; at < run.length; at += 1) {
      const changed = Buffer.from(run);
      changed[at] = (changed[at] as number) ^ 0x41;
      try {
        const read = readRun(storage, { inline: changed }, wait);
        while (!(await read.next()).done);
      } catch (error) {
        codes.add(codeOf(error));
      }
    }
    expect([...codes]).toEqual(['CORRUPT_DATA']);
  });
});
