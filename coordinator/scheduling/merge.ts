/**
 * The output of a job: the merge of exactly its datums' outputs.
 *
 * Usually it is made from the output of an earlier job: what vanished is taken out, what is new is
 * added. That is right only while no path is the work of several datums (contents at one path are
 * concatenated in datum order, and a part can not be taken out of a concatenation); storage notices
 * such paths, and then everything is merged anew.
 */
import { setImmediate } from 'node:timers/promises';
import type { Selection } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { ManifestMaps } from './manifest-maps.js';
import { Parts } from './merge-parts.js';
import type { ManifestHeader } from './model.js';
import { decodeRecord, type DatumRecord } from './record.js';

/** A run of which only some datums count. */
export interface RunPart {
  readonly run: string;
  /** Datum index in the job that ran it, and place in this job. */
  readonly select: Selection;
}

export interface MergeDeps {
  readonly maps: ManifestMaps;
  /** Takes outputs out of a tree and adds others; undefined when a path has several authors. */
  update(
    base: DirNode,
    change: { readonly removed: readonly RunPart[]; readonly added: readonly RunPart[] },
    wait: Wait,
  ): Promise<DirNode | undefined>;
  /**
   * Throws STATE_CONFLICT when a path is file and directory. With `overwrite` the later part has the
   * last word on a path; otherwise contents are concatenated.
   */
  merge(parts: readonly RunPart[], wait: Wait & { readonly overwrite?: boolean }): Promise<DirNode>;
}

export interface MergeInput {
  readonly job: string;
  /** Map of the job's manifest. */
  readonly map: string;
  /** Earlier manifest with its output, which `map` was made from. */
  readonly base?: { readonly header: ManifestHeader; readonly output: DirNode };
  /** Of datums that write the same path the last one counts, in the order of enumeration. */
  readonly overwrite?: boolean;
  /** The order of datums that this job ran is not that of their numbers. */
  readonly renumbered?: boolean;
  /** Enumeration index of each datum, by manifest key (latin1). Only asked for when needed. */
  readonly indexes: (wait: Wait) => Promise<ReadonlyMap<string, number>>;
}

export interface Merged {
  readonly root: DirNode;
  readonly how: 'incremental' | 'full';
}

/** Changing more than this costs more than merging anew. */
const CHANGED_OPS_MAX = 200_000;
const TURN = 4_096;

export async function mergeOutputs(
  deps: MergeDeps,
  input: MergeInput,
  wait: Wait,
): Promise<Merged> {
  if (input.base) {
    const root = await updateBase(deps, input, input.base, wait);
    if (root) return { root, how: 'incremental' };
  }
  return { root: await mergeAll(deps, input, wait), how: 'full' };
}

/** The output made from an earlier one, or undefined when it can not be. */
async function updateBase(
  deps: MergeDeps,
  input: MergeInput,
  base: NonNullable<MergeInput['base']>,
  wait: Wait,
): Promise<DirNode | undefined> {
  const removed = new Parts();
  const added = new Parts();
  const datums: { readonly key: string; readonly record: DatumRecord }[] = [];
  for await (const { key, a, b } of deps.maps.diff(base.header.map, input.map, wait)) {
    const old = a && decodeRecord(a);
    const now = b && decodeRecord(b);
    if (old && now && old.run === now.run && old.seq === now.seq) continue;
    if (old) removed.add(old);
    if (now && added.add(now)) datums.push({ key: key.toString('latin1'), record: now });
    if (removed.ops + added.ops > CHANGED_OPS_MAX) return undefined;
  }
  // A directory that becomes empty goes, unless somebody made it on purpose: nobody knows here.
  if (removed.ops > 0 && base.header.hasMkdir) return undefined;
  if (removed.ops + added.ops === 0) return base.output;
  // Another job ran some of them: sequence numbers say nothing about their places then.
  if (datums.some(({ record }) => record.job !== input.job)) {
    const indexes = await input.indexes(wait);
    for (const { key, record } of datums) added.place(record, indexes.get(key));
  }
  return deps.update(base.output, { removed: removed.list(), added: added.list() }, wait);
}

async function mergeAll(deps: MergeDeps, input: MergeInput, wait: Wait): Promise<DirNode> {
  // Where parts follow each other in time they must be as small as what followed each other.
  const parts = new Parts(input.overwrite);
  // Sequence numbers are places only within what one job ran in one go.
  let moved = input.renumbered === true;
  await eachRecord(deps, input, wait, (record) => {
    if (parts.add(record) && record.job !== input.job) moved = true;
  });
  // Read once more rather than kept: a million keys are a lot of memory for what is seldom needed.
  if (moved) {
    const indexes = await input.indexes(wait);
    await eachRecord(deps, input, wait, (record, key) => {
      parts.place(record, indexes.get(key.toString('latin1')));
    });
  }
  const placed = parts.list();
  if (!input.overwrite) return deps.merge(placed, wait);
  // Tasks are runs of neighbours, so ordered parts make ordered datums.
  const ordered = placed
    .map((part) => ({ part, first: firstOf(part) }))
    .sort((a, b) => a.first - b.first)
    .map(({ part }) => part);
  return deps.merge(ordered, { ...wait, overwrite: true });
}

/** Goes through the manifest; other work runs meanwhile. */
async function eachRecord(
  deps: MergeDeps,
  { map }: MergeInput,
  wait: Wait,
  look: (record: DatumRecord, key: Buffer) => void,
): Promise<void> {
  let seen = 0;
  for await (const { key, value } of deps.maps.scan(map, wait)) {
    look(decodeRecord(value), key);
    if ((seen += 1) % TURN === 0) await setImmediate();
  }
}

function firstOf({ select }: RunPart): number {
  let first = Infinity;
  for (const place of select.places ?? select.seqs) first = Math.min(first, place);
  return first;
}
