/**
 * What the running jobs of one pipeline know of each other, in the order of their commits. They
 * share one queue, one limit of slots and, where they have them, datums (plan-beside.ts).
 */
import { addAbortListener } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';
import type { JobPlan, SegmentRef } from './model.js';
import { BESIDE_DATUMS_MAX } from './plan-beside.js';

/** Jobs of a pipeline that run at once, however many slots it has. */
export const JOBS_MAX = 32;

/** How far the tasks of a job are. */
export interface Tasks {
  readonly size: number;
  readonly done: number;
}

/**
 * How long the datums of the oldest job have to run before others begin beside it: jobs that are done
 * sooner cost less one by one, because a job beside others is planned twice. Planning and merging do
 * not count: on a busy machine every job takes its time, and planning them twice makes it busier.
 */
export const BESIDE_AFTER_MS = 300;

interface Running {
  /** On the owner's monotonic clock. */
  readonly startedMs: number;
  /** When its first tasks were published. */
  publishedMs?: number;
  /** When it was found to have all its results. */
  doneMs?: number;
  plan?: JobPlan;
  tasks?: Tasks;
  /** Tasks on purpose not in the queue. */
  withheld?: () => ReadonlySet<number>;
}

export class Overlap {
  readonly #jobs = new Map<string, Running>();
  /** Tasks as they were published, copies included, oldest first. */
  #published: { readonly job: string; readonly tasks: number[] }[] = [];
  readonly #waiting = new Set<() => void>();
  /** The slots that too many open tasks kept the next job from. */
  #wanted = 0;

  constructor(
    /** Called when another job may be able to begin. */
    readonly onRoom: () => void = () => undefined,
    /** The owner's monotonic clock. */
    readonly nowMs: () => number = () => 0,
  ) {}

  start(job: string): void {
    this.#jobs.set(job, { startedMs: this.nowMs() });
  }

  /** How long it is until others may begin beside the oldest job; 0 = they may. */
  notBeforeMs(): number {
    const [oldest] = this.#jobs.values();
    if (!oldest) return 0;
    const nowMs = this.nowMs();
    const { tasks, startedMs, publishedMs = startedMs } = oldest;
    // A job that is about to end; once there are others, the next one need not wait for this.
    const ends = this.#jobs.size === 1 && tasks !== undefined && tasks.done === tasks.size;
    if (ends) oldest.doneMs ??= nowMs;
    const sinceMs = ends ? (oldest.doneMs ?? nowMs) : publishedMs;
    return Math.max(0, sinceMs + BESIDE_AFTER_MS - nowMs);
  }

