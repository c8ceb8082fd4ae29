/**
 * A small set of keys held in memory and kept current: listed at a revision, then watched from the
 * next one.
 *
 * I1  On any doubt (stream error or end, cancellation, compaction, silence of the connection) it
 *     lists again and reports the difference; a watch is never trusted to resume.
 * I2  Changes arrive in batches that end at transaction borders, after the map shows all of them.
 *     An empty batch says that it had to list again, so that changes in between may be missing.
 * I3  What it shows may lag behind etcd: decisions that matter compare in their transaction.
 */
import type { IWatchResponse } from 'etcd3';
import type { Clock } from '../../core/clock.js';
import { cancelled, messageOf, unavailable } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { backoffMs } from '../../core/retry.js';
import { abortable, addAbortListener } from '../../core/signals.js';
import type { EtcdClient, RawStream } from './etcd-client.js';
import type { KV } from './kv.js';
import type { Reader } from './reader.js';

interface Wait {
  readonly signal: AbortSignal;
}

/** `value` absent = deleted; `previous` absent = new. */
export interface Change<T> {
  readonly key: string;
  readonly value?: T;
  readonly previous?: T;
}

export interface InformerDeps {
  readonly client: EtcdClient;
  readonly reader: Reader;
  readonly clock: Clock;
  readonly log: Log;
}

interface Item<T> {
  readonly value: T;
  readonly modRevision: number;
}

/** A connection that lasted this long starts the backoff anew. */
const HEALTHY_MS = 1_000;

export class Informer<T> implements AsyncDisposable {
  readonly prefix: string;
  readonly #deps: InformerDeps;
  readonly #decode: (value: Buffer, kv: KV) => T;
  readonly #items = new Map<string, Item<T>>();
  readonly #subscribers = new Set<(changes: readonly Change<T>[]) => void>();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #revision = 0;
  #listed = false;
  #live = false;

  constructor(deps: InformerDeps, prefix: string, decode: (value: Buffer, kv: KV) => T) {
    this.#deps = deps;
    this.prefix = prefix;
    this.#decode = decode;
    this.#done = this.#run();
  }

  get(key: string): T | undefined {
    return this.#items.get(key)?.value;
  }

  has(key: string): boolean {
    return this.#items.has(key);
  }

  get size(): number {
    return this.#items.size;
  }

  /** Revision that the content is current to; 0 before the first listing. */
  get revision(): number {
    return this.#revision;
  }

  /** A watch is running: content follows etcd closely. */
  get live(): boolean {
    return this.#live;
  }

