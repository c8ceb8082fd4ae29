/**
 * A queue between a producer and a consumer, limited in items and in bytes: `push` waits while it
 * is full, so memory stays bounded whatever the consumer does. One consumer iterates it.
 */
import { addAbortListener } from './signals.js';

export class BoundedQueue<T> implements AsyncIterable<T> {
  readonly #items: { value: T; bytes: number }[] = [];
  #bytes = 0;
  #ended = false;
  #error: unknown;
  #failed = false;
  #readers: (() => void)[] = [];
  #writers: (() => void)[] = [];

  constructor(readonly limits: { items: number; bytes?: number; sizeOf?: (value: T) => number }) {}

  get length(): number {
    return this.#items.length;
  }

  /** Adds an item, waiting for room. Throws the queue's error after `fail`. */
  async push(value: T, options: { signal: AbortSignal }): Promise<void> {
    while (this.#full() && !this.#failed && !this.#ended)
      await this.#wait(this.#writers, options.signal);
    if (this.#failed) throw this.#error;
    if (this.#ended) throw new Error('push after end');
    const bytes = this.limits.sizeOf?.(value) ?? 0;
    this.#items.push({ value, bytes });
    this.#bytes += bytes;
    this.#wake(this.#readers);
  }

  /** No more items will come; the consumer drains what is left. */
  end(): void {
    this.#ended = true;
    this.#wake(this.#readers);
    this.#wake(this.#writers);
  }

  /** Ends both sides with an error; items not yet consumed are dropped. */
  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#error = error;
    this.#items.length = 0;
    this.#bytes = 0;
    this.#wake(this.#readers);
    this.#wake(this.#writers);
  }

  /** The next item, or undefined at the end. */
  async shift(options: { signal: AbortSignal }): Promise<T | undefined> {
    for (;;) {
      if (this.#failed) throw this.#error;
      const first = this.#items.shift();
      if (first) {
        this.#bytes -= first.bytes;
        this.#wake(this.#writers);
        return first.value;
      }
      if (this.#ended) return undefined;
      await this.#wait(this.#readers, options.signal);
    }
  }

  async *iterate(options: { signal: AbortSignal }): AsyncGenerator<T> {
    for (;;) {
      const value = await this.shift(options);
      if (value === undefined) return;
      yield value;
    }
  }

  [Symbol.asyncIterator](): AsyncIterator<T> {
    return this.iterate({ signal: new AbortController().signal });
  }

  #full(): boolean {
    return (
      this.#items.length >= this.limits.items ||
      (this.limits.bytes !== undefined &&
        this.#items.length > 0 &&
        this.#bytes >= this.limits.bytes)
    );
  }

  #wake(list: (() => void)[]): void {
    for (const wake of list.splice(0)) wake();
  }

  async #wait(list: (() => void)[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve, reject) => {
      const wake = (): void => {
        stop();
        resolve();
      };
      const stop = addAbortListener(signal, () => {
        const index = list.indexOf(wake);
        if (index >= 0) list.splice(index, 1);
        reject(signal.reason as Error);
      });
      list.push(wake);
    });
  }
}
