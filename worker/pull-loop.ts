/**
 * Takes tasks for free slots and runs them.
 *
 * L1 Tasks in hand and tasks asked for together never exceed the slots.
 * L2 Free slots go to the pipeline that uses the fewest, and of several to the one whose turn is
 *    longest ago. One whose last question found nothing holds one slot at most while others have
 *    work, and takes one that they could use only now and then: idle pipelines cost next to nothing.
 * L3 What tasks in hand and asked for need together never exceeds the worker's room (room.ts).
 * L4 A task is acknowledged after its result is stored, or when nobody wants it any more; in all
 *    other cases it is given back with a delay, and a reason in the log.
 */
import type { Clock } from '../core/clock.js';
import { codeOf, messageOf } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { cancelledBy, childController } from '../core/signals.js';
import type { Wait } from '../storage/types.js';
import type { GivenBackTask, LinesRequest, RestartRequest, RunningTask } from '../queue/index.js';
import type { LinesSoFar, TaskMessage } from '../queue/messages.js';
import type { Slot } from './datum.js';
import { GivenBack } from './given-back.js';
import type { LiveTask } from './live-task.js';
import type { TaskDelivery, WorkQueue } from './ports.js';
import type { Grant, Needs, Room } from './room.js';

export interface Assignment {
  readonly pipeline: string;
  /** 0 = no limit of its own. */
  readonly slotsMax: number;
  readonly jobs: readonly string[];
  readonly needs?: Needs | undefined;
}

export interface PullLoopDeps {
  readonly queue: Pick<WorkQueue, 'pull'>;
  readonly slots: readonly Slot[];
  readonly room: Room;
  readonly clock: Clock;
  readonly log: Log;
  /** Runs a task and publishes its result; throws when that was not possible. */
  readonly run: (
    task: TaskMessage,
    options: Wait & {
      readonly slot: Slot;
      readonly grant: Grant;
      readonly onLive: (task: LiveTask) => void;
    },
  ) => Promise<void>;
}

interface Share {
  slotsMax: number;
  needs: Needs | undefined;
  jobs: ReadonlySet<string>;
  inUse: number;
  asked: number;
  cold: boolean;
  /** When a question found nothing last. */
  coldMs: number;
  /** Its last turn, counted over all pipelines. */
  turn: number;
  readonly stop: AbortController & Disposable;
}

interface Work {
  readonly status: RunningTask;
  live?: LiveTask;
  readonly delivery: TaskDelivery;
  readonly stop: AbortController;
}

/** A third of the queue's ack wait. */
const WORKING_MS = 9_000;
const PULL_MS = 5_000;
/** How long a pipeline with nothing to do may hold a slot beside those that others use. */
const COLD_PULL_MS = 1_000;
/** How long, and how often, when all slots are wanted by others. */
const COLD_TURN_MS = 200;
const COLD_REST_MS = 2_000;
/** A task can be faster than the news of its job. */
const UNKNOWN_JOB_MS = 10_000;
const UNKNOWN_RETRY_MS = 500;
/** A job that is gone from the assignments is over; a coordinator that just started may not know. */
const GONE_JOB_MS = 10_000;
const RETRY_MS_MAX = 30_000;
const REMEMBERED_JOBS = 1_000;

export class PullLoop {
  readonly #free: Slot[];
  readonly #shares = new Map<string, Share>();
  readonly #work = new Set<Work>();
  readonly #cancelled = new Set<string>();
  /** When a job was first met (or missed) without being assigned. */
  readonly #unknown = new Map<string, number>();
  readonly #scope: AbortController;
  readonly #givenBack: GivenBack;
  #turn = 0;
  #paused = true;
  #draining = false;
  #idle: (() => void)[] = [];

  constructor(readonly deps: PullLoopDeps) {
    this.#free = [...deps.slots].reverse();
    this.#givenBack = new GivenBack(deps.clock);
    this.#scope = new AbortController();
  }

