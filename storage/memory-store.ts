/** An object store in memory, for tests and short-lived work; held to the same contract. */
import { notFound } from '../core/errors.js';
import type { GetOptions, ObjectInfo, ObjectStore, PutOptions } from './object-store.js';
import type { Wait } from './types.js';

export class MemoryStore implements ObjectStore {
  readonly place = 'memory';
  readonly counts = { reads: 0, readBytes: 0, readsHedged: 0, slowDowns: 0 };
  readonly #objects = new Map<string, Buffer>();
  /** Requests so far, by kind of call. */
  readonly calls = { put: 0, get: 0 };

  put(key: string, bytes: Uint8Array | readonly Uint8Array[], options: PutOptions): Promise<void> {
    return this.#do(options, () => {
      this.calls.put += 1;
      this.#objects.set(key, Buffer.concat(bytes instanceof Uint8Array ? [bytes] : bytes));
    });
  }

  get(key: string, options: GetOptions): Promise<Buffer> {
    return this.#do(options, () => {
      this.calls.get += 1;
      const found = this.#objects.get(key);
      if (!found) throw notFound(`object ${key} not found in ${this.place}`, { fields: { key } });
      const from = options.offset ?? 0;
      const to = options.length === undefined ? found.length : from + options.length;
      const bytes = Buffer.from(found.subarray(from, to));
      this.counts.reads += 1;
      this.counts.readBytes += bytes.length;
      return bytes;
    });
  }

  head(key: string, wait: Wait): Promise<ObjectInfo | undefined> {
    return this.#do(wait, () => {
      const found = this.#objects.get(key);
      return found && { key, size: found.length };
    });
  }

  async *list(
    prefix: string,
    options: Wait & { readonly after?: string },
  ): AsyncIterable<ObjectInfo> {
    const { after = '' } = options;
    const keys = [...this.#objects.keys()].filter((key) => key.startsWith(prefix) && key > after);
    for (const key of keys.sort()) {
      const info = await this.head(key, options);
      if (info) yield info;
    }
  }

  delete(keys: readonly string[], wait: Wait): Promise<void> {
    return this.#do(wait, () => {
      for (const key of keys) this.#objects.delete(key);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#objects.clear();
    await Promise.resolve();
  }

  async #do<T>(wait: Wait, work: () => T): Promise<T> {
    await Promise.resolve();
    wait.signal.throwIfAborted();
    return work();
  }
}
