import { describe, expect, it } from 'vitest';
import { sha256 } from '../../core/sha256.js';
import type { DirNode, FileNode, RunOp, TreeNode } from '../../storage/types.js';
import type { ManifestMaps, MapDifference } from './manifest-maps.js';
import { findDelta, mergeOutputs, type MergeDeps, type RunPart } from './merge.js';
import type { ManifestHeader } from './model.js';
import { encodeRecord, type DatumRecord } from './record.js';

const wait = { signal: new AbortController().signal };
const OLD = '0190a0b0c0d04abc8def0123456789ab';
const NOW = '0190ffffffff4abc8def0123456789ab';
const ROOT = { type: 'dir', files: 1 } as unknown as DirNode;

/** A world of datums that each wrote some paths; a run is named by what is in it. */
class World {
  readonly #runs = new Map<string, RunOp[]>();
  readonly #output = new Map<string, TreeNode>();
  readonly calls: { how: 'remove' | 'merge'; parts: readonly RunPart[] }[] = [];
  hasMkdir = false;

  /** Record of a datum that ran in `job` and wrote `ops`. */
  datum(job: string, seq: number, ops: readonly (string | RunOp)[]): DatumRecord {
    const run = `run/0/${sha256(`${job}${seq}`).toString('hex')}/9`;
    this.#runs.set(
      run,
      ops.map((op) => (typeof op === 'string' ? append(op, seq) : { ...op, seq })),
    );
    const stats = { downloadMs: 0, processMs: 0, uploadMs: 0, downloadBytes: 0, uploadBytes: 0 };
    const base = { id: sha256(`${job}${seq}`), state: 'success' as const, job, task: seq, seq };
    return { ...base, outputs: ops.length, tries: 1, ...stats, run };
  }

  has(path: string, more: Partial<FileNode> = {}): void {
    this.#output.set(path, { ...file(path), ...more });
  }

  deps(
    changes: readonly (readonly [DatumRecord | undefined, DatumRecord | undefined])[],
    live: readonly DatumRecord[] = [],
  ): MergeDeps {
    const maps: Partial<ManifestMaps> = {
      async *diff(): AsyncGenerator<MapDifference> {
        for (const [a, b] of changes) {
          yield {
            key: Buffer.from('k'),
            ...(a ? { a: encodeRecord(a) } : {}),
            ...(b ? { b: encodeRecord(b) } : {}),
          };
        }
      },
      async *scan() {
        for (const [i, record] of live.entries()) {
          yield { key: Buffer.from([i]), value: encodeRecord(record) };
        }
      },
    };
    return {
      maps: maps as ManifestMaps,
      lookup: async (_root, path) => this.#output.get(path),
      readRun: (run) => each(this.#runs.get(run) ?? []),
      remove: async (root, parts) => this.#call('remove', parts, root),
      merge: async (base, parts) => this.#call('merge', parts, base ?? ROOT),
    };
  }

  input(indexes: ReadonlyMap<string, number> = new Map()) {
    const header = { map: 'before', hasMkdir: this.hasMkdir } as ManifestHeader;
    return {
      job: NOW,
      map: 'after',
      base: { header, output: ROOT },
      indexes: async () => indexes,
    };
  }

  #call(how: 'remove' | 'merge', parts: readonly RunPart[], root: DirNode): DirNode {
    this.calls.push({ how, parts });
    return root;
  }
}

function file(path: string): FileNode {
  return { type: 'file', size: 1, hash: sha256(path), pieces: [], changed: 0 };
}

function append(path: string, seq: number): RunOp {
  return { op: 'append', path, seq, content: { size: 1, hash: sha256(path), pieces: [] } };
}

async function* each<T>(list: readonly T[]): AsyncGenerator<T> {
  yield* list;
}

async function how(
  world: World,
  changes: readonly (readonly [DatumRecord | undefined, DatumRecord | undefined])[],
): Promise<'incremental' | 'full'> {
  const input = world.input();
  const delta = await findDelta(world.deps(changes), input, input.base, wait);
  return delta ? 'incremental' : 'full';
}

describe('incremental merge', () => {
  it('adds a datum whose paths are new', async () => {
    const world = new World();
    world.has('/old');
    expect(await how(world, [[undefined, world.datum(NOW, 0, ['/new'])]])).toBe('incremental');
  });

  it('takes out the files of a vanished datum', async () => {
    const world = new World();
    world.has('/gone');
    expect(await how(world, [[world.datum(OLD, 0, ['/gone']), undefined]])).toBe('incremental');
  });

  it('replaces the files of a changed datum', async () => {
    const world = new World();
    world.has('/same');
    const change = [world.datum(OLD, 0, ['/same']), world.datum(NOW, 0, ['/same'])] as const;
    expect(await how(world, [change])).toBe('incremental');
  });

  it('merges anew when a new datum writes a path that stays', async () => {
    const world = new World();
    world.has('/both');
    expect(await how(world, [[undefined, world.datum(NOW, 0, ['/both'])]])).toBe('full');
  });

  it('merges anew when a vanished datum shared a path', async () => {
    const world = new World();
    world.has('/both', { shared: true });
    expect(await how(world, [[world.datum(OLD, 0, ['/both']), undefined]])).toBe('full');
  });

  it('merges anew when a vanished output is a directory, or empty directories were made', async () => {
    const world = new World();
    const mkdir: RunOp = { op: 'mkdir', path: '/d', seq: 0 };
    expect(await how(world, [[world.datum(OLD, 0, [mkdir]), undefined]])).toBe('full');
    world.has('/f');
    world.hasMkdir = true;
    expect(await how(world, [[world.datum(OLD, 1, ['/f']), undefined]])).toBe('full');
    expect(await how(world, [[undefined, world.datum(NOW, 0, ['/new'])]])).toBe('incremental');
  });

  it('merges anew when reused outputs of another job meet at a new path', async () => {
    const world = new World();
    const reused = world.datum(OLD, 5, ['/x']);
    const fresh = world.datum(NOW, 0, ['/x']);
    expect(
      await how(world, [
        [undefined, reused],
        [undefined, fresh],
      ]),
    ).toBe('full');
  });
});

describe('full merge', () => {
  it('gives reused outputs their places in this job', async () => {
    const world = new World();
    const records = [world.datum(OLD, 7, ['/x']), world.datum(NOW, 0, ['/x'])];
    const indexes = new Map([
      [String.fromCharCode(0), 1],
      [String.fromCharCode(1), 0],
    ]);
    const { base: _base, ...input } = world.input(indexes);
    const merged = await mergeOutputs(world.deps([], records), input, wait);
    expect(merged.how).toBe('full');
    const selects = world.calls[0]?.parts.map(({ select }) => [...select]);
    expect(selects).toEqual([[[7, 1]], [[0, 0]]]);
  });
});
