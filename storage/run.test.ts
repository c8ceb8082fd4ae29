import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { codeOf } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { sha256 } from '../core/sha256.js';
import {
  readRun,
  runFromText,
  runObjects,
  runToText,
  RunWriter,
  Storage,
  writeRun,
} from './index.js';
import type { FileContent, RunOp, RunRef } from './index.js';
import { MemoryStore } from './memory-store.js';

const wait = { signal: new AbortController().signal };

function open(): { storage: Storage; objects: MemoryStore } {
  const objects = new MemoryStore();
  return {
    objects,
    storage: new Storage(objects, { epoch: 1, log: silentLog, clock: systemClock }),
  };
}

function content(n: number): FileContent {
  const hash = sha256(String(n));
  const location = { kind: 'p' as const, epoch: 1, digest: sha256('pack'), offset: n };
  return { size: 10, hash, pieces: [{ hash, size: 10, location }] };
}

const append = (path: string, seq: number): RunOp => ({
  op: 'append',
  path,
  seq,
  content: content(seq),
});

async function all(storage: Storage, run: RunRef): Promise<RunOp[]> {
  const ops: RunOp[] = [];
  for await (const op of readRun(storage, run, wait)) ops.push(op);
  return ops;
}

/** The run as text: comparing 10^5 objects one by one takes very long. */
async function lines(storage: Storage, run: RunRef): Promise<string> {
  const ops = await all(storage, run);
  return ops
    .map(
      (op) => `${op.path} ${op.seq} ${op.op === 'append' ? op.content.hash.toString('hex') : ''}`,
    )
    .join('\n');
}

describe('runs', () => {
  it('sort by path in tree order, then seq, and travel as text', async () => {
    const { storage } = open();
    const run = await writeRun(
      storage,
      [append('/b.x', 1), append('/b/c', 2), append('/a', 3), append('/b.x', 0)],
      wait,
    );
    expect('inline' in run).toBe(true);
    const same = runFromText(runToText(run));
    const found = await all(storage, same);
    expect(found.map((op) => [op.path, op.seq])).toEqual([
      ['/a', 3],
      ['/b/c', 2],
      ['/b.x', 0],
      ['/b.x', 1],
    ]);
    expect(found[0]).toEqual(append('/a', 3));
    expect(await all(storage, await writeRun(storage, [], wait))).toEqual([]);
  });

  it('may be larger than memory: parts, read through windows', async () => {
    const { storage, objects } = open();
    const ops = Array.from({ length: 60_000 }, (_unused, n) =>
      append(`/d/${(n * 7919) % 60_000}`, n),
    );
    const whole = await writeRun(storage, ops, wait);
    let flushed = 0;
    const flush = async (): Promise<void> => {
      flushed += 1;
      await Promise.resolve();
    };
    const writer = new RunWriter(storage, { ...wait, flush, partBytes: 5_000_000 });
    for (const op of ops) await writer.add(op);
    const parted = await writer.finish();
    expect(flushed).toBeGreaterThan(2);
    expect((await runObjects(storage, parted, wait)).length).toBe(flushed + 2);
    const before = objects.calls.get;
    expect(await lines(storage, parted)).toBe(await lines(storage, whole));
    // The whole run alone takes several windows.
    expect(objects.calls.get - before).toBeGreaterThanOrEqual(3);
    const options = { ...wait, ordinal: 1, mode: 'put' as const };
    const one = await storage.trees.apply(undefined, [whole], options);
    const two = await storage.trees.apply(undefined, [parted], options);
    expect(two).toEqual(one);
  });

  it('are refused when a path is not canonical or bytes are missing', async () => {
    const { storage, objects } = open();
    for (const path of ['a', '/a/', '//a', '/a\0b', '/']) {
      const failed = await writeRun(storage, [append(path, 0)], wait).catch((e: unknown) => e);
      expect(codeOf(failed)).toBe('INVALID_INPUT');
    }
    const ops = Array.from({ length: 1000 }, (_unused, n) => append(`/${n}`, n));
    const run = await writeRun(storage, ops, wait);
    if ('inline' in run) throw new Error('expected an object');
    const bytes = await storage.getObject(run.object, wait);
    const cut = { inline: Buffer.from(bytes.subarray(0, bytes.length - 10)) };
    expect(codeOf(await all(storage, cut).catch((e: unknown) => e))).toBe('CORRUPT_DATA');
    expect(objects.calls.put).toBe(1);
    expect(() => runFromText('page/1/00/3')).toThrow('not an object reference');
  });
});

describe('cost of a change', () => {
  it('is the pages on its way, in a wide and in a deep tree', async () => {
    const { storage, objects } = open();
    const options = { ...wait, ordinal: 1, mode: 'put' as const };
    const wide = Array.from({ length: 50_000 }, (_unused, n) => append(`/w/file-${n}`, n));
    const deep = Array.from({ length: 20_000 }, (_unused, n) =>
      append(`/d${n % 3}/e${n % 5}/f${n % 7}/file-${n}`, n),
    );
    const run = await writeRun(storage, [...wide, ...deep], wait);
    const root = await storage.trees.apply(undefined, [run], options);
    for (const [path, depth] of [
      ['/w/new', 2],
      ['/d1/e1/f1/new', 4],
    ] as const) {
      const cold = new Storage(objects, { epoch: 1, log: silentLog, clock: systemClock });
      const change = await writeRun(cold, [append(path, 0)], wait);
      const before = { ...objects.calls };
      await cold.trees.apply(root, [change], { ...options, ordinal: 2 });
      expect(objects.calls.put - before.put).toBeLessThanOrEqual(2 * depth);
      expect(objects.calls.get - before.get).toBeLessThanOrEqual(2 * depth);
    }
  });
});
