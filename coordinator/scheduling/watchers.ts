/**
 * Looks out for tasks of a running job that will not come back by themselves: held by a worker that
 * is gone, stuck far longer than the others, or no longer in the queue at all. Answers what to
 * publish again; the collector decides with which attempt number.
 */
import { isRetryable } from '../../core/errors.js';
import { abortable } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import type { TaskBoard } from './board.js';
import type { OwnerDeps } from './deps.js';
import type { Overlap } from './overlap.js';
import type { WorkerStatuses } from './worker-statuses.js';

export interface Lost {
  readonly tasks: readonly number[];
  readonly why: string;
  /** The workers that had them are gone: until the ack wait is over they block as many slots. */
  readonly blocked?: boolean;
  /** Set when the queue's streams are new ones: results have to be read from the start. */
  readonly streamCreated?: string;
}

interface Gone {
  readonly workers: readonly string[];
  readonly tasks: ReadonlySet<number>;
}

const ASK_MS = 2_000;
/** An age that no answer has. */
const ANEW = -1;
const BACKLOG_MS = 3_000;
/** As long may a task be on its way to a worker, or its result from there. */
const ON_WAY_MS = 1_000;
const STRAGGLER_MS = 30_000;

export class Watchers {
  /** Worker → tasks it holds, with the time each was first seen. */
  readonly #held = new Map<string, Map<number, number>>();
  readonly #doubled = new Set<number>();
  #askedAtMs = Number.NEGATIVE_INFINITY;
  #backlogAtMs: number;
  #shortAtDone = -1;
  /** Workers seen since the last look. */
  #known = new Set<string>();
  /** Tasks that nobody had when workers went; they may have been on their way. */
  #missed: { readonly tasks: ReadonlySet<number>; readonly why: string; atMs: number } | undefined;

  constructor(
    readonly deps: OwnerDeps,
    readonly job: JobRecord,
    readonly board: TaskBoard,
    public stream: string,
    readonly overlap: Overlap,
    readonly statuses: WorkerStatuses,
    /** Tasks that are kept back on purpose. */
    readonly withheld: () => ReadonlySet<number>,
  ) {
    this.#backlogAtMs = deps.clock.monotonicMs();
    this.note();
  }

  /** Remembers who is there: a worker may come and die between two looks. */
  note(): void {
    for (const { worker } of this.deps.views.workers.values()) this.#known.add(worker);
  }

