/** Reads of the store, tried again while etcd is away, within a budget of time. */
import type { Clock } from '../../core/clock.js';
import { retry } from '../../core/retry.js';
import type { EtcdClient, RangeRequest } from './etcd-client.js';
import { prefixEnd, type KV, type RangeResult } from './kv.js';
import type { SnapshotSource } from './snapshot.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface RangeOptions extends Wait {
  readonly limit?: number;
  /** Begin after this key (before it, when `reverse`). */
  readonly after?: string;
  readonly reverse?: boolean;
  readonly keysOnly?: boolean;
  readonly revision?: number;
}

/** Keys read in one transaction; below etcd's default limit of operations. */
const BATCH_MAX = 100;
/** Keys read at once by an unlimited range. */
const PAGE = 1_000;

export class Reader implements SnapshotSource {
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #budgetMs: number;

  constructor(client: EtcdClient, clock: Clock, budgetMs: number) {
    this.#client = client;
    this.#clock = clock;
    this.#budgetMs = budgetMs;
  }

  async get(key: string, wait: Wait): Promise<KV | undefined> {
    const { kvs } = await this.#range({ from: key }, wait);
    return kvs[0];
  }

  async getAll(
    keys: readonly string[],
    o: Wait & { revision?: number },
  ): Promise<{ found: (KV | undefined)[]; revision: number }> {
    const found: (KV | undefined)[] = [];
    let revision = o.revision;
    for (let i = 0; i < keys.length; i += BATCH_MAX) {
      const batch = keys.slice(i, i + BATCH_MAX);
      const at = revision === undefined ? {} : { revision };
      const [only] = batch;
      if (batch.length === 1 && only !== undefined) {
        const result = await this.#range({ from: only, ...at }, o);
        found.push(result.kvs[0]);
        revision ??= result.revision;
        continue;
      }
      const ops = batch.map((key) => ({ get: key }));
      const result = await this.#retry(
        () => this.#client.readAll(ops, { signal: o.signal, ...at }),
        o,
      );
      found.push(...result.responses.map((kvs) => kvs[0]));
      revision ??= result.revision;
    }
    return { found, revision: revision ?? 0 };
  }

  /** Every key with the prefix (or up to `limit`) at one revision. */
  async range(prefix: string, o: RangeOptions): Promise<RangeResult> {
    const kvs: KV[] = [];
    let revision = o.revision;
    let after = o.after;
    for (;;) {
      const left = o.limit === undefined ? PAGE : Math.min(PAGE, o.limit - kvs.length);
      const page = await this.page(prefix, {
        ...o,
        limit: left,
        ...(after === undefined ? {} : { after }),
        ...(revision === undefined ? {} : { revision }),
      });
      revision ??= page.revision;
      for (const kv of page.kvs) kvs.push(kv);
      after = page.kvs.at(-1)?.key;
      const full = o.limit !== undefined && kvs.length >= o.limit;
      if (!page.more || full) return { kvs, revision, more: page.more };
    }
  }

  /** One request's worth of a range. */
  async page(prefix: string, o: RangeOptions & { limit: number }): Promise<RangeResult> {
    const end = prefixEnd(prefix);
    const { from, to } = o.reverse
      ? { from: prefix, to: o.after ?? end }
      : { from: o.after === undefined ? prefix : `${o.after}\0`, to: end };
    return this.#range(
      {
        from,
        to,
        limit: o.limit,
        ...(o.reverse ? { reverse: true } : {}),
        ...(o.keysOnly ? { keysOnly: true } : {}),
        ...(o.revision === undefined ? {} : { revision: o.revision }),
      },
      o,
    );
  }

  async #range(request: RangeRequest, wait: Wait): Promise<RangeResult> {
    return this.#retry(() => this.#client.range(request, wait), wait);
  }

  async #retry<T>(work: () => Promise<T>, wait: Wait): Promise<T> {
    return retry(work, {
      signal: wait.signal,
      clock: this.#clock,
      baseDelayMs: 50,
      maxDelayMs: 500,
      budgetMs: this.#budgetMs,
      retryable: (error) => isWeather(error),
    });
  }
}

function isWeather(error: unknown): boolean {
  const code = (error as { code?: unknown } | undefined)?.code;
  return code === 'UNAVAILABLE' || code === 'OVERLOADED';
}
