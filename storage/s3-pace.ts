/**
 * How fast a prefix of a bucket is asked after it answered "slow down".
 *
 * P1 Until that happens nothing waits. From then on requests leave at a rate, first that of the last
 *    second. Every second takes off half the share of answers that said so again, and gives a
 *    sixteenth back: it settles where one answer in eight says so, however many ask.
 * P2 At twice the first rate there is no limit any more (12 quiet seconds).
 * P3 Who waits is served in order, and can be cancelled.
 */
import type { Clock } from '../core/clock.js';
import { Semaphore } from '../core/semaphore.js';
import type { Wait } from './types.js';

const WINDOW_MS = 1_000;
/** Requests a second. Who asks less often is not what a store suffers from. */
const FIRST_RATE_MIN = 100;
/** What a second gives back, of the rate and at least. */
const GAIN = 1 / 16;
const GAIN_MIN = 1;
/** Of a second's requests, how many may leave at once. */
const BURST = 1 / 10;
/** Nobody sleeps longer before looking at the rate again. */
const SLEEP_MAX_MS = 1_000;

interface Limit {
  /** Requests a second, now and when the trouble began. */
  rate: number;
  readonly first: number;
  /** Requests that may leave; below 0 after some that could not wait. */
  tokens: number;
  filledMs: number;
}

export class Pace {
  readonly #clock: Clock;
  readonly #line = new Semaphore(1);
  #limit: Limit | undefined;
  #windowMs: number;
  #sent = 0;
  #sentBefore = 0;
  #answers = 0;
  #refused = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#windowMs = clock.monotonicMs();
  }

  /** Requests a second; undefined: as many as one likes. */
  get rate(): number | undefined {
    this.#turn();
    return this.#limit?.rate;
  }

  /** Waits until one more request may leave. */
  async take(wait: Wait): Promise<void> {
    this.#turn();
    if (this.#limit) await this.#line.with(wait, () => this.#wait(wait));
    this.#sent += 1;
  }

  /** Counts a request that does not wait: those after it wait the longer. */
  charge(): void {
    this.#turn();
    this.#sent += 1;
    if (!this.#limit) return;
    fill(this.#limit, this.#clock.monotonicMs());
    this.#limit.tokens -= 1;
  }

  /** A request was answered. */
  answered(how: 'slow down' | 'other'): void {
    this.#turn();
    this.#answers += 1;
    if (how === 'other') return;
    this.#refused += 1;
    if (this.#limit) return;
    const first = Math.max(FIRST_RATE_MIN, this.#sent, this.#sentBefore);
    this.#limit = { rate: first, first, tokens: 0, filledMs: this.#clock.monotonicMs() };
  }

  async #wait(wait: Wait): Promise<void> {
    for (;;) {
      this.#turn();
      const limit = this.#limit;
      if (!limit) return;
      fill(limit, this.#clock.monotonicMs());
      if (limit.tokens >= 1) {
        limit.tokens -= 1;
        return;
      }
      const ms = Math.ceil(((1 - limit.tokens) / limit.rate) * 1_000);
      await this.#clock.sleep(Math.min(ms, SLEEP_MAX_MS), { signal: wait.signal });
    }
  }

  /** Ends the second that is over, if one is. */
  #turn(): void {
    const now = this.#clock.monotonicMs();
    const windows = Math.floor((now - this.#windowMs) / WINDOW_MS);
    if (windows < 1) return;
    const limit = this.#limit;
    if (limit) {
      fill(limit, now);
      const share = this.#answers === 0 ? 0 : this.#refused / this.#answers;
      limit.rate *= 1 - share / 2;
      for (let i = 0; i < windows && limit.rate < 2 * limit.first; i += 1) {
        limit.rate += Math.max(GAIN_MIN, limit.rate * GAIN);
      }
      if (limit.rate >= 2 * limit.first) this.#limit = undefined;
    }
    this.#windowMs += windows * WINDOW_MS;
    this.#sentBefore = windows === 1 ? this.#sent : 0;
    this.#sent = this.#answers = this.#refused = 0;
  }
}

function fill(limit: Limit, nowMs: number): void {
  const fresh = (limit.rate * (nowMs - limit.filledMs)) / 1_000;
  limit.tokens = Math.min(Math.max(1, limit.rate * BURST), limit.tokens + fresh);
  limit.filledMs = nowMs;
}
