/**
 * What the owner of a pipeline runs beside its jobs: clocks, watchers of sources. Each has its own
 * trouble: one that fails is started again and never disturbs the jobs.
 */
import type { Clock } from '../../core/clock.js';
import { codeOf } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { backoffMs } from '../../core/retry.js';
import { cancelledBy, childController } from '../../core/signals.js';
import type { Fence } from './deps.js';
import type { Views } from './views.js';

/** Runs until the signal aborts. Every write it makes goes through the fence. */
export type Beside = (
  owned: { readonly fence: Fence; readonly views: Views },
  signal: AbortSignal,
) => Promise<void>;

export interface BesideDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly views: Views;
  readonly beside: readonly Beside[];
}

const HEALTHY_MS = 30_000;

/** Runs `main` with everything beside it, which ends when `main` does. */
export async function tendBeside(
  deps: BesideDeps,
  fence: Fence,
  main: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  using scope = childController(signal);
  const others = deps.beside.map((one) => supervise(deps, fence, one, scope.signal));
  try {
    await main(signal);
  } finally {
    scope.abort(cancelledBy('the end of its pipeline'));
    await Promise.all(others);
  }
}

/** Never throws. */
async function supervise(
  deps: BesideDeps,
  fence: Fence,
  one: Beside,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log, views } = deps;
  for (let attempt = 1; !signal.aborted; attempt += 1) {
    const startMs = clock.monotonicMs();
    try {
      await one({ fence, views }, signal);
      return;
    } catch (error) {
      if (signal.aborted) return;
      const level = codeOf(error) === 'INTERNAL' ? 'error' : 'warn';
      log[level](
        { pipeline: fence.pipeline, attempt, err: error },
        'work beside a pipeline failed',
      );
    }
    if (clock.monotonicMs() - startMs > HEALTHY_MS) attempt = 1;
    const delayMs = backoffMs(attempt, { baseDelayMs: 200, maxDelayMs: 10_000 });
    await clock.sleep(delayMs, { signal }).catch(() => undefined);
  }
}
