/**
 * The metadata store: etcd behind the few things Tusk does with it. Reads are tried again while
 * etcd is away, within `budgetMs`; writes go through `transact`, which never applies anything twice.
 */
import type { Clock } from '../../core/clock.js';
import { AppError, stateConflict } from '../../core/errors.js';
import { retry } from '../../core/retry.js';
import type { Log } from '../../core/log.js';
import { EtcdClient } from './etcd-client.js';
import { Informer } from './informer.js';
import type { Compare, KV, Op, RangeResult, TxnResult } from './kv.js';
import { openLease, type Lease } from './lease.js';
import type { MetaTxn } from './meta-txn.js';
import { Reader, type RangeOptions } from './reader.js';
import { followChanges, type ChangeBatch } from './changes.js';
import { Transactor, type ProcessFence, type TransactOptions } from './transact.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface MetaOptions {
  /** URLs such as `http://127.0.0.1:2379`. */
  readonly endpoints: readonly string[];
  readonly log: Log;
  readonly clock: Clock;
  /** Put before every key; lets several stacks share an etcd. */
  readonly prefix?: string;
  /** Deadline of one call to etcd, 4 s. */
  readonly callMs?: number;
  /** How long operations go on trying while etcd is away, 20 s. */
  readonly budgetMs?: number;
}

/** Version of the key layout (docs/formats/etcd.md), kept under the key `format`. */
const FORMAT = '1';
const BUDGET_MS = 20_000;
const PAGE = 1_000;

export class Meta implements AsyncDisposable {
  readonly #client: EtcdClient;
  readonly #reader: Reader;
  readonly #transactor: Transactor;
  readonly #options: MetaOptions;
  readonly #informers = new Set<Informer<unknown>>();
  #closing: Promise<void> | undefined;

  /** Does no I/O; `openMeta` also checks the store. */
  constructor(options: MetaOptions) {
    const { clock, log } = options;
    const budgetMs = options.budgetMs ?? BUDGET_MS;
    this.#options = options;
    this.#client = new EtcdClient(options);
    this.#reader = new Reader(this.#client, clock, budgetMs);
    this.#transactor = new Transactor({
      client: this.#client,
      source: this.#reader,
      clock,
      log,
      budgetMs,
    });
  }

  /** The key's newest value. */
  async get(key: string, wait: Wait): Promise<KV | undefined> {
    return this.#reader.get(key, wait);
  }

  async getJson<T>(key: string, wait: Wait): Promise<T | undefined> {
    const kv = await this.get(key, wait);
    return kv && (JSON.parse(kv.value.toString()) as T);
  }

  /** Keys with the prefix at one revision, in key order (descending with `reverse`). */
  async range(prefix: string, o: RangeOptions): Promise<RangeResult> {
    return this.#reader.range(prefix, o);
  }

  /** As `range`, page by page (one revision per page). Deletions while iterating are harmless. */
  async *scan(prefix: string, o: RangeOptions): AsyncIterable<KV> {
    let after = o.after;
    for (let left = o.limit ?? Number.POSITIVE_INFINITY; left > 0;) {
      const page = await this.#reader.page(prefix, {
        ...o,
        limit: Math.min(left, PAGE),
        ...(after === undefined ? {} : { after }),
      });
      yield* page.kvs;
      left -= page.kvs.length;
      after = page.kvs.at(-1)?.key;
      if (!page.more) return;
    }
  }

  /**
   * One raw transaction, sent once. UNAVAILABLE leaves open whether it took effect: use `transact`
   * unless doing it twice is harmless.
   */
  async txn(
    request: {
      readonly compare?: readonly Compare[];
      readonly success?: readonly Op[];
      readonly failure?: readonly Op[];
    },
    wait: Wait,
  ): Promise<TxnResult> {
    return this.#client.txn(
      {
        compare: request.compare ?? [],
        success: request.success ?? [],
        failure: request.failure ?? [],
      },
      wait,
    );
  }

  /**
   * Runs `work` on a consistent snapshot and commits its writes atomically, under the condition
   * that nothing it read has changed; otherwise runs it again. `work` must have no effects of its
   * own. Transactions with the same `label` in this process run one after the other; never nest
   * them. Errors of `work` go to the caller and nothing is written.
   */
  async transact<T>(work: (t: MetaTxn) => Promise<T>, o: TransactOptions): Promise<T> {
    return this.#transactor.transact(work, o);
  }

  /**
   * Runs `work` as `transact` would, on one consistent snapshot, and throws its writes away: for
   * trying things out and for reading many keys as of one moment.
   */
  async rehearse<T>(work: (t: MetaTxn) => Promise<T>, wait: Wait): Promise<T> {
    return this.#transactor.rehearse(work, wait);
  }

  /** From now on every transaction depends on the fence, but for those that say otherwise. */
  fenceWith(fence: ProcessFence): void {
    this.#transactor.fence = fence;
  }

  /**
   * Every value put under the prefix at `from` or a later revision, in order, until the caller
   * stops. Throws UNAVAILABLE when the watch breaks: go on at the next revision then.
   */
  changes(prefix: string, o: Wait & { readonly from: number }): AsyncGenerator<ChangeBatch> {
    return followChanges(this.#client, prefix, o);
  }

  /** A lease that is kept alive; `ttlMs` is rounded up to seconds. */
  async lease(ttlMs: number, wait: Wait): Promise<Lease> {
    const deps = { client: this.#client, clock: this.#options.clock };
    return retry(() => openLease(deps, ttlMs, wait), {
      signal: wait.signal,
      clock: this.#options.clock,
      baseDelayMs: 50,
      maxDelayMs: 500,
      budgetMs: this.#options.budgetMs ?? BUDGET_MS,
      retryable: (error) => error instanceof AppError && error.code === 'UNAVAILABLE',
    });
  }

  /** Keeps the keys with the prefix in memory, current; whoever asks for it disposes it. */
  informer<T>(prefix: string, decode: (value: Buffer, kv: KV) => T): Informer<T> {
    const { clock, log } = this.#options;
    const deps = { client: this.#client, reader: this.#reader, clock, log };
    const informer = new Informer<T>(deps, prefix, decode);
    const known = informer as unknown as Informer<unknown>;
    this.#informers.add(known);
    void informer.closed.then(() => this.#informers.delete(known));
    return informer;
  }

  /** Forgets history before the revision. */
  async compact(revision: number, wait: Wait): Promise<void> {
    await this.#client.compact(revision, wait);
  }

  /** Closes informers and connections. Leases end by their owners or by time. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#informers].map((informer) => informer[Symbol.asyncDispose]()));
    const { signal } = new AbortController();
    await this.#transactor.close({ signal }).catch(() => undefined);
    this.#client.close();
  }
}

/**
 * Connects to etcd and checks the key layout's version. Throws UNAVAILABLE when etcd can not be
 * reached within the budget, STATE_CONFLICT when another version of Tusk wrote the store.
 */
export async function openMeta(options: MetaOptions, wait?: Wait): Promise<Meta> {
  const signal = wait?.signal ?? new AbortController().signal;
  const meta = new Meta(options);
  try {
    await meta.transact(
      async (t) => {
        const format = (await t.get('format'))?.value.toString();
        if (format === undefined) t.put('format', FORMAT);
        else if (format !== FORMAT) {
          throw stateConflict(
            `etcd holds metadata of format ${format}; this version reads format ${FORMAT}`,
          );
        }
      },
      { signal, label: 'check the format' },
    );
    return meta;
  } catch (error) {
    await meta[Symbol.asyncDispose]();
    throw error;
  }
}
