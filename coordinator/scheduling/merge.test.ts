import { describe, expect, it } from 'vitest';
import { sha256 } from '../../core/sha256.js';
import type { DirNode } from '../../storage/types.js';
import type { ManifestMaps, MapDifference } from './manifest-maps.js';
import { mergeOutputs, type Merged, type MergeDeps, type RunPart } from './merge.js';
import type { ManifestHeader } from './model.js';
import { encodeRecord, type DatumRecord } from './record.js';

const wait = { signal: new AbortController().signal };
const OLD = '0190a0b0c0d04abc8def0123456789ab';
const NOW = '0190ffffffff4abc8def0123456789ab';
const ROOT = { type: 'dir' } as unknown as DirNode;

type Change = readonly [before: DatumRecord | undefined, now: DatumRecord | undefined];

function datum(job: string, seq: number, more: Partial<DatumRecord> = {}): DatumRecord {
  const run = `run/0/${sha256(`${job}${seq}`).toString('hex')}/9`;
  const stats = { downloadMs: 0, processMs: 0, uploadMs: 0, downloadBytes: 0, uploadBytes: 0 };
  const base = { id: sha256(`${job}${seq}`), state: 'success' as const, job, task: seq, seq };
  return { ...base, outputs: 1, tries: 1, ...stats, run, ...more };
}

interface Call {
  readonly how: 'update' | 'merge';
  /** Pairs of old and new index, per part. */
  readonly removed: number[][][];
  readonly added: number[][][];
}

interface World {
  readonly changes: readonly Change[];
  /** The whole manifest; keys are a, b, c … */
  readonly live?: readonly DatumRecord[];
  readonly hasMkdir?: boolean;
  /** Storage finds that a path has several authors. */
  readonly shared?: boolean;
  readonly indexes?: Readonly<Record<string, number>>;
  readonly base?: false;
  readonly overwrite?: boolean;
}

async function merge(world: World): Promise<{ merged: Merged; calls: Call[] }> {
  const calls: Call[] = [];
  const pairs = (parts: readonly RunPart[]): number[][][] =>
    parts.map(({ select: { seqs, places = seqs } }) =>
      [...seqs].map((from, at) => [from, places[at] as number]),
    );
  const keyOf = (index: number): Buffer => Buffer.from([97 + index]);
  const maps: Partial<ManifestMaps> = {
    async *diff(): AsyncGenerator<MapDifference> {
      for (const [index, [a, b]] of world.changes.entries()) {
        const before = a ? { a: encodeRecord(a) } : {};
        yield { key: keyOf(index), ...before, ...(b ? { b: encodeRecord(b) } : {}) };
      }
    },
    async *scan() {
      for (const [index, record] of (world.live ?? []).entries()) {
        yield { key: keyOf(index), value: encodeRecord(record) };
      }
    },
  };
  const deps: MergeDeps = {
    maps: maps as ManifestMaps,
    update: async (base, { removed, added }) => {
      calls.push({ how: 'update', removed: pairs(removed), added: pairs(added) });
      return world.shared ? undefined : base;
    },
    merge: async (parts) => {
      calls.push({ how: 'merge', removed: [], added: pairs(parts) });
      return ROOT;
    },
  };
  const header = { map: 'before', hasMkdir: world.hasMkdir ?? false } as ManifestHeader;
  const input = {
    job: NOW,
    map: 'after',
    ...(world.base === false ? {} : { base: { header, output: ROOT } }),
    ...(world.overwrite ? { overwrite: true } : {}),
    indexes: async () => new Map(Object.entries(world.indexes ?? {})),
  };
  return { merged: await mergeOutputs(deps, input, wait), calls };
}

