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

export async function* orderedAhead<T>(
  jobs: AsyncIterable<AheadJob<T>> | Iterable<AheadJob<T>>,
  options: { signal: AbortSignal; parallel: number; bytes: number },
): AsyncGenerator<T> {
  using controller = childController(options.signal);
  const source =
    Symbol.asyncIterator in jobs ? jobs[Symbol.asyncIterator]() : jobs[Symbol.iterator]();
  const running: { bytes: number; result: Promise<T> }[] = [];
  let bytes = 0;
  let ended = false;
  try {
    for (;;) {
      while (
        !ended &&
        (running.length === 0 || (running.length < options.parallel && bytes < options.bytes))
      ) {
        const next = await source.next();
        if (next.done) {
          ended = true;
          break;
        }
        const result = next.value.run(controller.signal);
        // Awaited below in order; this only keeps an early failure from being "unhandled".
        result.catch(() => undefined);
        running.push({ bytes: next.value.bytes, result });
        bytes += next.value.bytes;
      }
      const first = running.shift();
      if (!first) return;
      const value = await first.result;
      bytes -= first.bytes;
      yield value;
    }
  } finally {
    if (running.length > 0) controller.abort(options.signal.reason);
    await Promise.allSettled(running.map(({ result }) => result));
    if (!ended) await source.return?.();
  }
}
