/**
 * Many matched files in little memory: where each lies in the pages it was read from, its size, and
 * its keys where somebody asks for them. Nothing is decoded before it is wanted.
 */
import { setImmediate } from 'node:timers/promises';
import type { MatchBatch } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import { compareBytes, type DatumFile, type InputRef } from './datum.js';

/** Steps between two looks at other work. */
const SLICE = 16_384;

export interface KeyTemplates {
  /** The join and group key of a match by its captures; undefined = all keys are empty. */
  readonly join?: (captures: readonly string[]) => string;
  readonly group?: (captures: readonly string[]) => string;
}

export class FileColumns {
  readonly #batches: MatchBatch[] = [];
  /** Row at which each batch begins. */
  readonly #starts: number[] = [];
  #sizes = new Float64Array(1024);
  readonly #joinKeys: string[] = [];
  readonly #groupKeys: string[] = [];
  #length = 0;
  #last = '';
  #inPathOrder = true;
  /** Rows in the order of datums; undefined = as they came. */
  #order: Uint32Array | undefined;

  constructor(
    readonly input: InputRef,
    readonly keys: KeyTemplates = {},
  ) {}

  get length(): number {
    return this.#length;
  }

  /** Adds the matches of a batch as rows. */
  add(batch: MatchBatch): void {
    if (batch.length === 0) return;
    this.#reserve(this.#length + batch.length);
    this.#batches.push(batch);
    this.#starts.push(this.#length);
    for (let index = 0; index < batch.length; index += 1) {
      this.#sizes[this.#length + index] = batch.size(index);
      const { join, group } = this.keys;
      if (join) this.#joinKeys.push(join(batch.captures(index)));
      if (group) this.#groupKeys.push(group(batch.captures(index)));
    }
    this.#watchOrder(batch);
    this.#length += batch.length;
  }

  /** Orders by size descending, then path in byte order. */
  async sort(wait: Wait): Promise<void> {
    if (this.#inPathOrder) {
      this.#order = await this.#bySize(wait);
      return;
    }
    const sizes = this.#sizes;
    const paths: string[] = [];
    for (const batch of this.#batches) {
      for (let index = 0; index < batch.length; index += 1) paths.push(shown(batch.path(index)));
      await pause(wait);
    }
    const compare = (a: number, b: number): number =>
      (sizes[b] as number) - (sizes[a] as number) ||
      compareBytes(paths[a] as string, paths[b] as string);
    this.#order = await sortedOrder(this.#length, compare, wait);
  }

  /** The file at a place of the order. */
  at(place: number): DatumFile {
    const row = this.#row(place);
    const batch = this.#batchOf(row);
    const index = row - (this.#starts[batch] as number);
    const matches = this.#batches[batch] as MatchBatch;
    return {
      input: this.input,
      path: shown(matches.path(index)),
      node: matches.node(index),
      joinKey: this.#joinKeys[row] ?? '',
      groupKey: this.#groupKeys[row] ?? '',
    };
  }

  joinKey(place: number): string {
    return this.#joinKeys[this.#row(place)] ?? '';
  }

  groupKey(place: number): string {
    return this.#groupKeys[this.#row(place)] ?? '';
  }

  #row(place: number): number {
    const row = this.#order ? this.#order[place] : place;
    if (row === undefined || row >= this.#length || row < 0) {
      throw new RangeError(`index ${place} out of range`);
    }
    return row;
  }

  /** The last batch that begins at or before a row. */
  #batchOf(row: number): number {
    let low = 0;
    let high = this.#starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] as number) <= row) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** Whether all paths so far ascend: then only sizes are left to be sorted. */
  #watchOrder(batch: MatchBatch): void {
    const step = batch.ascends ? Math.max(1, batch.length - 1) : 1;
    for (let index = 0; index < batch.length && this.#inPathOrder; index += step) {
      const path = batch.path(index);
      if (this.#length + index > 0 && compareBytes(this.#last, path) >= 0) {
        this.#inPathOrder = false;
      }
      this.#last = path;
    }
  }

  /** Rows by size descending, equal ones as they are; undefined when that is how they are. */
  async #bySize(wait: Wait): Promise<Uint32Array | undefined> {
    const sizes = this.#sizes;
    let largest = 0;
    let falling = true;
    for (let row = 0; row < this.#length; row += 1) {
      const size = sizes[row] as number;
      largest = Math.max(largest, size);
      if (row > 0 && size > (sizes[row - 1] as number)) falling = false;
    }
    if (falling) return undefined;
    // Size and row in one number, where both fit: sorting numbers is fast.
    if ((largest + 1) * this.#length < Number.MAX_SAFE_INTEGER) {
      const keys = new Float64Array(this.#length);
      for (let row = 0; row < keys.length; row += 1) {
        keys[row] = (largest - (sizes[row] as number)) * keys.length + row;
      }
      await pause(wait);
      keys.sort();
      return Uint32Array.from(keys, (key) => key % keys.length);
    }
    const compare = (a: number, b: number): number => (sizes[b] as number) - (sizes[a] as number);
    return sortedOrder(this.#length, compare, wait);
  }

  #reserve(rows: number): void {
    if (rows <= this.#sizes.length) return;
    const larger = new Float64Array(Math.max(rows, this.#sizes.length * 2));
    larger.set(this.#sizes);
    this.#sizes = larger;
  }
}

/** The root as datums name it. */
function shown(path: string): string {
  return path === '' ? '/' : path;
}
/** The numbers below `length` in the order of `compare`; equal ones keep theirs. */
export async function sortedOrder(
  length: number,
  compare: (a: number, b: number) => number,
  wait: Wait,
): Promise<Uint32Array> {
  let from = Uint32Array.from({ length }, (_, i) => i);
  for (let start = 0; start < length; start += SLICE) {
    from.subarray(start, start + SLICE).sort((a, b) => compare(a, b) || a - b);
    await pause(wait);
  }
  let to = new Uint32Array(length);
  for (let width = SLICE; width < length; width *= 2) {
    for (let start = 0; start < length; start += 2 * width) {
      await merge(from, to, { start, width, length }, compare, wait);
    }
    [from, to] = [to, from];
  }
  return from;
}

async function merge(
  from: Uint32Array,
  to: Uint32Array,
  at: { readonly start: number; readonly width: number; readonly length: number },
  compare: (a: number, b: number) => number,
  wait: Wait,
): Promise<void> {
  const middle = Math.min(at.start + at.width, at.length);
  const end = Math.min(middle + at.width, at.length);
  let left = at.start;
  let right = middle;
  for (let out = at.start; out < end; out += 1) {
    const takeLeft =
      right >= end || (left < middle && compare(from[left] as number, from[right] as number) <= 0);
    to[out] = from[takeLeft ? left : right] as number;
    if (takeLeft) left += 1;
    else right += 1;
    if ((out & (SLICE - 1)) === SLICE - 1) await pause(wait);
  }
}

async function pause(wait: Wait): Promise<void> {
  wait.signal.throwIfAborted();
  await setImmediate();
}
