/** A counting semaphore, first come first served, whose waiters can be cancelled. */
import { addAbortListener } from './signals.js';
import { invariant } from './errors.js';

interface Waiter {
  readonly weight: number;
  readonly grant: () => void;
}

export class Semaphore {
  #free: number;
  readonly #waiters: Waiter[] = [];

  constructor(readonly permits: number) {
    invariant(permits > 0, 'a semaphore needs at least one permit', { permits });
    this.#free = permits;
  }

  get free(): number {
    return this.#free;
  }

  get waiting(): number {
    return this.#waiters.length;
  }

  /** Takes permits at once or not at all. Never overtakes a waiter. */
  tryAcquire(weight = 1): boolean {
    if (this.#waiters.length > 0 || this.#free < weight) return false;
    this.#free -= weight;
    return true;
  }

  /** Waits for permits. A weight above the total is clamped, so one huge item still passes alone. */
  async acquire(options: { signal: AbortSignal; weight?: number }): Promise<void> {
    const weight = Math.min(options.weight ?? 1, this.permits);
    options.signal.throwIfAborted();
    if (this.tryAcquire(weight)) return;
    await new Promise<void>((resolve, reject) => {
      const waiter: Waiter = {
        weight,
        grant: () => {
          stop();
          resolve();
        },
      };
      const stop = addAbortListener(options.signal, () => {
        const index = this.#waiters.indexOf(waiter);
        if (index >= 0) {
          this.#waiters.splice(index, 1);
          this.#wake();
          reject(options.signal.reason as Error);
        }
      });
      this.#waiters.push(waiter);
    });
  }

  release(weight = 1): void {
    this.#free += Math.min(weight, this.permits);
    invariant(this.#free <= this.permits, 'semaphore released more often than acquired');
    this.#wake();
  }

  /** Runs `work` with permits held. */
  async with<T>(
    options: { signal: AbortSignal; weight?: number },
    work: () => Promise<T>,
  ): Promise<T> {
    await this.acquire(options);
    try {
      return await work();
    } finally {
      this.release(options.weight ?? 1);
    }
  }

  #wake(): void {
    for (
      let first = this.#waiters[0];
      first && this.#free >= first.weight;
      first = this.#waiters[0]
    ) {
      this.#waiters.shift();
      this.#free -= first.weight;
      first.grant();
    }
  }
}
