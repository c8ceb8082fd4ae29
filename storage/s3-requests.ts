/**
 * The one way requests go to S3: tried again with jitter within a budget (the SDK's own retries are
 * off), at the pace the bucket asks for (s3-pace.ts), reads asked again when they take too long
 * (s3-hedge.ts).
 */
import type { Clock } from '../core/clock.js';
import { codeOf, isRetryable } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { retry, type RetryOptions } from '../core/retry.js';
import { fromS3Error, type S3Place } from './s3-errors.js';
import { Hedges, type SizeClass } from './s3-hedge.js';
import { Pace } from './s3-pace.js';
import type { Wait } from './types.js';

type Limits = Pick<RetryOptions, 'baseDelayMs' | 'budgetMs' | 'retryable'>;

export interface S3RequestsOptions extends Limits {
  readonly clock: Clock;
  readonly log: Log;
  readonly at: S3Place;
  /** Who tries, for the log. */
  readonly who: string;
  /** The part of a key that has a pace of its own (the whole bucket when absent). Few. */
  readonly prefixOf?: (key: string) => string;
}

/** How a read is answered: `ask` settles with the first byte, `take` has the rest. */
export interface S3Read<A, T> {
  readonly size: SizeClass;
  readonly ask: (wait: Wait) => Promise<A>;
  readonly take: (answer: A) => Promise<T>;
  readonly drop: (late: A) => void;
}

const BASE_DELAY_MS = 50;
const MAX_DELAY_MS = 2_000;
/** Prefixes whose pace is known; the one that was used longest ago is forgotten. */
const PACES_MAX = 64;

export class S3Requests {
  /** Since the start. */
  readonly counts = { readsHedged: 0, slowDowns: 0 };
  readonly #options: S3RequestsOptions;
  readonly #hedges: Hedges;
  readonly #paces = new Map<string, Pace>();

  constructor(options: S3RequestsOptions) {
    this.#options = options;
    this.#hedges = new Hedges(options.clock);
  }

  /** A request whose answer is small. Errors are those of s3-errors.ts and name `key`. */
  async send<T>(
    key: string,
    wait: Wait,
    work: () => Promise<T>,
    limits: Limits & { readonly kind?: 'read' | 'write' } = {},
  ): Promise<T> {
    const { kind = 'read', ...more } = limits;
    const pace = this.#paceOf(kind, key);
    return this.#try(key, wait, more, async () => {
      await pace.take(wait);
      return this.#watched(pace, work);
    });
  }

  /** A read that may be asked more than once at a time. Errors as of `send`. */
  async read<A, T>(key: string, wait: Wait, { size, ask, take, drop }: S3Read<A, T>): Promise<T> {
    const { at, log } = this.#options;
    const pace = this.#paceOf('read', key);
    return this.#try(key, wait, {}, async () => {
      await pace.take(wait);
      const answer = await this.#hedges.read({
        signal: wait.signal,
        size,
        ask: (one) => this.#watched(pace, () => ask(one)),
        again: () => {
          pace.charge();
          this.counts.readsHedged += 1;
          log.debug({ key, afterMs: this.#hedges.delayMs(size) }, 'no first byte: asked again');
        },
        isFinal: (error) => !isRetryable(fromS3Error(error, at, key)),
        drop,
      });
      return take(answer);
    });
  }

  /** Tells the pace how a request was answered. */
  async #watched<T>(pace: Pace, work: () => Promise<T>): Promise<T> {
    try {
      const value = await work();
      pace.answered('other');
      return value;
    } catch (error) {
      const slow = codeOf(fromS3Error(error, this.#options.at, '')) === 'OVERLOADED';
      if (slow) this.counts.slowDowns += 1;
      pace.answered(slow ? 'slow down' : 'other');
      throw error;
    }
  }

  async #try<T>(key: string, wait: Wait, limits: Limits, work: () => Promise<T>): Promise<T> {
    const { clock, log, at, who, baseDelayMs = BASE_DELAY_MS, budgetMs, retryable } = this.#options;
    const once = async (): Promise<T> => {
      try {
        return await work();
      } catch (error) {
        wait.signal.throwIfAborted();
        throw fromS3Error(error, at, key);
      }
    };
    return retry(once, {
      ...{ signal: wait.signal, clock, baseDelayMs, maxDelayMs: MAX_DELAY_MS },
      ...(budgetMs === undefined ? {} : { budgetMs }),
      ...(retryable === undefined ? {} : { retryable }),
      ...limits,
      onRetry: (error, attempt) => log.debug({ err: error, key, attempt }, `${who} retry`),
    });
  }

  /** Reads and writes of a prefix are counted apart, as S3 counts them. */
  #paceOf(kind: 'read' | 'write', key: string): Pace {
    const name = `${kind} ${this.#options.prefixOf?.(key) ?? ''}`;
    const known = this.#paces.get(name);
    const pace = known ?? new Pace(this.#options.clock);
    this.#paces.delete(name);
    this.#paces.set(name, pace);
    const [oldest] = this.#paces.keys();
    if (this.#paces.size > PACES_MAX && oldest !== undefined) this.#paces.delete(oldest);
    return pace;
  }
}