  get running(): readonly RunningTask[] {
    return [...this.#work].map(({ status, live }) => ({ ...status, ...live?.status() }));
  }

  /** Tasks that were given back in the last moments. */
  get givenBack(): readonly GivenBackTask[] {
    return this.#givenBack.recent;
  }

  /** Cancels the present try of the job's datums that match; answers how many. */
  restart({ job, filters }: RestartRequest): number {
    const works = [...this.#work].filter(({ status }) => status.job === job);
    return works.filter(({ live }) => live?.restart(filters)).length;
  }

  /** The log so far of a task at work; undefined when it is not. */
  async lines({ job, task, attempt, from }: LinesRequest): Promise<LinesSoFar | undefined> {
    for (const { status, live } of this.#work) {
      if (status.job !== job || status.task !== task || status.attempt !== attempt) continue;
      return live?.lines(from);
    }
    return undefined;
  }

  /** Replaces what to pull for. */
  assign(assignments: readonly Assignment[]): void {
    const wanted = new Map(assignments.map((one) => [one.pipeline, one]));
    for (const [pipeline, share] of this.#shares) {
      if (wanted.has(pipeline)) continue;
      share.jobs = new Set();
      share.stop.abort(cancelledBy('a change of assignments'));
      if (share.inUse === 0) this.#shares.delete(pipeline);
    }
    for (const { pipeline, slotsMax, jobs, needs } of assignments) {
      const share = this.#shares.get(pipeline);
      const fresh = !share || share.stop.signal.aborted;
      const next: Share = fresh
        ? { ...EMPTY, inUse: share?.inUse ?? 0, stop: childController(this.#scope.signal) }
        : share;
      next.needs = needs;
      next.slotsMax = slotsMax === 0 ? Number.POSITIVE_INFINITY : slotsMax;
      // Work is likely when there is a job that was not there before.
      if (jobs.some((job) => !next.jobs.has(job))) next.cold = false;
      next.jobs = new Set(jobs);
      this.#shares.set(pipeline, next);
    }
    this.#schedule();
  }

  /** Pulls only while this worker is known to the cluster. */
  setPaused(paused: boolean): void {
    if (this.#paused === paused) return;
    this.#paused = paused;
    if (paused) for (const share of this.#shares.values()) this.#stopAsking(share);
    else this.#schedule();
  }

  /** Kills the job's datums and drops its tasks. */
  cancel(job: string): void {
    remember(this.#cancelled, job);
    for (const { status, stop } of this.#work) {
      if (status.job === job) stop.abort(cancelledBy('the end of the job'));
    }
  }

  /** Keeps tasks alive in the queue and notices jobs that ended; runs until the signal aborts. */
  async tend(wait: Wait): Promise<void> {
    for (;;) {
      await this.deps.clock.sleep(WORKING_MS, wait);
      for (const { delivery } of this.#work) delivery.working();
      this.#dropGone();
    }
  }

  /** Stops asking; resolves when the tasks in hand are done. */
  async drain(): Promise<void> {
    this.#draining = true;
    for (const share of this.#shares.values()) this.#stopAsking(share);
    if (this.#work.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Stops at once: running tasks are killed and given back. */
  async close(): Promise<void> {
    this.#draining = true;
    this.#scope.abort(cancelledBy('the end of the worker'));
    for (const { stop } of this.#work) stop.abort(cancelledBy('the end of the worker'));
    await this.drain();
  }

  #stopAsking(share: Share): void {
    share.stop.abort(cancelledBy('the worker itself'));
    for (const [pipeline, one] of this.#shares) {
      if (one !== share) continue;
      const { slotsMax, jobs, inUse, needs } = share;
      const stop = childController(this.#scope.signal);
      this.#shares.set(pipeline, { ...EMPTY, slotsMax, jobs, inUse, needs, stop });
    }
  }

  #schedule(): void {
    if (this.#paused || this.#draining) return;
    const grants = new Map<string, number>();
    const brief = new Set<string>();
    const used = ([name, share]: [string, Share]): number =>
      share.inUse + share.asked + (grants.get(name) ?? 0);
    let free = this.#free.length - this.#asked();
    const taken = (): readonly (readonly [Needs | undefined, number])[] =>
      [...this.#shares].map((entry) => [entry[1].needs, used(entry)]);
    while (free > 0) {
      const held = taken();
      const open = [...this.#shares].filter(
        ([name, share]) =>
          share.jobs.size > 0 &&
          used([name, share]) < share.slotsMax &&
          this.deps.room.fits(share.needs, held),
      );
      const contended = open.length > 1;
      const warm = open.some(([, share]) => !share.cold);
      const next = open
        .filter((entry) => {
          const [name, share] = entry;
          if (!contended || !share.cold) return true;
          if (share.asked + (grants.get(name) ?? 0) > 0) return false;
          return !warm || this.deps.clock.monotonicMs() - share.coldMs >= COLD_REST_MS;
        })
        .sort((a, b) => used(a) - used(b) || a[1].turn - b[1].turn)[0];
      if (!next) break;
      next[1].turn = this.#turn += 1;
      if (warm && next[1].cold) brief.add(next[0]);
      grants.set(next[0], (grants.get(next[0]) ?? 0) + 1);
      free -= 1;
    }
    for (const [pipeline, max] of grants) void this.#pull(pipeline, max, brief.has(pipeline));
  }

  #asked(): number {
    let sum = 0;
    for (const share of this.#shares.values()) sum += share.asked;
    return sum;
  }

  /** `brief`: others could use the slot. */
  async #pull(pipeline: string, max: number, brief: boolean): Promise<void> {
    const share = this.#shares.get(pipeline);
    if (!share) return;
    share.asked += max;
    let left = max;
    const alone = !share.cold || this.#shares.size === 1;
    const expiresMs = brief ? COLD_TURN_MS : alone ? PULL_MS : COLD_PULL_MS;
    try {
      const options = { signal: share.stop.signal, max, expiresMs };
      for await (const delivery of this.deps.queue.pull(pipeline, options)) {
        const slot = left > 0 ? this.#free.pop() : undefined;
        if (!slot) {
          delivery.nak(0);
          continue;
        }
        left -= 1;
        share.asked -= 1;
        share.cold = false;
        void this.#take(pipeline, delivery, slot);
      }
    } catch (error) {
      if (!share.stop.signal.aborted) {
        this.deps.log.warn({ err: error, pipeline }, 'cannot pull tasks; trying again');
        await this.deps.clock.sleep(UNKNOWN_RETRY_MS, share.stop).catch(() => undefined);
      }
    }
    if (left === max) {
      share.cold = true;
      share.coldMs = this.deps.clock.monotonicMs();
    }
    share.asked -= left;
    this.#schedule();
  }

  async #take(pipeline: string, delivery: TaskDelivery, slot: Slot): Promise<void> {
    const { task } = delivery;
    const stop = new AbortController();
    const { job, attempt } = task;
    const startedMs = this.deps.clock.wallMs();
    const status = { pipeline, job, task: task.task, attempt, startedMs, datum: '' };
    const work: Work = { status, delivery, stop };
    const share = this.#shares.get(pipeline);
    const grant = this.deps.room.take(share?.needs);
    if (!grant) {
      // Its needs changed while it was on its way.
      delivery.nak(UNKNOWN_RETRY_MS);
      this.#free.push(slot);
      return this.#schedule();
    }
    this.#work.add(work);
    if (share) share.inUse += 1;
    try {
      if (this.#wanted(pipeline, delivery)) {
        const onLive = (live: LiveTask): void => void (work.live = live);
        await this.deps.run(task, { slot, grant, signal: stop.signal, onLive });
        await delivery.ack();
        this.#givenBack.forget(task.job);
      }
    } catch (error) {
      this.#giveBack(work, error);
    } finally {
      this.#work.delete(work);
      grant.release();
      this.#free.push(slot);
      const now = this.#shares.get(pipeline);
      if (now) {
        now.inUse -= 1;
        if (now.inUse === 0 && now.jobs.size === 0 && now.stop.signal.aborted) {
          this.#shares.delete(pipeline);
        }
      }
      if (this.#work.size === 0) for (const wake of this.#idle.splice(0)) wake();
      this.#schedule();
    }
  }

  /** Tasks of jobs that are over are dropped; the news of a new job may still be on its way. */
  #wanted(pipeline: string, delivery: TaskDelivery): boolean {
    const { job } = delivery.task;
    if (this.#cancelled.has(job)) {
      void delivery.ack();
      return false;
    }
    if (this.#shares.get(pipeline)?.jobs.has(job)) {
      this.#unknown.delete(job);
      return true;
    }
    if (this.#missedFor(job) < UNKNOWN_JOB_MS) delivery.nak(UNKNOWN_RETRY_MS);
    else void delivery.ack();
    return false;
  }

  #giveBack({ status, delivery, stop }: Work, error: unknown): void {
    const { pipeline, job, task } = status;
    if (this.#cancelled.has(job)) {
      void delivery.ack();
      return;
    }
    const delay = stop.signal.aborted
      ? 0
      : Math.min(RETRY_MS_MAX, 1_000 * 2 ** Math.min(delivery.redeliveries, 10));
    delivery.nak(delay);
    const reason = messageOf(error);
    const fields = { pipeline, job, task, reason, errorCode: codeOf(error), delayMs: delay };
    if (stop.signal.aborted) this.deps.log.info(fields, 'task given back');
    else {
      this.#givenBack.note(job, reason, delay);
      this.deps.log.warn({ ...fields, err: error }, 'task given back');
    }
  }

  #dropGone(): void {
    for (const { status } of this.#work) {
      const { pipeline, job } = status;
      if (this.#shares.get(pipeline)?.jobs.has(job)) this.#unknown.delete(job);
      else if (!this.#paused && this.#missedFor(job) > GONE_JOB_MS) this.cancel(job);
    }
  }

  #missedFor(job: string): number {
    const now = this.deps.clock.monotonicMs();
    const since = this.#unknown.get(job);
    if (since !== undefined) return now - since;
    this.#unknown.set(job, now);
    if (this.#unknown.size > REMEMBERED_JOBS) {
      const [oldest] = this.#unknown.keys();
      if (oldest !== undefined) this.#unknown.delete(oldest);
    }
    return 0;
  }
}

const EMPTY = {
  slotsMax: 0,
  needs: undefined as Needs | undefined,
  jobs: new Set<string>(),
  inUse: 0,
  asked: 0,
  cold: false,
  coldMs: 0,
  turn: 0,
};

function remember(set: Set<string>, value: string): void {
  set.add(value);
  const [oldest] = set;
  if (set.size > REMEMBERED_JOBS && oldest !== undefined) set.delete(oldest);
}