describe('merging outputs', () => {
  it('takes out what vanished, adds what is new, leaves the rest', async () => {
    const { merged, calls } = await merge({
      changes: [
        [datum(OLD, 1), undefined],
        [undefined, datum(NOW, 2)],
        [datum(OLD, 3), datum(NOW, 3)],
        [undefined, datum(NOW, 4, { state: 'failed' })],
        [undefined, datum(NOW, 5, { outputs: 0 })],
      ],
    });
    expect(merged.how).toBe('incremental');
    expect(calls).toEqual([
      { how: 'update', removed: [[[1, 1]], [[3, 3]]], added: [[[2, 2]], [[3, 3]]] },
    ]);
  });

  it('keeps the output as it is when nothing that wrote anything changed', async () => {
    const { merged, calls } = await merge({
      changes: [[undefined, datum(NOW, 0, { outputs: 0 })]],
    });
    expect(merged).toEqual({ root: ROOT, how: 'incremental' });
    expect(calls).toEqual([]);
  });

  it('merges anew where storage finds several authors at one path', async () => {
    const changes: Change[] = [[undefined, datum(NOW, 0)]];
    const { merged, calls } = await merge({ changes, shared: true, live: [datum(NOW, 0)] });
    expect(merged.how).toBe('full');
    expect(calls.map(({ how }) => how)).toEqual(['update', 'merge']);
  });

  it('merges anew for a removal when empty directories may have been made on purpose', async () => {
    const removal = await merge({ changes: [[datum(OLD, 0), undefined]], hasMkdir: true });
    expect(removal.merged.how).toBe('full');
    const addition = await merge({ changes: [[undefined, datum(NOW, 0)]], hasMkdir: true });
    expect(addition.merged.how).toBe('incremental');
  });

  it('merges everything when there is no earlier output', async () => {
    const live = [datum(NOW, 0), datum(NOW, 1)];
    const { merged, calls } = await merge({ changes: [], base: false, live });
    expect(merged.how).toBe('full');
    expect(calls[0]?.added).toEqual([[[0, 0]], [[1, 1]]]);
  });

  it('gives reused outputs their places in this job', async () => {
    const live = [datum(OLD, 7), datum(NOW, 0)];
    const { calls } = await merge({ changes: [], base: false, live, indexes: { a: 1, b: 0 } });
    expect(calls[0]?.added).toEqual([[[7, 1]], [[0, 0]]]);
  });

  it('counts equal outputs of two tasks twice', async () => {
    const run = `run/0/${'ab'.repeat(32)}/9`;
    const live = [datum(NOW, 0, { run, task: 1 }), datum(NOW, 0, { run, task: 2 })];
    const { calls } = await merge({ changes: [], base: false, live });
    expect(calls[0]?.added).toEqual([[[0, 0]], [[0, 0]]]);
    const reused = live.map((record) => ({ ...record, job: OLD }));
    const indexes = { a: 4, b: 2 };
    const placed = await merge({ changes: [], base: false, live: reused, indexes });
    expect(placed.calls[0]?.added).toEqual([[[0, 4]], [[0, 2]]]);
  });

  it('takes what tasks have in one run as one part, unless the last one counts', async () => {
    const run = `run/0/${'cd'.repeat(32)}/9`;
    const live = [5, 3, 4].map((seq) => datum(NOW, seq, { run, task: seq }));
    const { calls } = await merge({ changes: [], base: false, live });
    expect(calls[0]?.added).toEqual([
      [
        [3, 3],
        [4, 4],
        [5, 5],
      ],
    ]);
    const last = await merge({ changes: [], base: false, live, overwrite: true });
    expect(last.calls[0]?.added).toEqual([[[3, 3]], [[4, 4]], [[5, 5]]]);
  });

  it('keeps many datums of a run', async () => {
    const run = `run/0/${'ef'.repeat(32)}/9`;
    const live = Array.from({ length: 100 }, (_, seq) => datum(OLD, 99 - seq, { run }));
    const indexes = Object.fromEntries(live.map((_, at) => [String.fromCharCode(97 + at), at]));
    const { calls } = await merge({ changes: [], base: false, live, indexes });
    const expected = Array.from({ length: 100 }, (_, seq) => [seq, 99 - seq]);
    expect(calls[0]?.added).toEqual([expected]);
  });
});
