/**
 * Which garbage-collection epoch new objects carry, and who still needs old ones
 * (docs/formats/objects.md, "Epochs").
 *
 * H1 Bytes are written, and become visible, under a hold. Objects of the epoch in which a hold was
 *    taken, and of later ones, are not collected before it is released.
 * H2 A hold on `refs` also keeps what its holder reads: nothing that a root named while the hold
 *    was there is collected before it is released. Whoever makes something visible that refers to
 *    what others stored (a parent's tree, a copied file, an earlier job's output) needs one.
 */
import { invariant } from '../core/errors.js';
import { NEVER } from '../core/signals.js';

export type HoldKind = 'writes' | 'refs';

export interface Hold extends Disposable {
  /** Aborts when the hold was lost: nothing made under it can become visible any more. */
  readonly signal: AbortSignal;
}

export interface EpochSource {
  /** The epoch of objects written now. */
  current(): number;
  hold(kind: HoldKind): Hold;
}

/** Does work under a hold. */
export async function held<T>(
  epochs: EpochSource,
  kind: HoldKind,
  work: () => Promise<T>,
): Promise<T> {
  const hold = epochs.hold(kind);
  try {
    return await work();
  } finally {
    hold[Symbol.dispose]();
  }
}

/** One epoch for good: workers (their job holds it), tests, stores without a collector. */
export class FixedEpoch implements EpochSource {
  constructor(readonly epoch: number) {}

  current(): number {
    return this.epoch;
  }

  hold(): Hold {
    return { signal: NEVER, [Symbol.dispose]: () => undefined };
  }
}

/** The epoch of another process's holds, which it tells with every request: threads. */
export class ToldEpoch extends FixedEpoch {
  #epoch = 0;

  override current(): number {
    return this.#epoch;
  }

  /** Later requests never go back: older ones may write to newer epochs. */
  tell(epoch: number): void {
    invariant(epoch >= 0, 'an epoch is a count');
    this.#epoch = Math.max(this.#epoch, epoch);
  }
}
