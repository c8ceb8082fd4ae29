/**
 * Reads that are asked again while the first request is still out.
 *
 * H1 A read without its first byte after the p99 of recent reads of its size class is asked once more,
 *    and after that long again a third time. The first answer wins; the others are cancelled.
 * H2 At most one read in twenty is asked again (with a few saved up), so a slow store is not made
 *    slower. What these 95 % took is what the p99 is made of.
 * H3 An error that trying again may mend is no answer while another request is out; any other is.
 */
import type { Clock } from '../core/clock.js';
import { addAbortListener } from '../core/signals.js';
import type { Wait } from './types.js';

/** Further requests per read. */
const SHARE = 1 / 20;
/** How many may be saved up. */
const SAVED_MAX = 10;
/** Requests of one read that are out at once. */
const OUT_MAX = 3;

/** How long the first byte may take: never less, never more, and before enough is known. */
const DELAY_MIN_MS = 200;
const DELAY_MAX_MS = 2_000;
const DELAY_FIRST_MS = 1_000;

/** Recent reads of a class that are remembered, and how often their p99 is worked out anew. */
const RECENT = 256;
const RECENT_MIN = 32;

/** Reads of about one cost. */
export type SizeClass = 'head' | 'small' | 'medium' | 'large';

const SMALL_BYTES = 64 * 1024;
const MEDIUM_BYTES = 1024 * 1024;

/** The class of a read of `length` bytes, or of a whole object. */
export function sizeClass(length: number | undefined): SizeClass {
  if (length === undefined || length > MEDIUM_BYTES) return 'large';
  return length > SMALL_BYTES ? 'medium' : 'small';
}

/** How long the first bytes of recent reads took. */
class Latencies {
  readonly #recent = new Float64Array(RECENT);
  #count = 0;
  #delayMs = DELAY_FIRST_MS;

  add(ms: number): void {
    this.#recent[this.#count % RECENT] = ms;
    this.#count += 1;
    if (this.#count % RECENT_MIN !== 0) return;
    const known = this.#recent.slice(0, Math.min(this.#count, RECENT)).sort();
    const p99 = known[Math.ceil(known.length * 0.99) - 1] as number;
    this.#delayMs = Math.min(DELAY_MAX_MS, Math.max(DELAY_MIN_MS, p99));
  }

  get delayMs(): number {
    return this.#delayMs;
  }
}

export interface HedgedRead<T> extends Wait {
  readonly size: SizeClass;
  /** Sends one request; settles with its first byte. Its signal cancels it. */
  readonly ask: (wait: Wait) => Promise<T>;
  /** Told before a further request leaves. */
  readonly again: () => void;
  /** Whether an error is the answer, whatever other requests may bring. */
  readonly isFinal: (error: unknown) => boolean;
  /** Throws away an answer that came too late to be cancelled. */
  readonly drop: (late: T) => void;
}

/** One per store: the budget and the times of all its reads. */
export class Hedges {
  readonly #clock: Clock;
  readonly #latencies = new Map<SizeClass, Latencies>();
  #saved = SAVED_MAX;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** How long a read of this class may take before it is asked again. */
  delayMs(size: SizeClass): number {
    return this.#of(size).delayMs;
  }

  /** The first answer to a read. */
  async read<T>(read: HedgedRead<T>): Promise<T> {
    read.signal.throwIfAborted();
    this.#saved = Math.min(SAVED_MAX, this.#saved + SHARE);
    const latencies = this.#of(read.size);
    const race = new Race(read, this.#clock, latencies);
    race.send();
    const timer = new AbortController();
    void this.#hedge(race, latencies.delayMs, { signal: timer.signal });
    try {
      return await race.answer;
    } finally {
      timer.abort();
    }
  }

  /** Sends further requests until the timer is stopped. */
  async #hedge<T>(race: Race<T>, delayMs: number, wait: Wait): Promise<void> {
    try {
      for (;;) {
        await this.#clock.sleep(delayMs, wait);
        if (this.#saved < 1 || race.out >= OUT_MAX) continue;
        this.#saved -= 1;
        race.again();
      }
    } catch {
      // The timer was stopped: the read has its answer.
    }
  }

  #of(size: SizeClass): Latencies {
    let latencies = this.#latencies.get(size);
    if (!latencies) this.#latencies.set(size, (latencies = new Latencies()));
    return latencies;
  }
}

/** The requests of one read. */
class Race<T> {
  readonly answer: Promise<T>;
  readonly #out = new Set<AbortController>();
  #win!: (value: T) => void;
  #lose!: (error: unknown) => void;
  #over = false;

  constructor(
    readonly read: HedgedRead<T>,
    readonly clock: Clock,
    readonly latencies: Latencies,
  ) {
    this.answer = new Promise<T>((resolve, reject) => {
      this.#win = resolve;
      this.#lose = reject;
    });
    const stop = addAbortListener(read.signal, () => {
      this.#end(() => this.#lose(read.signal.reason));
    });
    this.answer.then(stop, stop);
  }

  /** Requests without an answer. */
  get out(): number {
    return this.#out.size;
  }

  again(): void {
    this.read.again();
    this.send();
  }

  send(): void {
    const request = new AbortController();
    this.#out.add(request);
    const beganMs = this.clock.monotonicMs();
    this.read.ask({ signal: request.signal }).then(
      (value) => {
        this.#out.delete(request);
        if (this.#over) {
          this.read.drop(value);
          return;
        }
        this.latencies.add(this.clock.monotonicMs() - beganMs);
        this.#end(() => this.#win(value));
      },
      (error: unknown) => {
        this.#out.delete(request);
        if (this.#over) return;
        if (this.#out.size === 0 || this.read.isFinal(error)) this.#end(() => this.#lose(error));
      },
    );
  }

  #end(settle: () => void): void {
    if (this.#over) return;
    this.#over = true;
    settle();
    for (const request of this.#out) request.abort();
  }
}
