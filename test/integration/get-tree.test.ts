/** get file -r: everything in one call equals what the calls for each file give. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Delimiter } from '../../proto/generated/pfs.js';
import type { PfsApi } from '../support/pfs-api.js';
import { sharedPfs } from '../support/shared.js';
import type { Stack } from '../support/stack.js';

let stack: Stack;
let pfs: PfsApi;

sharedPfs((api, made) => {
  [pfs, stack] = [api, made];
});

/** Path below `dir` → content; directories as null. */
function treeOf(dir: string): Record<string, string | null> {
  const found: Record<string, string | null> = {};
  for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' }).sort()) {
    const path = join(dir, name);
    found[name] = statSync(path).isDirectory() ? null : readFileSync(path, 'latin1');
  }
  return found;
}

it('brings small and large, empty and headed files, and empty directories', async () => {
  const repo = await pfs.repo();
  const at = `${repo}@m`;
  const lines = Array.from({ length: 1_500 }, (_, i) => `line ${i}\n`).join('');
  const headed = { delimiter: Delimiter.LINE, headerRecords: 1 };
  await pfs.put(
    at,
    { path: '/split', value: lines, delimiter: Delimiter.LINE },
    { path: '/headed', value: 'head\n1\n2\n3\n', ...headed },
    { path: '/large', value: Buffer.alloc(5_000_000, 'large') },
    { path: '/empty', value: '' },
    { path: '/bare/gone', value: 'x' },
    { path: '/bare/gone', delete: true },
  );
  const get = async (to: string, ...more: string[]): Promise<void> => {
    await stack.tusk(['get', 'file', '-r', `${at}:/`, '-o', join(stack.dir, to), ...more]);
  };
  await get('whole');
  await get('single', '--parallelism', '10');
  const tree = treeOf(join(stack.dir, 'whole'));
  expect(tree).toEqual(treeOf(join(stack.dir, 'single')));
  expect(Object.keys(tree).length).toBe(1_500 + 3 + 2 + 3);
  expect(tree['headed/0000000000000001']).toBe('head\n2\n');
  expect(tree['bare']).toBeNull();
  expect(tree['large']?.length).toBe(5_000_000);

  const one = join(stack.dir, 'one');
  await stack.tusk(['get', 'file', '-r', `${at}:/split/0000000000000007`, '-o', one]);
  expect(readFileSync(one, 'utf8')).toBe('line 7\n');
  const none = ['get', 'file', '-r', `${at}:/none`, '-o', join(stack.dir, 'none')];
  const refused = await stack.tusk(none, { check: false });
  expect(refused.code).not.toBe(0);
  expect(refused.stderr).toContain('file /none not found in repo');
});
