/**
 * A lease and the timer that keeps it alive.
 *
 * L1  `lost` aborts when the server says the lease is gone, or when no renewal that was *sent*
 *     within the last TTL has been confirmed, by monotonic time: never later than the server's own
 *     expiry, so work under the lease stops first.
 * L2  A broken stream is opened again at once; weather alone ends a lease only through time (L1).
 */
import { cancelled, unavailable } from '../../core/errors.js';
import type { Clock } from '../../core/clock.js';
import type { EtcdClient, KeepAliveResponse, RawStream } from './etcd-client.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface LeaseDeps {
  readonly client: EtcdClient;
  readonly clock: Clock;
}

const REOPEN_MS = 100;

export class Lease implements AsyncDisposable {
  readonly id: string;
  readonly ttlMs: number;
  readonly #deps: LeaseDeps;
  readonly #lost = new AbortController();
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;
  #confirmedMs: number;

  /** @internal Use `openLease`. */
  constructor(deps: LeaseDeps, id: string, ttlMs: number, grantedMs: number) {
    this.#deps = deps;
    this.id = id;
    this.ttlMs = ttlMs;
    this.#confirmedMs = grantedMs;
    this.#done = Promise.all([this.#keep(), this.#judge()]).then(() => undefined);
  }

  /** Aborts when the lease is (or may be) gone; also after `revoke`. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Ends the lease: keys under it go now. Safe to call twice. */
  async revoke(): Promise<void> {
    if (this.#stop.signal.aborted) return;
    await this.#end('it was given back');
    await this.#deps.client
      .revoke(this.id, { signal: new AbortController().signal })
      .catch(() => undefined); // Time ends it.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.revoke();
  }

  async #end(why: string): Promise<void> {
    this.#lose(why);
    await this.#done;
  }

  #lose(why: string): void {
    this.#stop.abort(cancelled('the lease has ended'));
    this.#lost.abort(cancelled(`the lease ${this.id} has ended: ${why}`));
  }

  /** Watches the time since the last confirmed renewal was sent (L1). */
  async #judge(): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const leftMs = this.#confirmedMs + this.ttlMs - clock.monotonicMs();
      if (leftMs <= 0) {
        this.#lose('etcd did not confirm a renewal in time');
        return;
      }
      await clock.sleep(leftMs, { signal }).catch(() => undefined);
    }
  }

  async #keep(): Promise<void> {
    const { clock } = this.#deps;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await this.#serve(signal).catch(() => undefined);
      await clock.sleep(REOPEN_MS, { signal }).catch(() => undefined);
    }
  }

  /** One stream's life: send a renewal every third of the TTL, take note of the answers. */
  async #serve(signal: AbortSignal): Promise<void> {
    const { client, clock } = this.#deps;
    const stream: RawStream<{ ID: string }, KeepAliveResponse> = await client.keepAlive();
    const broken = new AbortController();
    const sentMs: number[] = [];
    const breakOff = (error: unknown): void => broken.abort(error);
    stream.on('error', breakOff);
    stream.on('end', () => breakOff(unavailable('etcd ended the stream')));
    stream.on('data', (response) => {
      const sent = sentMs.shift();
      if (Number(response.TTL) <= 0) this.#lose('etcd no longer knows it');
      else if (sent !== undefined) this.#confirmedMs = Math.max(this.#confirmedMs, sent);
    });
    const both = AbortSignal.any([signal, broken.signal]);
    try {
      while (!both.aborted) {
        // No answer to the renewal before the last: do not trust the stream.
        if (sentMs.length >= 2) return;
        sentMs.push(clock.monotonicMs());
        stream.write({ ID: this.id });
        await clock.sleep(this.ttlMs / 3, { signal: both }).catch(() => undefined);
      }
    } finally {
      stream.cancel();
    }
  }
}

/** Makes a lease that is kept alive until it is revoked or lost. `ttlMs` is rounded up to seconds. */
export async function openLease(deps: LeaseDeps, ttlMs: number, wait: Wait): Promise<Lease> {
  const startMs = deps.clock.monotonicMs();
  const id = await deps.client.grant(ttlMs, wait);
  return new Lease(deps, id, ttlMs, startMs);
}
