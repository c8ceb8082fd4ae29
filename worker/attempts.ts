import { childController } from '../core/signals.js';

/** Controllers for the tries of one task: a new one only after one was used up. */
export class Attempts implements Disposable {
  #now: (AbortController & Disposable) | undefined;

  constructor(readonly parent: AbortSignal) {}

  /** Aborts with the task; whoever aborts it cancels the try at hand alone. */
  next(): AbortController {
    if (this.#now?.signal.aborted) this[Symbol.dispose]();
    this.#now ??= childController(this.parent);
    return this.#now;
  }

  [Symbol.dispose](): void {
    this.#now?.[Symbol.dispose]();
    this.#now = undefined;
  }
}
