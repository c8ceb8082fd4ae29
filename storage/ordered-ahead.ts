/**
 * Runs several reads ahead of a consumer and yields their results in order, bounded in number and
 * in bytes. When the consumer stops, what still runs is cancelled and awaited.
 */
import { childController } from '../core/signals.js';

export interface AheadJob<T> {
  /** Bytes the result will hold. */
  readonly bytes: number;
  readonly run: (signal: AbortSignal) => Promise<T>;
}

/**
 * Bytes that all readers together may hold ahead of their consumers: many consumers that have
 * stopped must not fill the memory. Every reader may have one read beyond it, so all get on.
 */
export class AheadBudget {
  #free: number;

  constructor(bytes: number) {
    this.#free = bytes;
  }

  /** False: there is no room now. A read may be larger than what is left, so that it fits at all. */
  take(bytes: number): boolean {
    if (this.#free <= 0) return false;
    this.#free -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#free += bytes;
  }
}

interface Running<T> {
  readonly bytes: number;
  /** What of it counts in the shared budget. */
  readonly shared: number;
  readonly result: Promise<T>;
}

export async function* orderedAhead<T>(
  jobs: AsyncIterable<AheadJob<T>> | Iterable<AheadJob<T>>,
  options: { signal: AbortSignal; parallel: number; bytes: number; budget?: AheadBudget },
): AsyncGenerator<T> {
  using controller = childController(options.signal);
  const source =
    Symbol.asyncIterator in jobs ? jobs[Symbol.asyncIterator]() : jobs[Symbol.iterator]();
  const running: Running<T>[] = [];
  const { budget } = options;
  let bytes = 0;
  let ended = false;
  /** Ours of the shared budget. */
  let held = 0;
  let waiting: AheadJob<T> | undefined;
  const start = (job: AheadJob<T>, shared: number): void => {
    const result = job.run(controller.signal);
    // Awaited below in order; this only keeps an early failure from being "unhandled".
    result.catch(() => undefined);
    running.push({ bytes: job.bytes, shared, result });
    bytes += job.bytes;
    held += shared;
  };
  try {
    for (;;) {
      while (running.length === 0 || (running.length < options.parallel && bytes < options.bytes)) {
        if (!waiting) {
          const next = ended ? undefined : await source.next();
          if (!next || next.done) {
            ended = true;
            break;
          }
          waiting = next.value;
        }
        const isAhead = budget !== undefined && running.length > 0;
        if (isAhead && !budget.take(waiting.bytes)) break;
        start(waiting, isAhead ? waiting.bytes : 0);
        waiting = undefined;
      }
      const first = running.shift();
      if (!first) return;
      const value = await first.result;
      bytes -= first.bytes;
      held -= first.shared;
      budget?.give(first.shared);
      yield value;
    }
  } finally {
    if (running.length > 0) controller.abort(options.signal.reason);
    await Promise.allSettled(running.map(({ result }) => result));
    budget?.give(held);
    if (!ended) await source.return?.();
  }
}
