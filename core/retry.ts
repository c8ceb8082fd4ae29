/**
 * The one retry loop. Exactly one layer per outgoing edge uses it; only errors whose code says so
 * are tried again, with full-jitter backoff, within a budget of time.
 */
import type { Clock } from './clock.js';
import { isRetryable } from './errors.js';

export interface RetryOptions {
  readonly signal: AbortSignal;
  readonly clock: Clock;
  /** First delay bound; doubles up to `maxDelayMs`. */
  readonly baseDelayMs?: number;
  readonly maxDelayMs?: number;
  /** Give up when this much time has passed; the last error is thrown. */
  readonly budgetMs?: number;
  readonly attempts?: number;
  readonly retryable?: (error: unknown) => boolean;
  readonly onRetry?: (error: unknown, attempt: number) => void;
  readonly random?: () => number;
}

export async function retry<T>(
  work: (attempt: number) => Promise<T>,
  options: RetryOptions,
): Promise<T> {
  const start = options.clock.monotonicMs();
  const retryable = options.retryable ?? isRetryable;
  for (let attempt = 1; ; attempt += 1) {
    options.signal.throwIfAborted();
    try {
      return await work(attempt);
    } catch (error) {
      const spent = options.clock.monotonicMs() - start;
      const out =
        attempt >= (options.attempts ?? Number.POSITIVE_INFINITY) ||
        spent >= (options.budgetMs ?? Number.POSITIVE_INFINITY);
      if (options.signal.aborted || out || !retryable(error)) throw error;
      options.onRetry?.(error, attempt);
      await options.clock.sleep(backoffMs(attempt, options), { signal: options.signal });
    }
  }
}

/** Full-jitter exponential backoff for the given 1-based attempt. */
export function backoffMs(
  attempt: number,
  options: { baseDelayMs?: number; maxDelayMs?: number; random?: () => number },
): number {
  const bound = Math.min(
    options.maxDelayMs ?? 2_000,
    (options.baseDelayMs ?? 50) * 2 ** Math.min(attempt - 1, 20),
  );
  return (options.random ?? Math.random)() * bound;
}
