/** Waiting for a condition, never for a time. */
import { setTimeout as sleep } from 'node:timers/promises';

/** Asks `condition` until it answers something truthy; fails with `what` after `timeoutMs`. */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 30_000,
): Promise<T> {
  const end = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await condition();
      if (answer) return answer;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      throw new Error(`timed out after ${timeoutMs} ms waiting until ${what}`, { cause: last });
    }
    await sleep(25);
  }
}
