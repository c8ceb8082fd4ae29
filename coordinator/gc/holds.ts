/** Counts what is held per epoch; tells the oldest. */
import type { Hold, HoldKind } from '../../storage/index.js';

interface Entry {
  readonly kind: HoldKind;
  readonly epoch: number;
  readonly control: AbortController;
}

export class Holds {
  readonly #all = new Set<Entry>();
  readonly #byEpoch = new Map<number, { writes: number; refs: number }>();

  /** `onOldest` is called when the last hold of an epoch is released. */
  constructor(readonly onOldest: () => void) {}

  get any(): boolean {
    return this.#all.size > 0;
  }

  take(kind: HoldKind, epoch: number): Hold {
    const entry: Entry = { kind, epoch, control: new AbortController() };
    this.#all.add(entry);
    const counts = this.#byEpoch.get(epoch) ?? { writes: 0, refs: 0 };
    this.#byEpoch.set(epoch, counts);
    counts.writes += 1;
    if (kind === 'refs') counts.refs += 1;
    return { signal: entry.control.signal, [Symbol.dispose]: () => this.#release(entry) };
  }

  /** Undefined where nothing is held. A hold on refs is one on writes, too. */
  oldest(): { writes: number | undefined; refs: number | undefined } {
    let [writes, refs]: (number | undefined)[] = [undefined, undefined];
    for (const [epoch, counts] of this.#byEpoch) {
      if (counts.writes > 0) writes = Math.min(writes ?? epoch, epoch);
      if (counts.refs > 0) refs = Math.min(refs ?? epoch, epoch);
    }
    return { writes, refs };
  }

  /** Tells holders of older epochs that all is lost. */
  end(passed: { readonly writes: number; readonly refs: number }, reason: Error): void {
    for (const { kind, epoch, control } of this.#all) {
      if (epoch < passed.writes || (kind === 'refs' && epoch < passed.refs)) control.abort(reason);
    }
  }

  #release(entry: Entry): void {
    if (!this.#all.delete(entry)) return;
    const counts = this.#byEpoch.get(entry.epoch);
    if (!counts) return;
    counts.writes -= 1;
    if (entry.kind === 'refs') counts.refs -= 1;
    const last = counts.writes === 0 || (entry.kind === 'refs' && counts.refs === 0);
    if (counts.writes === 0) this.#byEpoch.delete(entry.epoch);
    if (last) this.onOldest();
  }
}
