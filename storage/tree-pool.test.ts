import { build } from 'esbuild';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { codeOf, messageOf } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import {
  isSharedEntry,
  openStorage,
  selectionOf,
  writeRun,
  type RunOp,
  type Storage,
} from './index.js';
import { until } from '../test/support/until.js';
import { TreePool } from './tree-pool.js';

const signal = new AbortController().signal;
let base = '';
let url = '';
let storage: Storage;

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'tusk-tree-pool-'));
  url = `dir://${join(base, 'objects')}`;
  storage = await openStorage({ url, epoch: 1, log: silentLog, clock: systemClock });
  await build({
    entryPoints: [fileURLToPath(new URL('./tree-thread.ts', import.meta.url))],
    outfile: join(base, 'tree-thread.cjs'),
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    external: ['@aws-sdk/*'],
    logLevel: 'error',
    define: { 'import.meta.url': '""' },
  });
});
afterAll(async () => {
  await storage[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

const open = (restMs?: number): TreePool =>
  new TreePool(join(base, 'tree-thread.cjs'), { url }, silentLog, () => 1, restMs);

async function appends(count: number, path: (n: number) => string): Promise<RunOp[]> {
  const writer = storage.newWriter({ signal });
  const content = await writer.writeBytes(Buffer.from('text'));
  await writer.flush({ signal });
  return Array.from({ length: count }, (_unused, n): RunOp => ({
    op: 'append',
    path: path(n),
    seq: n,
    content,
  }));
}

describe('TreePool', () => {
  it('makes the same tree as in place, and passes on failures', async () => {
    await using pool = open();
    const run = await writeRun(storage, await appends(5000, (n) => `/d${n % 7}/f${n}`), { signal });
    const options = { signal, ordinal: 3, mode: 'put' as const };
    const here = await storage.trees.apply(undefined, [run], options);
    // Callers hand on what they have: here a controller's extras, which no thread can be sent.
    const more = Object.assign({ abort: () => undefined }, options);
    const there = await pool.apply(undefined, [run], more);
    expect(there).toEqual(here);
    const select = selectionOf([[1, 1]]);
    const merge = { ...options, mode: 'merge' as const };
    const one = await pool.apply(undefined, [{ run, select }], merge);
    expect(one.files).toBe(1);
    const clash = await pool.apply(one, [{ run, select }], merge).catch((error: unknown) => error);
    expect(isSharedEntry(clash)).toBe(true);
    const below = await writeRun(storage, await appends(1, () => '/d1/f1/x'), { signal });
    const refused = await pool.apply(here, [below], options).catch((error: unknown) => error);
    expect([codeOf(refused), messageOf(refused)]).toEqual([
      'STATE_CONFLICT',
      'attempted to visit "/d1/f1/x", but it\'s not a directory',
    ]);
  });

  it('lets its thread go when nobody has needed it for a while, and starts it again', async () => {
    await using pool = open(1);
    const run = await writeRun(storage, await appends(10, (n) => `/f${n}`), { signal });
    const options = { signal, ordinal: 3, mode: 'put' as const };
    for (let round = 0; round < 3; round += 1) {
      const both = [1, 2].map(() => pool.apply(undefined, [run], options));
      expect(pool.running).toBe(true);
      expect((await Promise.all(both)).map(({ files }) => files)).toEqual([10, 10]);
      await until('the thread is gone', () => !pool.running);
    }
  });

  it('stops when it is cancelled, and starts again after its thread died', async () => {
    await using pool = open();
    const run = await writeRun(storage, await appends(20_000, (n) => `/d${n}/f`), { signal });
    const options = { ordinal: 3, mode: 'put' as const };
    const control = new AbortController();
    const cancelled = pool.apply(undefined, [run], { ...options, signal: control.signal });
    control.abort(new Error('enough'));
    await expect(cancelled).rejects.toThrow('enough');
    const lost = pool.apply(undefined, [run], { ...options, signal });
    await pool.terminateThread();
    expect(codeOf(await lost.catch((error: unknown) => error))).toBe('UNAVAILABLE');
    expect((await pool.apply(undefined, [run], { ...options, signal })).files).toBe(20_000);
  });
});
