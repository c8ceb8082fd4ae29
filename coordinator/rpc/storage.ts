/** The service tusk.Storage, and GarbageCollect of the v1 API. */
import type { Clock } from '../../core/clock.js';
import { CollectProgress, type StorageServer } from '../../proto/generated/tusk.js';
import type { GarbageCollector, GcProgress, GcResult } from '../gc/collector.js';
import type { Handlers } from './handler.js';

/** Progress is told at most so often. */
const TELL_MS = 200;

export interface StorageDeps {
  readonly collector: GarbageCollector;
  readonly clock: Clock;
}

export function storageHandlers({ collector, clock }: StorageDeps): Handlers<StorageServer> {
  return {
    collect: async function* ({ dryRun }, { signal }) {
      using stop = new Stopper(signal);
      const latest = new Latest();
      const running = collector
        .collect({ dryRun, signal: stop.signal, onProgress: (progress) => latest.set(progress) })
        .finally(() => latest.end());
      running.catch(() => undefined);
      for (let news = await latest.next(); news; news = await latest.next()) {
        yield toProgress(news);
        await clock
          .sleep(TELL_MS, { signal: AbortSignal.any([signal, latest.ended]) })
          .catch(nothing);
      }
      yield toResult(await running);
    },
  };
}

/** Aborts when the caller goes away: also one that merely stops reading. */
class Stopper implements Disposable {
  readonly #own = new AbortController();
  readonly signal: AbortSignal;

  constructor(signal: AbortSignal) {
    this.signal = AbortSignal.any([signal, this.#own.signal]);
  }

  [Symbol.dispose](): void {
    this.#own.abort();
  }
}

/** The newest progress; older ones nobody asked for in time are dropped. */
class Latest {
  readonly #end = new AbortController();
  #news: GcProgress | undefined;
  #wake: () => void = nothing;

  get ended(): AbortSignal {
    return this.#end.signal;
  }

  set(progress: GcProgress): void {
    this.#news = progress;
    this.#wake();
  }

  end(): void {
    this.#end.abort();
    this.#wake();
  }

  async next(): Promise<GcProgress | undefined> {
    while (!this.#news && !this.#end.signal.aborted) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const news = this.#news;
    this.#news = undefined;
    return this.#end.signal.aborted ? undefined : news;
  }
}

function nothing(): void {
  // Nobody waits.
}

function toProgress(progress: GcProgress): CollectProgress {
  const { phase } = progress;
  switch (phase) {
    case 'start':
      return CollectProgress.fromPartial({ phase: 'wait' });
    case 'wait':
      return CollectProgress.fromPartial({ phase, waitingFor: [...progress.on] });
    case 'mark':
      return CollectProgress.fromPartial(progress);
    case 'sweep':
      return CollectProgress.fromPartial({ phase, ...countsOf(progress.counts) });
  }
}

function toResult(result: GcResult): CollectProgress {
  return CollectProgress.fromPartial({
    ...countsOf(result),
    phase: 'sweep',
    live: result.live,
    done: true,
    heldBy: [...result.heldBy],
  });
}

function countsOf(
  counts: Pick<
    GcResult,
    'objects' | 'bytes' | 'freed' | 'freedBytes' | 'kept' | 'keptBytes' | 'missing' | 'missingKeys'
  >,
): Partial<CollectProgress> {
  return {
    objects: counts.objects,
    bytes: counts.bytes,
    freedObjects: counts.freed,
    freedBytes: counts.freedBytes,
    keptObjects: counts.kept,
    keptBytes: counts.keptBytes,
    missingObjects: counts.missing,
    missing: [...counts.missingKeys],
  };
}
