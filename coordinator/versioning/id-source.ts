/**
 * Commit ids of this process, strictly growing: two commits made one after the other never share
 * their time digits, so the order of ids is the order of making even within a millisecond.
 */
import type { Clock } from '../../core/clock.js';
import { newId } from '../../core/ids.js';

export class IdSource {
  #lastMs = 0;

  constructor(readonly clock: Clock) {}

  next(): string {
    this.#lastMs = Math.max(this.#lastMs + 1, Math.floor(this.clock.wallMs()));
    return newId(this.#lastMs);
  }
}