  *entries(): IterableIterator<[key: string, value: T]> {
    for (const [key, item] of this.#items) yield [key, item.value];
  }

  *values(): IterableIterator<T> {
    for (const item of this.#items.values()) yield item.value;
  }

  /** Resolves once the first listing is in. */
  async ready(wait: Wait): Promise<void> {
    await this.waitFor(() => this.#listed, wait);
  }

  /**
   * Resolves with the first truthy answer of `predicate`, asked now (once listed) and after each
   * batch of changes. Rejects with the signal's reason, or CANCELLED when the informer is closed.
   */
  async waitFor<R>(
    predicate: (informer: Informer<T>) => R | undefined | false,
    wait: Wait,
  ): Promise<R> {
    wait.signal.throwIfAborted();
    return new Promise<R>((resolve, reject) => {
      const finish = (settle: () => void): void => {
        this.#subscribers.delete(check);
        stopWait();
        stopClose();
        settle();
      };
      const check = (): void => {
        if (!this.#listed) return;
        try {
          const answer = predicate(this);
          if (answer) finish(() => resolve(answer));
        } catch (error) {
          finish(() => reject(error as Error));
        }
      };
      const stopWait = addAbortListener(wait.signal, () =>
        finish(() => reject(wait.signal.reason as Error)),
      );
      const stopClose = addAbortListener(this.#stop.signal, () =>
        finish(() => reject(cancelled(`the watch on ${this.prefix} was closed`))),
      );
      this.#subscribers.add(check);
      check();
    });
  }

  /** Calls back after every batch of changes; returns the function that stops it. */
  subscribe(callback: (changes: readonly Change<T>[]) => void): () => void {
    const own = (changes: readonly Change<T>[]): void => callback(changes);
    this.#subscribers.add(own);
    return () => this.#subscribers.delete(own);
  }

  /** Resolves when it has been disposed. */
  get closed(): Promise<void> {
    return this.#done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(cancelled(`the watch on ${this.prefix} was closed`));
    await this.#done;
  }

  async #run(): Promise<void> {
    const { clock, log } = this.#deps;
    const signal = this.#stop.signal;
    for (let failures = 0; !signal.aborted;) {
      const startMs = clock.monotonicMs();
      try {
        await this.#list(signal);
        await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        log.debug({ prefix: this.prefix, reason: messageOf(error) }, 'watch broke; listing again');
      } finally {
        this.#live = false;
      }
      failures = clock.monotonicMs() - startMs > HEALTHY_MS ? 1 : failures + 1;
      const delayMs = backoffMs(failures, { baseDelayMs: 20, maxDelayMs: 1_000 });
      await clock.sleep(delayMs, { signal }).catch(() => undefined);
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { kvs, revision } = await this.#deps.reader.range(this.prefix, { signal });
    const changes: Change<T>[] = [];
    const seen = new Set<string>();
    for (const kv of kvs) {
      seen.add(kv.key);
      if (this.#items.get(kv.key)?.modRevision !== kv.modRevision) this.#apply(kv, changes);
    }
    for (const key of this.#items.keys()) {
      if (!seen.has(key)) this.#drop(key, changes);
    }
    this.#revision = revision;
    const first = !this.#listed;
    this.#listed = true;
    if (first || changes.length > 0) this.#publish(changes);
    // An empty batch: what came and went meanwhile was not seen.
    if (!first) this.#publish([]);
  }

  /** Ends only by throwing. */
  async #watch(signal: AbortSignal): Promise<never> {
    const stream = await this.#deps.client.watch(this.prefix, this.#revision + 1);
    try {
      const broken = this.#follow(stream);
      broken.catch(() => undefined);
      return await abortable(broken, signal);
    } finally {
      stream.cancel();
    }
  }

  /** Applies what the stream brings; rejects when it breaks. */
  async #follow(stream: RawStream<unknown, IWatchResponse>): Promise<never> {
    return new Promise<never>((_resolve, reject) => {
      let parts: IWatchResponse[] = [];
      stream.on('error', (error) => reject(this.#deps.client.translate(error) as Error));
      stream.on('end', () => reject(unavailable('etcd ended the watch')));
      stream.on('data', (response) => {
        if (response.canceled) {
          const why = response.cancel_reason || `compacted at ${response.compact_revision}`;
          reject(unavailable(`etcd cancelled the watch: ${why}`));
          return;
        }
        this.#live = true;
        parts.push(response);
        if (response.fragment) return;
        const whole = parts;
        parts = [];
        this.#events(whole);
      });
    });
  }

  #events(responses: readonly IWatchResponse[]): void {
    const changes: Change<T>[] = [];
    let newest = this.#revision;
    for (const response of responses) {
      for (const event of response.events) {
        const kv = this.#deps.client.keys.decode(event.kv);
        if (kv.modRevision <= this.#revision) continue;
        newest = Math.max(newest, kv.modRevision);
        if (event.type === 'Put') this.#apply(kv, changes);
        else this.#drop(kv.key, changes);
      }
    }
    // Only events count: the header of the answer to a new watch may already be ahead of events
    // that are still to come.
    this.#revision = newest;
    if (changes.length > 0) this.#publish(changes);
  }

  #apply(kv: KV, changes: Change<T>[]): void {
    let value: T;
    try {
      value = this.#decode(kv.value, kv);
    } catch (error) {
      const { log } = this.#deps;
      log.error({ key: kv.key, err: error }, 'a stored record can not be read; taken as absent');
      this.#drop(kv.key, changes);
      return;
    }
    const previous = this.#items.get(kv.key)?.value;
    this.#items.set(kv.key, { value, modRevision: kv.modRevision });
    changes.push({ key: kv.key, value, ...(previous === undefined ? {} : { previous }) });
  }

  #drop(key: string, changes: Change<T>[]): void {
    const item = this.#items.get(key);
    if (!item) return;
    this.#items.delete(key);
    changes.push({ key, previous: item.value });
  }

  #publish(changes: readonly Change<T>[]): void {
    for (const subscriber of [...this.#subscribers]) {
      try {
        subscriber(changes);
      } catch (error) {
        this.#deps.log.error({ prefix: this.prefix, err: error }, 'a watch callback failed');
      }
    }
  }
}
