/**
 * One at a time per key, first come first served. Work on different keys runs side by side; keys
 * without work take no memory.
 */
import { Semaphore } from '../../core/semaphore.js';
import type { Wait } from '../../storage/types.js';

export class KeyedQueue {
  readonly #locks = new Map<string, { semaphore: Semaphore; users: number }>();

  /** Runs `work` when everything queued before it for this key is done. */
  async run<T>(key: string, wait: Wait, work: () => Promise<T>): Promise<T> {
    const lock = this.#locks.get(key) ?? { semaphore: new Semaphore(1), users: 0 };
    this.#locks.set(key, lock);
    lock.users += 1;
    try {
      return await lock.semaphore.with(wait, work);
    } finally {
      lock.users -= 1;
      if (lock.users === 0) this.#locks.delete(key);
    }
  }

  /** Waits until nothing is queued for the key; returns at once when nothing is. */
  async settled(key: string, wait: Wait): Promise<void> {
    if (this.#locks.has(key)) await this.run(key, wait, async () => undefined);
  }

  get size(): number {
    return this.#locks.size;
  }
}
