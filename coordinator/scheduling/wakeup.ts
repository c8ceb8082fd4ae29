/** A flag that one loop waits for and any number of callbacks raise; raising early is not lost. */
import { addAbortListener } from '../../core/signals.js';
import type { Clock } from '../../core/clock.js';

/** Without a reason every abort makes an exception, stack and all. */
const AWAKE = new Error('awake');

export class Wakeup {
  #raised = false;
  #wake: (() => void) | undefined;

  raise(): void {
    this.#raised = true;
    this.#wake?.();
  }

  /** Returns when raised or after `timeoutMs`; throws the signal's reason. Lowers the flag. */
  async wait(options: { signal: AbortSignal; timeoutMs: number; clock: Clock }): Promise<void> {
    options.signal.throwIfAborted();
    if (!this.#raised) {
      const done = new AbortController();
      this.#wake = () => done.abort(AWAKE);
      const stop = addAbortListener(options.signal, () => done.abort(AWAKE));
      await options.clock.sleep(options.timeoutMs, { signal: done.signal }).catch(() => undefined);
      stop();
      this.#wake = undefined;
      options.signal.throwIfAborted();
    }
    this.#raised = false;
  }
}
