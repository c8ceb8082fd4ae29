/**
 * Acknowledgements of tasks. One that is lost costs more than the work it repeats: until the ack
 * wait is over the task takes up one of the few places in flight.
 *
 * A1  An acknowledgement that got no answer is tried again while the task waits for it.
 * A2  A server that was killed comes back without the acknowledgements of its last moments, also
 *     confirmed ones: the newest are sent again after each reconnect. Those it has are ignored.
 */
import { isRetryable, messageOf } from '../core/errors.js';
import { retry } from '../core/retry.js';
import { Semaphore } from '../core/semaphore.js';
import { NEVER } from '../core/signals.js';
import type { Connection } from './connection.js';

/** How many are remembered, and for how long: about the ack wait. */
const NEWEST_MAX = 256;
const NEWEST_MS = 30_000;
/** How long one answer is waited for, and how long it is tried again (A1). */
const ANSWER_MS = 2_000;
const LATER_MS = 20_000;
const PARALLEL = 16;
const ACK = new TextEncoder().encode('+ACK');

export class Acks {
  /** Reply subjects and when they were used, oldest first. */
  readonly #newest = new Map<string, number>();
  readonly #room = new Semaphore(PARALLEL);

  constructor(readonly connection: Connection) {
    connection.onReconnect(() => this.#again());
  }

  /** Returns when it is confirmed, or when that has to go on without the caller. */
  async acknowledge(reply: string): Promise<void> {
    if (this.connection.nc.isClosed()) return;
    this.#newest.set(reply, this.connection.options.clock.monotonicMs());
    const [oldest] = this.#newest.keys();
    if (this.#newest.size > NEWEST_MAX && oldest !== undefined) this.#newest.delete(oldest);
    await this.#send(reply).catch(() => void this.#later(reply));
  }

  async #send(reply: string): Promise<void> {
    const { nc } = this.connection;
    await this.connection.call(() => nc.request(reply, ACK, { timeout: ANSWER_MS }), {
      signal: NEVER,
    });
  }

  #again(): void {
    const since = this.connection.options.clock.monotonicMs() - NEWEST_MS;
    for (const [reply, atMs] of this.#newest) {
      if (atMs < since) this.#newest.delete(reply);
      else void this.#later(reply);
    }
  }

  async #later(reply: string): Promise<void> {
    const { nc, options } = this.connection;
    const { clock, log } = options;
    const delays = { baseDelayMs: 50, maxDelayMs: 1_000, budgetMs: LATER_MS };
    const retryable = (error: unknown): boolean => isRetryable(error) && !nc.isClosed();
    const once = async (): Promise<void> =>
      this.#room.with({ signal: NEVER }, () => this.#send(reply));
    await retry(once, { signal: NEVER, clock, ...delays, retryable }).catch((error: unknown) =>
      log.debug({ reason: messageOf(error) }, 'a task was not acknowledged'),
    );
  }
}
