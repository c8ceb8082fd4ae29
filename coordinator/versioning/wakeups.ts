/**
 * Turns changes of `open/` and `br/` keys into wake-ups for those who wait for a commit or a repo.
 *
 * K1 A waiter arms first and reads after: what changed before the read is in what it read, what
 *    changes after wakes it.
 * K2 When the watch had to start over, changes may have been missed: everybody is woken.
 * A wake-up says nothing but "look again", so spurious ones are harmless.
 */
import { addAbortListener } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';

export class Wakeups {
  readonly #listeners = new Map<string, Set<() => void>>();

  /** Wakes those who listen to the topic. */
  wake(topic: string): void {
    for (const listener of [...(this.#listeners.get(topic) ?? [])]) listener();
  }

  wakeAll(): void {
    for (const topic of [...this.#listeners.keys()]) this.wake(topic);
  }

  /** Number of waiters, for status pages and tests. */
  get waiting(): number {
    let count = 0;
    for (const set of this.#listeners.values()) count += set.size;
    return count;
  }

  /**
   * Repeats `check` until it answers something other than undefined: once at the start and again
   * after each wake-up of the topic.
   */
  async until<T>(topic: string, check: () => Promise<T | undefined>, wait: Wait): Promise<T> {
    const latch = new Latch();
    const set = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, set);
    const listener = (): void => latch.open();
    set.add(listener);
    try {
      for (;;) {
        latch.close();
        const answer = await check();
        if (answer !== undefined) return answer;
        await latch.wait(wait);
      }
    } finally {
      set.delete(listener);
      if (set.size === 0 && this.#listeners.get(topic) === set) this.#listeners.delete(topic);
    }
  }
}

/** Remembers that it was opened, so that a wake-up during a check is not lost. */
class Latch {
  #opened = false;
  #resume: (() => void) | undefined;

  open(): void {
    this.#opened = true;
    this.#resume?.();
  }

  close(): void {
    this.#opened = false;
  }

  async wait({ signal }: Wait): Promise<void> {
    signal.throwIfAborted();
    if (this.#opened) return;
    await new Promise<void>((resolve, reject) => {
      const stop = addAbortListener(signal, () => {
        this.#resume = undefined;
        reject(signal.reason as Error);
      });
      this.#resume = () => {
        this.#resume = undefined;
        stop();
        resolve();
      };
    });
  }
}
