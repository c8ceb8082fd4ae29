/**
 * First come, first served locks by name, within this process: transactions that would fight over
 * the same keys run one after the other instead of throwing each other's work away.
 */
import { Semaphore } from '../../core/semaphore.js';

interface Entry {
  readonly lock: Semaphore;
  users: number;
}

export class LabelLocks {
  readonly #entries = new Map<string, Entry>();

  /** Runs `work` while no one else runs under the same label. */
  async with<T>(label: string, o: { signal: AbortSignal }, work: () => Promise<T>): Promise<T> {
    let entry = this.#entries.get(label);
    if (!entry) {
      entry = { lock: new Semaphore(1), users: 0 };
      this.#entries.set(label, entry);
    }
    entry.users += 1;
    try {
      return await entry.lock.with({ signal: o.signal }, work);
    } finally {
      entry.users -= 1;
      if (entry.users === 0) this.#entries.delete(label);
    }
  }
}