  /** One look; undefined when all is well. Never throws for a server or worker that is away. */
  async look(wait: Wait): Promise<Lost | undefined> {
    const now = this.deps.clock.monotonicMs();
    const gone = this.#goneWorkers();
    if (this.board.done === this.board.size) return undefined;
    if (gone.workers.length > 0) return this.#quietly(wait, () => this.#heldBy(gone, now, wait));
    if (this.#missed && now - this.#missed.atMs >= ON_WAY_MS) {
      const lost = await this.#quietly(wait, () => this.#stillMissed(now, wait));
      if (lost) return lost;
    }
    if (now - this.#askedAtMs >= ASK_MS) await this.#ask(now, ASK_MS / 2, wait);
    const slow = this.#stragglers(now);
    if (slow) return slow;
    if (now - this.#backlogAtMs < BACKLOG_MS) return undefined;
    this.#backlogAtMs = now;
    return this.#quietly(wait, () => this.#backlog(wait));
  }

  /** While the queue is away nothing is known; it reconnects by itself, and a later look tells. */
  async #quietly(wait: Wait, work: () => Promise<Lost | undefined>): Promise<Lost | undefined> {
    try {
      return await work();
    } catch (error) {
      if (wait.signal.aborted || !isRetryable(error)) throw error;
      return undefined;
    }
  }

  /** Workers that left since the last look, and the tasks they were seen with. */
  #goneWorkers(): Gone {
    const now = new Set([...this.deps.views.workers.values()].map(({ worker }) => worker));
    const workers = [...this.#known].filter((worker) => !now.has(worker));
    this.#known = now;
    const tasks = new Set(workers.flatMap((worker) => [...(this.#held.get(worker)?.keys() ?? [])]));
    for (const worker of workers) this.#held.delete(worker);
    return { workers, tasks };
  }

  /**
   * Tasks that the gone workers had. What they were seen with is lost. Of what was handed out and no
   * other worker has some may be on its way to a worker, or its result from there: a later look tells.
   */
  async #heldBy(gone: Gone, now: number, wait: Wait): Promise<Lost | undefined> {
    const { free } = await this.#free(now, wait);
    const why = `worker ${gone.workers.join(', ')} is gone`;
    const unseen = free.filter((task) => !gone.tasks.has(task));
    if (unseen.length > 0) {
      const tasks = new Set([...(this.#missed?.tasks ?? []), ...unseen]);
      this.#missed = { tasks, why, atMs: now };
    }
    const tasks = free.filter((task) => gone.tasks.has(task));
    return tasks.length > 0 ? { tasks, why, blocked: true } : undefined;
  }

  /** What still nobody has; a worker that does not answer may have it, until it is gone itself. */
  async #stillMissed(now: number, wait: Wait): Promise<Lost | undefined> {
    const missed = this.#missed;
    const { free, all } = await this.#free(now, wait);
    const tasks = free.filter((task) => missed?.tasks.has(task));
    if (!missed || tasks.length === 0) {
      this.#missed = undefined;
      return undefined;
    }
    if (!all) {
      missed.atMs = now;
      return undefined;
    }
    this.#missed = undefined;
    return { tasks, why: missed.why, blocked: true };
  }

  /**
   * Tasks that were handed out, that no worker has and no result came from; `all`: every worker has
   * answered. The queue hands tasks out in the order they were published, so what is not pending was
   * handed out.
   */
  async #free(now: number, wait: Wait): Promise<{ free: number[]; all: boolean }> {
    const { pending } = await this.deps.queue.backlog(this.job.pipeline, wait);
    // Not older than the number of pending tasks.
    const answered = await this.#ask(now, ANEW, wait);
    const handedOut = this.overlap.handedOut(this.job.id, pending);
    const held = this.#inHand();
    const withheld = this.withheld();
    const free = [...new Set(handedOut)].filter(
      (task) => !held.has(task) && !withheld.has(task) && !this.board.resultOf(task),
    );
    const workers = [...this.deps.views.workers.values()];
    return { free, all: workers.every(({ worker }) => answered.has(worker)) };
  }

  #inHand(): Set<number> {
    return new Set([...this.#held.values()].flatMap((tasks) => [...tasks.keys()]));
  }

  /** Answers who answered. */
  async #ask(now: number, ageMs: number, wait: Wait): Promise<ReadonlySet<string>> {
    this.#askedAtMs = now;
    const statuses = await abortable(this.statuses.get(ageMs), wait.signal);
    for (const [worker, status] of statuses) {
      const before = this.#held.get(worker);
      const held = new Map<number, number>();
      for (const running of status.running) {
        if (running.job !== this.job.id) continue;
        held.set(running.task, before?.get(running.task) ?? now);
      }
      if (held.size > 0) this.#held.set(worker, held);
      else this.#held.delete(worker);
    }
    return new Set(statuses.keys());
  }

  #stragglers(now: number): Lost | undefined {
    const p95 = this.board.p95Ms();
    if (p95 === undefined) return undefined;
    const limitMs = Math.max(STRAGGLER_MS, 3 * p95);
    const tasks: number[] = [];
    for (const held of this.#held.values()) {
      for (const [task, since] of held) {
        if (now - since < limitMs || this.#doubled.has(task) || this.board.resultOf(task)) continue;
        this.#doubled.add(task);
        tasks.push(task);
      }
    }
    return tasks.length > 0 ? { tasks, why: 'it takes far longer than the others' } : undefined;
  }

  /**
   * Every missing task, of all running jobs of the pipeline, should be pending or in flight, or its
   * result on the way. When there are fewer, twice in a row and with nothing done in between, some
   * were lost.
   */
  async #backlog(wait: Wait): Promise<Lost | undefined> {
    const backlog = await this.deps.queue.backlog(this.job.pipeline, wait);
    const withheld = this.withheld();
    const missing = this.board.missing().filter((task) => !withheld.has(task));
    if (backlog.streamCreated !== this.stream) {
      this.stream = backlog.streamCreated;
      const why = 'the queue was recreated';
      return { tasks: missing, why, streamCreated: backlog.streamCreated };
    }
    const short = backlog.pending + backlog.inFlight < this.overlap.missing();
    const done = this.overlap.done();
    const stuck = short && this.#shortAtDone === done;
    this.#shortAtDone = short && !stuck ? done : -1;
    if (!stuck) return undefined;
    const held = this.#inHand();
    const tasks = missing.filter((task) => !held.has(task));
    return tasks.length > 0 ? { tasks, why: 'the queue had lost them' } : undefined;
  }
}
