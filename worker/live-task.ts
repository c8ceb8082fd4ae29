/** What others may see of a task while it runs, and the one thing they may do: try a datum again. */
import type { Clock } from '../core/clock.js';
import { cancelledBy } from '../core/signals.js';
import type { RunningTask } from '../queue/index.js';
import type {
  DatumResult,
  LinesSoFar,
  TaskMessage,
  WorkDatum,
  WorkStats,
} from '../queue/messages.js';
import { filesOf, haveAll } from './datum-files.js';
import type { WorkQueue } from './ports.js';
import type { TaskLog } from './task-log.js';

export interface LiveTask {
  status(): Partial<RunningTask>;
  /** Cancels the try at hand when the datum matches every filter; true when it did. */
  restart(filters: readonly string[]): boolean;
  lines(from: number): Promise<LinesSoFar>;
}

export interface LiveDatumsDeps {
  readonly task: TaskMessage;
  /** Datums of the task. */
  readonly count: number;
  readonly log: Pick<TaskLog, 'soFar'>;
  readonly clock: Clock;
  readonly queue: Pick<WorkQueue, 'publishProgress'>;
}

/** Files of a datum that a status names; a message of the queue holds some thousand. */
const FILES_TOLD = 1000;
/** News of a task's progress, told again and again: whoever listens later hears them too. */
const NEWS_MS = 500;

export class LiveDatums implements LiveTask {
  #datum: WorkDatum | undefined;
  #startedMs = 0;
  #attempt: AbortController | undefined;
  #stats: WorkStats | undefined;
  readonly #done = { success: 0, failed: 0, recovered: 0 };
  #telling = false;
  readonly #over = new AbortController();

  constructor(readonly deps: LiveDatumsDeps) {}

  begin(datum: WorkDatum): void {
    this.#datum = datum;
    this.#startedMs = this.deps.clock.wallMs();
  }

  onTry(attempt: AbortController, stats: WorkStats): void {
    this.#attempt = attempt;
    this.#stats = stats;
  }

  done(state: DatumResult['state']): void {
    this.#done[state] += 1;
    this.end();
    if (this.#telling) return;
    this.#telling = true;
    void this.#tell();
  }

  /** The task is over. */
  close(): void {
    this.#over.abort();
  }

  async #tell(): Promise<void> {
    const { clock, queue, task, count } = this.deps;
    for (;;) {
      // A task that is soon done tells all with its result.
      await clock.sleep(NEWS_MS, { signal: this.#over.signal }).catch(() => undefined);
      if (this.#over.signal.aborted) return;
      const { success: processed, failed, recovered } = this.#done;
      // The result tells of the last one.
      if (processed + failed + recovered === count) return;
      queue.publishProgress(task.job, { task: task.task, processed, failed, recovered });
    }
  }

  /** No datum is at work any more. */
  end(): void {
    this.#datum = undefined;
    this.#attempt = undefined;
    this.#stats = undefined;
  }

  status(): Partial<RunningTask> {
    const { success: processed, failed, recovered } = this.#done;
    const counts = { processed, recovered };
    const datum = this.#datum;
    if (!datum) return counts;
    const queueSize = Math.max(0, this.deps.count - processed - failed - recovered - 1);
    return {
      ...counts,
      ...{
        datum: datum.id,
        data: filesOf(datum, FILES_TOLD),
        startedMs: this.#startedMs,
        queueSize,
      },
      ...(this.#stats ? { stats: { ...this.#stats } } : {}),
    };
  }

  restart(filters: readonly string[]): boolean {
    const attempt = this.#attempt;
    const datum = this.#datum;
    if (!datum || !attempt || attempt.signal.aborted) return false;
    if (!haveAll(filesOf(datum), filters)) return false;
    attempt.abort(cancelledBy('a request to restart the datum'));
    return true;
  }

  lines(from: number): Promise<LinesSoFar> {
    return this.deps.log.soFar(from);
  }
}
