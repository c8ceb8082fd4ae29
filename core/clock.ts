/**
 * Time as a port, so that expiry and backoff can be tested without sleeping.
 * Wall time is for display and timestamps only; decisions use monotonic time (design rule 10).
 */
import { addAbortListener } from './signals.js';

export interface Clock {
  /** Milliseconds since the Unix epoch; may jump. */
  wallMs(): number;
  /** Milliseconds that never go backwards; origin unspecified. */
  monotonicMs(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it is aborted first. */
  sleep(ms: number, options: { signal: AbortSignal }): Promise<void>;
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep: (ms, { signal }) =>
    new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        stop();
        resolve();
      }, ms);
      const stop = addAbortListener(signal, () => {
        clearTimeout(timer);
        reject(signal.reason as Error);
      });
    }),
};
