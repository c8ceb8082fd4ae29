import { describe, expect, it } from 'vitest';
import { sha256 } from '../../core/sha256.js';
import { NEVER } from '../../core/signals.js';
import { batchOf } from '../../storage/index.js';
import { compareFiles } from './enumerate.js';
import { FileColumns, sortedOrder } from './file-columns.js';

const wait = { signal: NEVER };
const input = { name: 'in', repo: 'in', branch: 'b', commit: 'c', lazy: false, emptyFiles: false };

interface File {
  readonly path: string;
  readonly size: number;
}

function match({ path, size }: File) {
  const node = { type: 'file' as const, size, hash: sha256(path), pieces: [], changed: 0 };
  return { path, node, captures: [path, path.slice(-1)] };
}

async function columnsOf(batches: readonly (readonly File[])[]): Promise<FileColumns> {
  const columns = new FileColumns(input, { join: ([, last]) => last ?? '' });
  for (const files of batches) columns.add(batchOf(files.map(match)));
  await columns.sort(wait);
  return columns;
}

describe('FileColumns', () => {
  const tree = [
    [{ path: '/a/x', size: 3 }],
    [
      { path: '/b', size: 3 },
      { path: '/c', size: 9 },
    ],
  ];
  it.each([
    ['in path order', tree],
    ['in another order', [...tree, [{ path: '/a!', size: 3 }]]],
    ['with sizes too large for one number', [...tree, [{ path: '/d', size: 2 ** 52 }]]],
    [
      'of falling size',
      [
        [
          { path: '/a', size: 3 },
          { path: '/b', size: 2 },
        ],
        [{ path: '/c', size: 2 }],
      ],
    ],
  ])('orders files %s by size, then path, with their keys', async (_what, batches) => {
    const columns = await columnsOf(batches);
    const places = Array.from({ length: columns.length }, (_, place) => place);
    const files = places.map((place) => columns.at(place));
    expect(files.map(({ path, node }) => ({ path, size: node.size }))).toEqual(
      [...files].sort(compareFiles).map(({ path, node }) => ({ path, size: node.size })),
    );
    expect(files).toHaveLength(batches.flat().length);
    for (const [place, file] of files.entries()) {
      expect(columns.joinKey(place)).toBe(file.path.slice(-1));
      expect(file.joinKey).toBe(file.path.slice(-1));
      expect([columns.groupKey(place), file.groupKey]).toEqual(['', '']);
    }
    expect(() => columns.at(columns.length)).toThrow('out of range');
  });
});

describe('sortedOrder', () => {
  it.each([0, 1, 5, 16_384, 50_001])('sorts %i numbers, keeping equal ones in place', async (n) => {
    const values = Array.from({ length: n }, (_, i) => (i * 7_919) % 1_000);
    const compare = (a: number, b: number): number => (values[a] ?? 0) - (values[b] ?? 0);
    const expected = [...values.keys()].sort((a, b) => compare(a, b) || a - b);
    expect([...(await sortedOrder(n, compare, wait))]).toEqual(expected);
  });

  it('lets other work run and stops with its signal', async () => {
    const stop = new AbortController();
    const sorting = sortedOrder(200_000, (a, b) => b - a, stop);
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(sorting).rejects.toThrow('enough');
  });
});
