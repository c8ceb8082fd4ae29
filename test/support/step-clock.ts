/** A clock that a test moves on: who sleeps wakes when its time has come. */
import type { Clock } from '../../core/clock.js';
import { addAbortListener } from '../../core/signals.js';

export class StepClock implements Clock {
  #nowMs = 0;
  readonly #sleeping = new Set<{ readonly untilMs: number; readonly wake: () => void }>();

  wallMs(): number {
    return this.#nowMs;
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  /** Goes on to `ms` later, stopping wherever somebody wakes. */
  async pass(ms: number): Promise<void> {
    const endMs = this.#nowMs + ms;
    for (;;) {
      await settled();
      let nextMs = Infinity;
      for (const { untilMs } of this.#sleeping) nextMs = Math.min(nextMs, untilMs);
      if (nextMs > endMs) break;
      this.#nowMs = Math.max(this.#nowMs, nextMs);
      for (const sleeper of [...this.#sleeping]) {
        if (sleeper.untilMs > this.#nowMs) continue;
        this.#sleeping.delete(sleeper);
        sleeper.wake();
      }
    }
    this.#nowMs = endMs;
    await settled();
  }

  sleep(ms: number, { signal }: { signal: AbortSignal }): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = { untilMs: this.#nowMs + ms, wake: (): void => (stop(), resolve()) };
      const stop = addAbortListener(signal, () => {
        this.#sleeping.delete(sleeper);
        reject(signal.reason as Error);
      });
      this.#sleeping.add(sleeper);
    });
  }
}

/** Everything that can happen without time passing has happened. */
async function settled(): Promise<void> {
  for (let i = 0; i < 3; i += 1) await new Promise((resolve) => setImmediate(resolve));
}
