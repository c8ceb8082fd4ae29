/**
 * Which writers of a run count: two columns, because a million pairs in Maps are 100 MiB (measured,
 * on both sides of a thread) and 4 to 8 MiB so.
 */

/** Ops of other seqs are left out. */
export interface Selection {
  /** Old seqs, ascending without repeats. */
  readonly seqs: Uint32Array;
  /** The new seq of each; absent = they stay as they are. */
  readonly places?: Uint32Array;
}

/** The selection of pairs of old and new seq, in any order. */
export function selectionOf(pairs: Iterable<readonly [number, number]>): Selection {
  const sorted = [...pairs].sort((a, b) => a[0] - b[0]);
  return {
    seqs: Uint32Array.from(sorted, ([seq]) => seq),
    places: Uint32Array.from(sorted, ([, place]) => place),
  };
}

/** Looks seqs up; undefined for those that were not selected. */
export function selector({ seqs, places }: Selection): (seq: number) => number | undefined {
  let next = 0;
  return (seq) => {
    // Neighbours in a run are mostly neighbours in number.
    const at = seqs[next] === seq ? next : lowestAt(seqs, seq);
    if (seqs[at] !== seq) return undefined;
    next = at + 1;
    return places ? places[at] : seq;
  };
}

/** Index of the first number ≥ `value` in ascending numbers. */
export function lowestAt(numbers: Uint32Array, value: number): number {
  let low = 0;
  let high = numbers.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((numbers[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
