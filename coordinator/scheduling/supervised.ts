/** Keeps a piece of an owner's work going: tries again with backoff until it ends by itself. */
import type { Clock } from '../../core/clock.js';
import { codeOf } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { backoffMs } from '../../core/retry.js';
import type { Wait } from '../../storage/types.js';

const BACKOFF = { baseDelayMs: 200, maxDelayMs: 5_000 };
const HEALTHY_MS = 30_000;

/** Resolves when `attempt` returned once, or the signal aborted. Never rejects. */
export async function supervised(
  deps: { readonly clock: Clock; readonly log: Log },
  what: string,
  attempt: (wait: Wait) => Promise<void>,
  { signal }: Wait,
): Promise<void> {
  const { clock, log } = deps;
  for (let count = 1; !signal.aborted; count += 1) {
    const startMs = clock.monotonicMs();
    try {
      return await attempt({ signal });
    } catch (error) {
      if (signal.aborted) return;
      const level = codeOf(error) === 'INTERNAL' ? 'error' : 'warn';
      log[level]({ attempt: count, err: error }, `${what} broke off; trying again`);
    }
    if (clock.monotonicMs() - startMs > HEALTHY_MS) count = 1;
    await clock.sleep(backoffMs(count, BACKOFF), { signal }).catch(() => undefined);
  }
}
