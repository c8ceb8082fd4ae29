/** The last few job specs and segments, decoded: the tasks of a job share them. */
import type { Storage } from '../storage/index.js';
import type { Wait } from '../storage/types.js';

const ENTRIES_MAX = 16;

export class BlobCache {
  readonly #values = new Map<string, unknown>();

  constructor(readonly storage: Pick<Storage, 'getJson'>) {}

  /** The value of a JSON blob; do not change it. Throws the store's errors. */
  async get<T>(ref: string, wait: Wait): Promise<T> {
    const known = this.#values.get(ref);
    const value = known ?? (await this.storage.getJson<T>(ref, wait));
    this.#values.delete(ref);
    this.#values.set(ref, value);
    const [oldest] = this.#values.keys();
    if (this.#values.size > ENTRIES_MAX && oldest !== undefined) this.#values.delete(oldest);
    return value as T;
  }
}
