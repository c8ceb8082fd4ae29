/** Why tasks were given back a moment ago, for who asks why a job stands still. */
import type { Clock } from '../core/clock.js';
import { excerpt } from '../core/errors.js';
import type { GivenBackTask } from '../queue/index.js';

/** Jobs that are remembered. */
const JOBS_MAX = 100;
const REASON_MAX = 500;
/** How long after its next try was due. */
const GRACE_MS = 10_000;

export class GivenBack {
  /** The last one of each job, the oldest first. */
  readonly #tasks = new Map<string, { readonly task: GivenBackTask; readonly untilMs: number }>();

  constructor(readonly clock: Pick<Clock, 'monotonicMs'>) {}

  /** A task of the job goes back to the queue for `delayMs`. */
  note(job: string, reason: string, delayMs: number): void {
    const untilMs = this.clock.monotonicMs() + delayMs + GRACE_MS;
    this.#tasks.delete(job);
    this.#tasks.set(job, { task: { job, reason: excerpt(reason, REASON_MAX) }, untilMs });
    const [oldest] = this.#tasks.keys();
    if (this.#tasks.size > JOBS_MAX && oldest !== undefined) this.#tasks.delete(oldest);
  }

  /** A task of the job is done: whatever was in the way is not any more. */
  forget(job: string): void {
    this.#tasks.delete(job);
  }

  /** Those whose next try is due, or was just now. */
  get recent(): GivenBackTask[] {
    const now = this.clock.monotonicMs();
    return [...this.#tasks.values()].filter(({ untilMs }) => now < untilMs).map(({ task }) => task);
  }
}
