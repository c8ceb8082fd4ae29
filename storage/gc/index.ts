/**
 * Mark and sweep over one object store. Which epochs may be swept, and that the roots are all there
 * are, is the caller's knowledge (coordinator/gc).
 */
import type { TreeStorage } from '../tree-types.js';
import type { Wait } from '../types.js';
import { Marker, type MarkOptions } from './mark.js';
import { SortedNames } from './sorted-names.js';
import { nameOf, sweep, type SweepCounts } from './sweep.js';

export type { SweepCounts } from './sweep.js';
export { findBroken, type Broken, type CheckCounts } from './broken.js';
export { HurtFiles, type Hurt } from './hurt.js';
export { Marker } from './mark.js';

export interface CollectOptions extends Wait, Pick<MarkOptions, 'textOfMapValue'> {
  /** Texts that refer to what is alive. */
  readonly roots: AsyncIterable<string>;
  /** Objects of epochs below this are deleted unless a root leads to them. */
  readonly floor: number;
  readonly dryRun: boolean;
  /** A directory for what does not fit the memory; left as it is. */
  readonly directory: string;
  readonly onProgress?: (progress: MarkProgress | SweepProgress) => void;
}

export interface MarkProgress {
  readonly phase: 'mark';
  /** Roots looked at, and objects that were read on the way. */
  readonly roots: number;
  readonly read: number;
  readonly live: number;
}

export interface SweepProgress {
  readonly phase: 'sweep';
  readonly counts: Readonly<SweepCounts>;
}

export interface Collected extends SweepCounts {
  /** Objects found alive, of all epochs. */
  readonly live: number;
}

const TELL_EVERY = 256;

/** Deletes what no root leads to. May be stopped and repeated at any point. */
export async function collectObjects(
  storage: TreeStorage,
  options: CollectOptions,
): Promise<Collected> {
  const { floor, signal, dryRun, onProgress } = options;
  const names = new SortedNames(options.directory);
  let [roots, read, live] = [0, 0, 0];
  const tell = (): void => onProgress?.({ phase: 'mark', roots, read, live });
  const marker = new Marker(storage, {
    signal,
    textOfMapValue: options.textOfMapValue,
    onLive: (object) => {
      live += 1;
      return object.epoch < floor ? names.add(nameOf(object)) : undefined;
    },
    onRead: () => {
      read += 1;
      if (read % TELL_EVERY === 0) tell();
    },
  });
  for await (const text of options.roots) {
    await marker.root(text);
    roots += 1;
    if (roots % TELL_EVERY === 0) tell();
  }
  tell();
  const counts = await sweep(storage.objects, names.sorted(), {
    ...{ signal, floor, dryRun },
    onProgress: (now) => onProgress?.({ phase: 'sweep', counts: now }),
  });
  return { ...counts, live };
}
