/** The one retry layer of requests to S3: the SDK's own is off (s3-client.ts). */
import type { Clock } from '../core/clock.js';
import type { Log } from '../core/log.js';
import { retry, type RetryOptions } from '../core/retry.js';
import { fromS3Error, type S3Place } from './s3-errors.js';
import type { Wait } from './types.js';

export interface S3Retry extends Pick<RetryOptions, 'baseDelayMs' | 'budgetMs' | 'retryable'> {
  readonly clock: Clock;
  readonly log: Log;
  readonly at: S3Place;
  /** Who tries, for the log. */
  readonly who: string;
}

const BASE_DELAY_MS = 50;
const MAX_DELAY_MS = 2_000;

/** Tries until it works or its budget is spent; errors are those of s3-errors.ts and name `key`. */
export async function tryS3<T>(
  { clock, log, at, who, baseDelayMs = BASE_DELAY_MS, ...limits }: S3Retry,
  key: string,
  wait: Wait,
  work: () => Promise<T>,
): Promise<T> {
  const once = async (): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      wait.signal.throwIfAborted();
      throw fromS3Error(error, at, key);
    }
  };
  return retry(once, {
    ...{ signal: wait.signal, clock, baseDelayMs, maxDelayMs: MAX_DELAY_MS, ...limits },
    onRetry: (error, attempt) => log.debug({ err: error, key, attempt }, `${who} retry`),
  });
}
