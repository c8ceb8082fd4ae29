/** Work that is done only when something else takes longer than a moment. */
import type { Clock } from '../../core/clock.js';
import { cancelledBy, childController } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';

export class Late {
  readonly #stop: ReturnType<typeof childController>;
  readonly #done: Promise<void>;

  /** Begins `work` after `afterMs`. */
  constructor(clock: Pick<Clock, 'sleep'>, afterMs: number, work: () => Promise<void>, wait: Wait) {
    this.#stop = childController(wait.signal);
    const { signal } = this.#stop;
    this.#done = clock.sleep(afterMs, { signal }).then(work, () => undefined);
    this.#done.catch(() => undefined); // Thrown by `settle`.
  }

  /** Does not begin it any more; one that has begun comes to its end, and throws what it throws. */
  async settle(): Promise<void> {
    this.#stop.abort(cancelledBy('the end of what it was for'));
    this.#stop[Symbol.dispose]();
    await this.#done;
  }
}
