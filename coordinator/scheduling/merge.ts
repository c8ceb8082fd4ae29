/**
 * The output of a job: the merge of exactly its datums' outputs.
 *
 * Usually it is made from the output of an earlier job: what vanished is deleted, what is new is
 * added. That is right only while no path is touched twice (contents of several datums at one path
 * are concatenated in datum order, and a part can not be taken out of a concatenation), so it is
 * decided path by path; otherwise everything is merged anew.
 */
import type { DirNode, RunOp, TreeNode, Wait } from '../../storage/types.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { ManifestHeader } from './model.js';
import { decodeRecord, type DatumRecord } from './record.js';

/** A run of which only some datums count. */
export interface RunPart {
  readonly run: string;
  /** Datum index in the job that ran it → place in this job. */
  readonly select: ReadonlyMap<number, number>;
}

export interface MergeDeps {
  readonly maps: ManifestMaps;
  lookup(root: DirNode, path: string, wait: Wait): Promise<TreeNode | undefined>;
  readRun(run: string, wait: Wait): AsyncIterable<RunOp>;
  /** Takes outputs out again, and directories that become empty. */
  remove(root: DirNode, parts: readonly RunPart[], wait: Wait): Promise<DirNode>;
  /** Adds outputs to `base`. Throws INVALID_INPUT when a path is file and directory. */
  merge(base: DirNode | undefined, parts: readonly RunPart[], wait: Wait): Promise<DirNode>;
}

export interface MergeInput {
  readonly job: string;
  /** Map of the job's manifest. */
  readonly map: string;
  /** Earlier manifest with its output, which `map` was made from. */
  readonly base?: { readonly header: ManifestHeader; readonly output: DirNode };
  /** Enumeration index of each datum, by manifest key (latin1). Only asked for when needed. */
  readonly indexes: (wait: Wait) => Promise<ReadonlyMap<string, number>>;
}

export interface Merged {
  readonly root: DirNode;
  readonly how: 'incremental' | 'full';
}

/** Looking up more paths than this costs more than merging anew. */
const CHANGED_OPS_MAX = 50_000;

export async function mergeOutputs(
  deps: MergeDeps,
  input: MergeInput,
  wait: Wait,
): Promise<Merged> {
  if (input.base) {
    const delta = await findDelta(deps, input, input.base, wait);
    if (delta) {
      const { output } = input.base;
      const rest =
        delta.removed.length > 0 ? await deps.remove(output, delta.removed, wait) : output;
      const root = delta.added.length > 0 ? await deps.merge(rest, delta.added, wait) : rest;
      return { root, how: 'incremental' };
    }
  }
  return { root: await mergeAll(deps, input, wait), how: 'full' };
}

export interface Delta {
  /** Outputs of vanished datums; no other datum wrote their paths. */
  readonly removed: readonly RunPart[];
  readonly added: readonly RunPart[];
}

/** What to take out and put in, or undefined when everything must be merged anew. */
export async function findDelta(
  deps: Pick<MergeDeps, 'maps' | 'lookup' | 'readRun'>,
  input: MergeInput,
  base: NonNullable<MergeInput['base']>,
  wait: Wait,
): Promise<Delta | undefined> {
  const before = new Parts();
  const after = new Parts();
  let foreign = false;
  for await (const { a, b } of deps.maps.diff(base.header.map, input.map, wait)) {
    const old = a && decodeRecord(a);
    const now = b && decodeRecord(b);
    if (old && now && old.run === now.run && old.seq === now.seq) continue;
    if (old) before.add(old);
    if (now && after.add(now) && now.job !== input.job) foreign = true;
    if (before.ops + after.ops > CHANGED_OPS_MAX) return undefined;
  }
  if (before.ops > 0 && base.header.hasMkdir) return undefined;
  const removed = await removedPaths(deps, base.output, before.list(), wait);
  if (!removed) return undefined;
  const added = after.list();
  const seen = new Set<string>();
  for (const part of added) {
    for await (const op of deps.readRun(part.run, wait)) {
      if (!part.select.has(op.seq)) continue;
      // Sequence numbers of another job say nothing about order in this one.
      if (foreign && op.op !== 'mkdir' && seen.has(op.path)) return undefined;
      seen.add(op.path);
      if (removed.has(op.path)) continue;
      const there = await deps.lookup(base.output, op.path, wait);
      if (there && !(op.op === 'mkdir' && there.type === 'dir')) return undefined;
    }
  }
  return { removed: before.list(), added };
}

/** The files of vanished datums; undefined when one of them was not theirs alone. */
async function removedPaths(
  deps: Pick<MergeDeps, 'lookup' | 'readRun'>,
  output: DirNode,
  parts: readonly RunPart[],
  wait: Wait,
): Promise<Set<string> | undefined> {
  const removed = new Set<string>();
  for (const part of parts) {
    for await (const op of deps.readRun(part.run, wait)) {
      if (!part.select.has(op.seq)) continue;
      const isFile = op.op === 'append' || (op.op === 'graft' && op.node.type === 'file');
      if (!isFile || removed.has(op.path)) return undefined;
      const there = await deps.lookup(output, op.path, wait);
      if (there?.type !== 'file' || there.shared === true) return undefined;
      removed.add(op.path);
    }
  }
  return removed;
}

async function mergeAll(deps: MergeDeps, input: MergeInput, wait: Wait): Promise<DirNode> {
  const parts = new Parts();
  let foreign = false;
  const keys: { key: string; record: DatumRecord }[] = [];
  for await (const { key, value } of deps.maps.scan(input.map, wait)) {
    const record = decodeRecord(value);
    if (!parts.add(record)) continue;
    keys.push({ key: key.toString('latin1'), record });
    if (record.job !== input.job) foreign = true;
  }
  if (!foreign) return deps.merge(undefined, parts.list(), wait);
  const indexes = await input.indexes(wait);
  for (const { key, record } of keys) parts.order(record, indexes.get(key) ?? record.seq);
  return deps.merge(undefined, parts.list(), wait);
}

/** Datums with outputs, gathered by the task that ran them. */
class Parts {
  readonly #runs = new Map<string, { run: string; select: Map<number, number> }>();
  ops = 0;

  /** False when the datum has no output. */
  add(record: DatumRecord): boolean {
    if (record.state !== 'success' || record.outputs === 0 || record.run === undefined) {
      return false;
    }
    this.#select(record, record.run, record.seq);
    this.ops += record.outputs;
    return true;
  }

  order(record: DatumRecord, index: number): void {
    if (record.run !== undefined) this.#select(record, record.run, index);
  }

  list(): RunPart[] {
    return [...this.#runs.values()];
  }

  /** Equal outputs of two tasks are one object but count twice, so the task is part of the key. */
  #select(record: DatumRecord, run: string, index: number): void {
    const key = `${record.job}/${record.task}/${run}`;
    const part = this.#runs.get(key) ?? { run, select: new Map<number, number>() };
    this.#runs.set(key, part);
    part.select.set(record.seq, index);
  }
}