  /** The job has ended; nobody waits for it any more. */
  end(job: string): void {
    if (!this.#jobs.delete(job)) return;
    this.forget(job);
    this.#changed();
  }

  /** The plan of a job as it is now. */
  planned(job: string, plan: JobPlan): void {
    const running = this.#jobs.get(job);
    if (!running) return;
    running.plan = plan;
    this.#changed();
  }

  /** The tasks of a job as its owner keeps them. */
  collecting(job: string, tasks: Tasks, withheld: () => ReadonlySet<number>): void {
    const running = this.#jobs.get(job);
    if (running) Object.assign(running, { tasks, withheld });
  }

  /** Jobs that have to end before this one can, oldest first. */
  before(job: string): string[] {
    const jobs = [...this.#jobs.keys()];
    return jobs.slice(0, Math.max(0, jobs.indexOf(job)));
  }

  /** What the job waits for, for people; empty when its turn has come. */
  waitsFor(job: string): string {
    const [oldest] = this.before(job);
    if (oldest === undefined) return '';
    return `waiting for job ${oldest}: jobs of a pipeline end in the order of their commits`;
  }

  /**
   * When all earlier jobs that run have told all their datums: where those are written. Undefined
   * when no earlier job runs.
   */
  async datumsBefore(job: string, wait: Wait): Promise<readonly SegmentRef[] | undefined> {
    for (;;) {
      const earlier = this.before(job);
      if (earlier.length === 0) return undefined;
      const plans = earlier.map((one) => this.#jobs.get(one)?.plan).filter((plan) => isTold(plan));
      if (plans.length === earlier.length) return plans.flatMap(datumsOf);
      await this.#change(wait);
    }
  }

  /** Returns when no earlier job runs. */
  async turn(job: string, wait: Wait): Promise<void> {
    while (this.before(job).length > 0) await this.#change(wait);
  }

  /**
   * Whether another job would find slots: those that run have fewer open tasks than the pipeline has
   * slots, all their datums are known, and they are few enough to be compared with.
   */
  hasRoom(slots: number): boolean {
    this.#wanted = 0;
    const running = [...this.#jobs.values()];
    if (running.length >= Math.min(slots, JOBS_MAX)) return false;
    let datums = 0;
    for (const { plan } of running) {
      if (!isTold(plan)) return false;
      for (const { count } of datumsOf(plan)) datums += count;
    }
    if (datums > BESIDE_DATUMS_MAX) return false;
    if (this.missing() < slots) return true;
    this.#wanted = slots;
    return false;
  }

  /** A task was done. */
  noteDone(): void {
    if (this.#wanted === 0 || this.missing() >= this.#wanted) return;
    this.#wanted = 0;
    this.onRoom();
  }

  /** Tasks of all running jobs that should be in the queue or on a worker. */
  missing(): number {
    let missing = 0;
    for (const { plan, tasks, withheld } of this.#jobs.values()) {
      if (tasks) missing += tasks.size - tasks.done - (withheld?.().size ?? 0);
      else missing += plan?.tasks.length ?? 0;
    }
    return missing;
  }

  /** Tasks of all running jobs that have a result. */
  done(): number {
    let done = 0;
    for (const { tasks } of this.#jobs.values()) done += tasks?.done ?? 0;
    return done;
  }

  published(job: string, tasks: Iterable<number>): void {
    const running = this.#jobs.get(job);
    if (running) running.publishedMs ??= this.nowMs();
    const last = this.#published.at(-1);
    if (last?.job === job) for (const task of tasks) last.tasks.push(task);
    else this.#published.push({ job, tasks: [...tasks] });
  }

  /** Nothing of the job is in the queue any more. */
  forget(job: string): void {
    this.#published = this.#published.filter((batch) => batch.job !== job);
  }

  /** Tasks that were taken out of the queue, all of their copies. */
  dropped(job: string, tasks: ReadonlySet<number>): void {
    this.#published = this.#published.map((batch) =>
      batch.job === job ? { job, tasks: batch.tasks.filter((task) => !tasks.has(task)) } : batch,
    );
  }

  /**
   * Tasks of the job that workers took when `pending` tasks of the pipeline are still in the queue,
   * which hands them out in the order they were published. A task of which a copy is still there is
   * not among them: nobody has to care for it.
   */
  handedOut(job: string, pending: number): number[] {
    const taken: number[] = [];
    const waiting = new Set<number>();
    let left = pending;
    for (const batch of this.#published.toReversed()) {
      const here = Math.max(0, batch.tasks.length - left);
      left -= batch.tasks.length - here;
      if (batch.job !== job) continue;
      taken.push(...batch.tasks.slice(0, here));
      for (const task of batch.tasks.slice(here)) waiting.add(task);
    }
    return taken.filter((task) => !waiting.has(task));
  }

  #changed(): void {
    for (const wake of [...this.#waiting]) wake();
    this.onRoom();
  }

  #change(wait: Wait): Promise<void> {
    wait.signal.throwIfAborted();
    return new Promise((resolve, reject) => {
      const done = (settle: () => void) => (): void => {
        this.#waiting.delete(wake);
        stop();
        settle();
      };
      const stop = addAbortListener(
        wait.signal,
        done(() => reject(wait.signal.reason as Error)),
      );
      const wake = done(resolve);
      this.#waiting.add(wake);
    });
  }
}

/** Whether a plan tells all datums that its job has or waits for. */
function isTold(plan: JobPlan | undefined): plan is JobPlan {
  return plan !== undefined && (plan.partial === undefined || plan.withheld !== undefined);
}

function datumsOf(plan: JobPlan): readonly SegmentRef[] {
  return [...plan.segments, ...(plan.withheld ?? [])];
}
