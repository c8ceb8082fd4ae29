/** The last few job specs and segments, decoded: the tasks of a job share them. */
import { abortable, NEVER } from '../core/signals.js';
import type { Storage } from '../storage/index.js';
import type { Wait } from '../storage/types.js';

const ENTRIES_MAX = 16;

export class BlobCache {
  readonly #values = new Map<string, Promise<unknown>>();

  constructor(readonly storage: Pick<Storage, 'getJson'>) {}

  /** The value of a JSON blob; do not change it. Throws the store's errors. */
  async get<T>(ref: string, wait: Wait): Promise<T> {
    const value = this.#values.get(ref) ?? this.#fetch(ref);
    this.#values.delete(ref);
    this.#values.set(ref, value);
    const [oldest] = this.#values.keys();
    if (this.#values.size > ENTRIES_MAX && oldest !== undefined) this.#values.delete(oldest);
    return (await abortable(value, wait.signal)) as T;
  }

  /** Not with the caller's signal: tasks that begin together wait for the same one. */
  #fetch(ref: string): Promise<unknown> {
    const value = this.storage.getJson<unknown>(ref, { signal: NEVER });
    value.catch(() => {
      if (this.#values.get(ref) === value) this.#values.delete(ref);
    });
    return value;
  }
}
