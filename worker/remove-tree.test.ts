import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { childOf, removeTree } from './remove-tree.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'remove-'));
});
afterEach(() => removeTree(dir));

/** Directories in directories, `depth` of them, with a file in the last. */
function deepTree(at: string, depth: number): void {
  const name = 'd'.repeat(200);
  const down = `for i in $(seq ${depth}); do mkdir ${name}; cd ${name}; done; echo x > f; chmod 0 .`;
  execFileSync('sh', ['-c', `mkdir -p "$1"; cd "$1"; ${down}`, 'sh', at]);
}

it('removes files, trees, and what is not there', () => {
  writeFileSync(join(dir, 'file'), 'x');
  deepTree(join(dir, 'tree'), 3);
  for (const name of ['file', 'tree', 'none']) removeTree(join(dir, name));
  expect(readdirSync(dir)).toEqual([]);
});

it('removes directories that no path leads to, also below a name that is no text', () => {
  const name = Buffer.from([0x78, 0xff]);
  execFileSync('sh', ['-c', 'mkdir "$1/$(printf "x\\377")"', 'sh', dir]);
  expect(readdirSync(dir, { encoding: 'buffer' })).toEqual([name]);
  execFileSync('sh', ['-c', 'cd "$1"/x*; mkdir a; cd a; mkdir b', 'sh', dir]);
  deepTree(join(dir, 'y'), 40);
  execFileSync('sh', ['-c', 'mv "$1/y" "$1"/x*/a/b/', 'sh', dir]);
  removeTree(childOf(dir, name));
  expect(readdirSync(dir)).toEqual([]);
  deepTree(join(dir, 'z'), 40);
  removeTree(dir);
  expect(existsSync(dir)).toBe(false);
});
