/**
 * Many matched files in little memory: about 150 bytes each in place of a tree of objects, because a
 * job may have millions. Nodes are kept encoded; sorting yields to other work.
 */
import { setImmediate } from 'node:timers/promises';
import { decodeNode, encodeNode } from '../../storage/index.js';
import type { TreeNode, Wait } from '../../storage/types.js';
import { compareBytes, type DatumFile, type InputRef } from './datum.js';

const SLAB_BYTES = 1 << 20;
/** Steps between two looks at other work. */
const SLICE = 16_384;

export class FileColumns {
  readonly #paths: string[] = [];
  readonly #sizes: number[] = [];
  readonly #joinKeys: string[] = [];
  readonly #groupKeys: string[] = [];
  readonly #slabs: Buffer[] = [];
  /** Where each node lies: slab, from and to. */
  readonly #places: number[] = [];
  #used = SLAB_BYTES;
  #order: Uint32Array | undefined;

  constructor(
    readonly input: InputRef,
    readonly keys: { readonly join: boolean; readonly group: boolean },
  ) {}

  get length(): number {
    return this.#paths.length;
  }

  add(file: { path: string; node: TreeNode; joinKey: string; groupKey: string }): void {
    const bytes = encodeNode(file.node);
    if (this.#used + bytes.length > SLAB_BYTES) {
      this.#slabs.push(Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, bytes.length)));
      this.#used = 0;
    }
    const slab = this.#slabs.length - 1;
    bytes.copy(this.#slabs[slab] as Buffer, this.#used);
    this.#places.push(slab, this.#used, this.#used + bytes.length);
    this.#used += bytes.length;
    this.#paths.push(file.path);
    this.#sizes.push(file.node.size);
    if (this.keys.join) this.#joinKeys.push(file.joinKey);
    if (this.keys.group) this.#groupKeys.push(file.groupKey);
  }

  /** Orders by size descending, then path in byte order. */
  async sort(wait: Wait): Promise<void> {
    const sizes = this.#sizes;
    const paths = this.#paths;
    const compare = (a: number, b: number): number =>
      (sizes[b] as number) - (sizes[a] as number) ||
      compareBytes(paths[a] as string, paths[b] as string);
    this.#order = await sortedOrder(this.length, compare, wait);
  }

  /** The file at a place of the order. */
  at(index: number): DatumFile {
    const row = this.#order ? this.#order[index] : index;
    if (row === undefined || row >= this.length)
      throw new RangeError(`index ${index} out of range`);
    const [slab, from, to] = this.#places.slice(3 * row, 3 * row + 3) as [number, number, number];
    return {
      input: this.input,
      path: this.#paths[row] as string,
      node: decodeNode((this.#slabs[slab] as Buffer).subarray(from, to)),
      joinKey: this.#joinKeys[row] ?? '',
      groupKey: this.#groupKeys[row] ?? '',
    };
  }
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
