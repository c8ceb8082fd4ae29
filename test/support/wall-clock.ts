/** A wall clock that stands still until a test sets it; short sleeps are real, long ones end then. */
import { systemClock, type Clock } from '../../core/clock.js';
import { addAbortListener } from '../../core/signals.js';

/** Shorter sleeps are pauses between tries, not waits for a time of day. */
const REAL_MS = 500;

export class WallClock implements Clock {
  #nowMs: number;
  readonly #sleeping = new Set<() => void>();

  constructor(now: string) {
    this.#nowMs = Date.parse(now);
  }

  /** Sets the time and wakes everybody who sleeps. */
  set(now: string): void {
    this.#nowMs = Date.parse(now);
    for (const wake of [...this.#sleeping]) wake();
  }

  wallMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return systemClock.monotonicMs();
  }

  sleep(ms: number, options: { signal: AbortSignal }): Promise<void> {
    if (ms < REAL_MS) return systemClock.sleep(ms, options);
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        this.#sleeping.delete(wake);
        stop();
        resolve();
      };
      const stop = addAbortListener(options.signal, () => {
        this.#sleeping.delete(wake);
        reject(options.signal.reason as Error);
      });
      this.#sleeping.add(wake);
    });
  }
}
