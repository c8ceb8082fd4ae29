/**
 * Which tasks of a job are done. The first result of a task wins; later ones change nothing, so
 * counters are exact however often a message is repeated.
 */
import type { TaskResult } from '../../queue/messages.js';
import { NO_STATS, type JobStats } from '../pipelines/model.js';

export interface Counts {
  readonly processed: number;
  readonly failed: number;
  readonly recovered: number;
  readonly stats: JobStats;
}

export class TaskBoard {
  readonly #results: (TaskResult | undefined)[];
  /** Tasks that became smaller: results of attempts before this one are about more datums. */
  readonly #since = new Map<number, number>();
  #size: number;
  #partial = false;
  #done = 0;
  #counts: Counts = { processed: 0, failed: 0, recovered: 0, stats: NO_STATS };
  #firstFailure: { readonly datum: string; readonly reason: string } | undefined;

  constructor(
    readonly job: string,
    size: number,
  ) {
    this.#size = size;
    this.#results = new Array<TaskResult | undefined>(size);
  }

  get size(): number {
    return this.#size;
  }

  /** More tasks were added to the plan; `partial`: and there will be more. */
  grow(size: number, partial = false): void {
    this.#partial = partial;
    this.#size = Math.max(this.#size, size);
    this.#results.length = this.#size;
  }

  /** The task was cut: only results of this attempt or a later one are about what it is now. */
  narrow(task: number, attempt: number): void {
    this.#since.set(task, attempt);
  }

  get done(): number {
    return this.#done;
  }

  get complete(): boolean {
    return !this.#partial && this.#done === this.size;
  }

  get counts(): Counts {
    return this.#counts;
  }

  get firstFailure(): { readonly datum: string; readonly reason: string } | undefined {
    return this.#firstFailure;
  }

  /** True when the result was the first of its task. Results of other jobs are not for us. */
  add(result: TaskResult): boolean {
    if (result.job !== this.job || !(result.task >= 0 && result.task < this.size)) return false;
    if (this.#results[result.task]) return false;
    if (result.attempt < (this.#since.get(result.task) ?? 0)) return false;
    this.#results[result.task] = result;
    this.#done += 1;
    const { processed, failed, recovered, stats } = this.#counts;
    this.#counts = {
      processed: processed + result.processed,
      failed: failed + result.failed,
      recovered: recovered + result.recovered,
      stats: addStats(stats, result.statsOfSuccess ?? result.stats),
    };
    this.#firstFailure ??= result.firstFailure;
    return true;
  }

  /** The same result, told in another way. */
  replace(result: TaskResult): void {
    if (this.#results[result.task]) this.#results[result.task] = result;
  }

  resultOf(task: number): TaskResult | undefined {
    return this.#results[task];
  }

  /** Numbers of the tasks without a result, ascending. */
  missing(): number[] {
    const tasks: number[] = [];
    for (let task = 0; task < this.size; task += 1) if (!this.#results[task]) tasks.push(task);
    return tasks;
  }

  /** Results in task order. */
  results(): TaskResult[] {
    return this.#results.filter((result) => result !== undefined);
  }

  /** The 95th percentile of how long finished tasks took, in ms; undefined before 5 are done. */
  p95Ms(): number | undefined {
    if (this.#done < 5) return undefined;
    const times = this.results()
      .map((r) => r.stats.downloadMs + r.stats.processMs + r.stats.uploadMs)
      .sort((a, b) => a - b);
    return times[Math.min(times.length - 1, Math.floor(times.length * 0.95))];
  }
}

export function addStats(a: JobStats, b: JobStats): JobStats {
  return {
    downloadMs: a.downloadMs + b.downloadMs,
    processMs: a.processMs + b.processMs,
    uploadMs: a.uploadMs + b.uploadMs,
    downloadBytes: a.downloadBytes + b.downloadBytes,
    uploadBytes: a.uploadBytes + b.uploadBytes,
  };
}
