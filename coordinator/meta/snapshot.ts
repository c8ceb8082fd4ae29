/**
 * Reads of one transaction, all at one revision.
 *
 * R1  The first read fixes the revision; every later one is answered as of it, so the code in
 *     between sees one consistent state, also when it decides to fail.
 * R2  Keys asked for in the same turn of the event loop travel in one request.
 */
import type { KV, RangeResult } from './kv.js';

interface Wait {
  readonly signal: AbortSignal;
}

/** Where snapshots read from; retries weather by itself. */
export interface SnapshotSource {
  /** One entry per key, at the revision given or the newest. */
  getAll(
    keys: readonly string[],
    o: Wait & { revision?: number },
  ): Promise<{ found: (KV | undefined)[]; revision: number }>;
  range(prefix: string, o: Wait & { revision?: number; keysOnly?: boolean }): Promise<RangeResult>;
}

/** Values known to hold at a revision, from the failure branch of an earlier attempt. */
export interface Seed {
  readonly revision: number;
  readonly values: ReadonlyMap<string, KV | undefined>;
}

interface Pending {
  readonly key: string;
  readonly resolve: (kv: KV | undefined) => void;
  readonly reject: (error: unknown) => void;
}

export class Snapshot {
  readonly #source: SnapshotSource;
  readonly #wait: Wait;
  readonly #values = new Map<string, Promise<KV | undefined>>();
  #revision: Promise<number> | undefined;
  #pending: Pending[] = [];

  constructor(source: SnapshotSource, wait: Wait, seed?: Seed) {
    this.#source = source;
    this.#wait = wait;
    if (!seed) return;
    this.#revision = Promise.resolve(seed.revision);
    for (const [key, kv] of seed.values) this.#values.set(key, Promise.resolve(kv));
  }

  /** The value as of the snapshot; the same answer every time. */
  async get(key: string): Promise<KV | undefined> {
    const known = this.#values.get(key);
    if (known) return known;
    const value = new Promise<KV | undefined>((resolve, reject) => {
      if (this.#pending.length === 0) queueMicrotask(() => void this.#flush());
      this.#pending.push({ key, resolve, reject });
    });
    this.#values.set(key, value);
    return value;
  }

  /** Every key with the prefix, as of the snapshot, in key order. */
  async range(
    prefix: string,
    o: { keysOnly?: boolean } = {},
  ): Promise<{ kvs: KV[]; revision: number }> {
    const result = await this.#at((revision) =>
      this.#source.range(prefix, { ...this.#wait, ...o, ...(revision ? { revision } : {}) }),
    );
    const revision = (await this.#revision) ?? result.revision;
    return { kvs: result.kvs, revision };
  }

  /** Runs a read at the snapshot's revision; the first one fixes it. */
  async #at<T extends { revision: number }>(
    read: (revision: number | undefined) => Promise<T>,
  ): Promise<T> {
    if (this.#revision) return read(await this.#revision);
    const first = read(undefined);
    this.#revision = first.then((result) => result.revision);
    this.#revision.catch(() => undefined);
    return first;
  }

  async #flush(): Promise<void> {
    const batch = this.#pending;
    this.#pending = [];
    try {
      const { found } = await this.#at((revision) =>
        this.#source.getAll(
          batch.map(({ key }) => key),
          { ...this.#wait, ...(revision ? { revision } : {}) },
        ),
      );
      batch.forEach(({ resolve }, i) => resolve(found[i]));
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}
