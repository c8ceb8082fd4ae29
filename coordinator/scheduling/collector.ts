/**
 * Gets every task of a job done: publishes tasks, gathers results, shows progress, saves
 * checkpoints, and publishes copies of tasks that were lost.
 *
 * C1  NATS is a hint: a task is done only when its result stands on the board.
 * C2  The first result of a task wins (TaskBoard); so copies cost time, never correctness.
 * C3  What a checkpoint holds survives the loss of NATS and of this process; the attempt number is
 *     saved before tasks are published with it, so a new owner never repeats one.
 * C4  Liveness: whenever the queue holds nothing while tasks are missing, they are published again.
 */
import type { TaskProgress } from '../../queue/index.js';
import type { DatumResult, TaskResult } from '../../queue/messages.js';
import { unavailable } from '../../core/errors.js';
import { addAbortListener, childController } from '../../core/signals.js';
import { held } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import {
  NO_STATS,
  patchJobIn,
  setJobStateIn,
  type JobPatch,
  type JobRecord,
  type PipelineRecord,
} from '../pipelines/model.js';
import { Ahead } from './ahead.js';
import { TaskBoard } from './board.js';
import { fenced, type Fence, type OwnerDeps } from './deps.js';
import { gatherRuns, groupSize } from './gather-runs.js';
import type { Shared } from './kinds.js';
import type { MasterLog } from './master-log.js';
import type { JobPlan, ResultsIndex } from './model.js';
import { loadResults } from './results.js';
import { SegmentReader } from './manifest.js';
import { whyIdle } from './placement.js';
import { taskMessage } from './task-message.js';
import { Unrunnable } from './job-watch.js';
import { grown } from './plan-beside.js';
import { Suspects } from './suspects.js';
import { Wakeup } from './wakeup.js';
import { Watchers, type Lost } from './watchers.js';

export interface CollectInput extends Shared {
  readonly job: JobRecord;
  readonly plan: JobPlan;
  readonly fence: Fence;
  readonly record: PipelineRecord;
  readonly master: MasterLog;
  /** Outputs of several tasks may become one run. */
  readonly mayJoin: boolean;
}

/** How a partial plan becomes whole. */
export interface RestOfPlan {
  /** Returns when it can be made. */
  ready(wait: Wait): Promise<void>;
  /** The whole plan, made from `before`. */
  plan(before: JobPlan, wait: Wait): Promise<JobPlan>;
}

const PROGRESS_MS = 1_000;
const CHECKPOINT_MS = 5_000;
const CHECKPOINT_RESULTS = 500;
/** Chained checkpoints are folded into one at this depth. */
const CHAIN_MAX = 16;

export class Collector {
  readonly board: TaskBoard;
  readonly #changed = new Wakeup();
  #sequence = 0;
  #stream = '';
  #attempt = 0;
  #saved: { ref: string; depth: number } | undefined;
  /** Tasks whose results are not yet in a checkpoint. */
  #fresh: number[] = [];
  #savedAtMs = 0;
  #shownDone = 0;
  /** Why nothing runs, as the job says it. */
  #starved = '';
  readonly #ahead = new Ahead();
  readonly #suspects = new Suspects();
  #plan: JobPlan;
  /** The last change of the plan; the next one waits for it. */
  #replanned: Promise<unknown> = Promise.resolve();

  constructor(
    readonly deps: OwnerDeps,
    readonly input: CollectInput,
  ) {
    this.#plan = input.plan;
    this.board = new TaskBoard(input.job.id, input.plan.tasks.length);
    this.board.grow(input.plan.tasks.length, input.plan.partial !== undefined);
    for (const [task, attempt] of input.plan.since ?? []) this.board.narrow(task, attempt);
    input.overlap.collecting(input.job.id, this.board, () => this.#suspects.withheld);
  }

  /** The plan as it is now: tasks may have been cut since it was made. */
  get plan(): JobPlan {
    return this.#plan;
  }

  get attempt(): number {
    return this.#attempt;
  }

  /** The results index of the finished job: everything, in one blob. */
  index(): ResultsIndex {
    return {
      format: 1,
      results: this.board.results(),
      depth: 0,
      sequence: this.#sequence,
      stream: this.#stream,
      attempt: this.#attempt,
      master: this.input.master.lines,
    };
  }

  /**
   * Returns when every task has a result. Safe to call again after a failure or takeover. `rest`
   * makes the whole plan while the tasks of a partial one run.
   */
  async run(wait: Wait, rest?: RestOfPlan): Promise<void> {
    await this.input.inFlight.ensure(this.input.record, wait);
    const resumed = await this.#resume(wait);
    if (this.board.complete) return;
    await this.#publishFirst(resumed, wait);
    using scope = childController(wait.signal);
    const inner: Wait = { signal: scope.signal };
    const growing = this.#plan.partial === undefined ? undefined : rest;
    const parts = [this.#read(inner), this.#tend(inner)];
    const grown = growing && this.#grow(growing, inner);
    if (grown) parts.push(grown.then(() => Promise.race(parts.slice(0, 2))));
    const stop = this.deps.queue.onProgress(this.input.job.id, (news) => this.#hear(news));
    try {
      await Promise.race(parts);
      await grown;
    } finally {
      stop();
      scope.abort(new Error('the job has all its results'));
      await Promise.allSettled(parts);
    }
    wait.signal.throwIfAborted();
  }

  /** Goes on with the whole plan when it is there. */
  async #grow(rest: RestOfPlan, wait: Wait): Promise<void> {
    await rest.ready(wait);
    const added: number[] = [];
    await held(this.deps.storage.epochs, 'refs', async () => {
      const before = this.#plan;
      const whole = await rest.plan(before, wait);
      const { total, skipped } = whole;
      const grow = (plan: JobPlan): JobPlan => {
        const now = grown(plan, whole, before);
        for (let task = plan.tasks.length; task < now.tasks.length; task += 1) added.push(task);
        return now;
      };
      const turnMs = before.withheld ? { turnMs: this.deps.clock.wallMs() } : {};
      await this.#replan(grow, wait, { total, skipped, ...turnMs });
    });
    await this.#publish(added, wait);
    this.#changed.raise();
  }

  /** Restores what earlier owners gathered; true when they had published. */
  async #resume(wait: Wait): Promise<boolean> {
    const ref = this.input.job.results;
    if (ref === undefined) return false;
    const saved = await loadResults(this.deps.storage, ref, wait);
    for (const result of saved.results) this.board.add(result);
    this.input.master.restore(saved.head.master);
    this.#sequence = saved.head.sequence;
    this.#stream = saved.head.stream;
    this.#attempt = saved.head.attempt;
    this.#suspects.restore(saved.head.strikes ?? [], (task) => this.#isDone(task));
    this.#saved = { ref, depth: saved.head.depth };
    return true;
  }

  /**
   * Publishes everything, unless an earlier owner did and the queue still is the one it used: then
   * results that came meanwhile are read first, and the watchers find what is really missing.
   */
  async #publishFirst(resumed: boolean, wait: Wait): Promise<void> {
    const { queue } = this.deps;
    const { streamCreated } = await queue.backlog(this.input.job.pipeline, wait);
    if (resumed && streamCreated === this.#stream) {
      this.input.overlap.published(this.input.job.id, this.#plan.tasks.keys());
      return;
    }
    this.#stream = streamCreated;
    const withheld = this.#suspects.withheld;
    const missing = this.board.missing().filter((task) => !withheld.has(task));
    if (resumed) {
      this.#sequence = 0;
      await this.#again(missing, 'the queue was recreated', wait);
      return;
    }
    // Whoever takes over before the first checkpoint does the same once more: the queue drops doubles.
    await this.#publish(missing, wait);
  }

  async #read(wait: Wait): Promise<void> {
    const { job } = this.input;
    const options = {
      ...wait,
      ...(this.#sequence > 0 ? { fromSequence: this.#sequence + 1 } : {}),
    };
    for await (const { sequence, result } of this.deps.queue.results(
      job.pipeline,
      job.id,
      options,
    )) {
      this.#sequence = sequence;
      this.#ahead.end(result.task);
      if (!this.board.add(result)) continue;
      this.input.overlap.noteDone();
      if (result.unrunnable !== undefined) throw new Unrunnable(result.unrunnable);
      this.#fresh.push(result.task);
      if (this.board.complete) return;
      const look = this.#fresh.length >= CHECKPOINT_RESULTS || this.#suspects.withheld.size > 0;
      if (look) this.#changed.raise();
    }
    throw unavailable('the stream of results ended early');
  }

  /** Progress, checkpoints and lost tasks, once a second. */
  async #tend(wait: Wait): Promise<void> {
    const watchers = new Watchers(
      this.deps,
      this.input.job,
      this.board,
      this.#stream,
      this.input.overlap,
      this.input.statuses,
      () => this.#suspects.withheld,
    );
    const stop = this.deps.views.workers.subscribe(() => watchers.note());
    addAbortListener(wait.signal, stop);
    while (!this.board.complete) {
      await this.#changed.wait({ ...wait, timeoutMs: PROGRESS_MS, clock: this.deps.clock });
      const now = this.deps.clock.monotonicMs();
      const due =
        this.#saved === undefined ||
        this.#fresh.length >= CHECKPOINT_RESULTS ||
        (this.#fresh.length > 0 && now - this.#savedAtMs >= CHECKPOINT_MS);
      if (due) await this.#checkpoint(wait);
      else await this.#progress(wait);
      await this.#sayWhy(wait);
      await this.input.inFlight.narrow(this.input.record, wait);
      const lost = await watchers.look(wait);
      if (lost) await this.#recover(lost, wait);
      await this.#nextSuspect(wait);
    }
  }

  /** A job that nobody works on says so. */
  async #sayWhy(wait: Wait): Promise<void> {
    const offers = this.deps.views.offers();
    const { job, fence, overlap } = this.input;
    const idle = this.board.done === this.board.size && !this.board.complete;
    const starved = idle ? overlap.waitsFor(job.id) : whyIdle(this.input.record.needs, offers);
    if (starved === this.#starved) return;
    await fenced(
      this.deps.meta,
      fence,
      (t) =>
        setJobStateIn(
          t,
          { pipeline: job.pipeline, job: job.id },
          { state: 'RUNNING', reason: starved, nowMs: 0 },
        ),
      { ...wait, label: 'reason' },
    );
    this.#starved = starved;
  }

  async #recover(lost: Lost, wait: Wait): Promise<void> {
    if (lost.streamCreated !== undefined) {
      this.#stream = lost.streamCreated;
      this.#sequence = 0;
      this.input.overlap.forget(this.input.job.id);
    }
    const tasks = lost.tasks.filter((task) => !this.board.resultOf(task));
    if (tasks.length === 0) return;
    if (lost.blocked) {
      await this.input.inFlight.widen(this.input.record, tasks.length, wait);
      return this.#judge(tasks, lost.why, wait);
    }
    await this.#again(tasks, lost.why, wait);
  }

  /** Decides about tasks that went with their worker (suspects.ts). */
  async #judge(tasks: readonly number[], why: string, wait: Wait): Promise<void> {
    const { job } = this.input;
    // Numbers of new tasks are not known while the list is being cut.
    if (this.#plan.partial !== undefined && !this.#plan.withheld)
      return this.#again(tasks, why, wait);
    const { again, cut, failed } = this.#suspects.strike(tasks, (task) => {
      const [, from, to] = this.#plan.tasks[task] as readonly [number, number, number];
      return to - from;
    });
    const stay = new Set(again);
    const drop = new Set(tasks.filter((task) => !stay.has(task)));
    const { pipeline } = job;
    if (drop.size > 0) {
      await this.deps.queue.dropTasks({ pipeline, job: job.id, tasks: drop }, wait);
      this.input.overlap.dropped(job.id, drop);
    }
    if (cut.length > 0) await this.#cut(cut, wait);
    for (const task of failed) await this.#giveUp(task, wait);
    if (again.length > 0) await this.#again(again, why, wait);
    else await this.#checkpoint(wait);
  }

  /** Makes single datums of tasks; none of them runs before its turn comes. */
  async #cut(tasks: readonly number[], wait: Wait): Promise<void> {
    this.#attempt += 1;
    const parts: number[] = [];
    const cut = (plan: JobPlan): JobPlan => {
      const slices = [...plan.tasks];
      for (const task of tasks) {
        const [segment, from, to] = slices[task] as readonly [number, number, number];
        slices[task] = [segment, from, from + 1];
        parts.push(task);
        for (let at = from + 1; at < to; at += 1)
          parts.push(slices.push([segment, at, at + 1]) - 1);
      }
      const since = tasks.map((task) => [task, this.#attempt] as const);
      return { ...plan, tasks: slices, since: [...(plan.since ?? []), ...since] };
    };
    await this.#replan(cut, wait);
    this.input.master.write(
      `workers were lost over ${tasks.length} tasks: their ${parts.length} datums now run one by one`,
    );
    for (const task of tasks) this.board.narrow(task, this.#attempt);
    this.#suspects.suspect(parts);
  }

  /** One change of the plan after the other: each begins with what the one before left. */
  async #replan(
    change: (plan: JobPlan) => JobPlan,
    wait: Wait,
    more: JobPatch = {},
  ): Promise<void> {
    const replan = async (): Promise<void> => {
      const plan = change(this.#plan);
      await held(this.deps.storage.epochs, 'writes', async () => {
        const ref = await this.deps.storage.putJson(plan, wait);
        await this.#patch({ ...more, plan: ref }, wait);
      });
      this.#plan = plan;
      this.board.grow(plan.tasks.length, plan.partial !== undefined);
      this.input.overlap.planned(this.input.job.id, plan);
    };
    const turn = this.#replanned.then(replan);
    this.#replanned = turn.catch(() => undefined);
    await turn;
  }

  /** The datum of a task kills every worker that runs it. */
  async #giveUp(task: number, wait: Wait): Promise<void> {
    // Held until the checkpoint refers to the details.
    await held(this.deps.storage.epochs, 'writes', async () => {
      await this.#giveUpHeld(task, wait);
      await this.#checkpoint(wait);
    });
  }

  async #giveUpHeld(task: number, wait: Wait): Promise<void> {
    const { job, master } = this.input;
    const [datum] = await new SegmentReader(this.deps, this.#plan).task(task, wait);
    if (!datum) return;
    const tries = this.#suspects.countOf(task);
    const reason =
      `${tries} workers were lost while they ran it: ` +
      'it may take all memory of the machine, or kill processes that are not its own';
    const { index, id, tag } = datum;
    const done: DatumResult = {
      ...{ index, id, tag, tries, reason },
      ...{ state: 'failed', stats: NO_STATS, outputs: 0 },
    };
    const details = await this.deps.storage.putJson({ datums: [done] }, wait);
    const result: TaskResult = {
      ...{ pipeline: job.pipeline, job: job.id, task, attempt: this.#attempt, worker: '', details },
      ...{ processed: 0, failed: 1, recovered: 0, stats: NO_STATS },
      firstFailure: { datum: id, reason },
    };
    master.write(`datum ${id} failed: ${reason}`);
    if (this.board.add(result)) this.#fresh.push(result.task);
  }

  async #nextSuspect(wait: Wait): Promise<void> {
    const task = this.#suspects.next((one) => this.#isDone(one));
    if (task !== undefined) await this.#again([task], 'it runs by itself now', wait);
  }

  #isDone(task: number): boolean {
    return this.board.resultOf(task) !== undefined;
  }

  /** Publishes copies with a new attempt number (C3). */
  async #again(tasks: readonly number[], why: string, wait: Wait): Promise<void> {
    this.#attempt += 1;
    const attempt = this.#attempt;
    const { job, master } = this.input;
    this.deps.log.info({ job: job.id, tasks: tasks.length, attempt, why }, 'tasks published again');
    master.write(`publishing ${tasks.length} tasks again (attempt ${attempt}): ${why}`);
    await this.#checkpoint(wait);
    await this.#publish(tasks, wait);
  }

  async #publish(tasks: readonly number[], wait: Wait): Promise<void> {
    const messages = tasks.map((task) =>
      taskMessage(this.input.job, this.#plan, task, this.#attempt),
    );
    await this.deps.queue.publishTasks(messages, wait);
    this.input.overlap.published(this.input.job.id, tasks);
  }

  async #checkpoint(wait: Wait): Promise<void> {
    await held(this.deps.storage.epochs, 'writes', () => this.#writeCheckpoint(wait));
  }

  async #writeCheckpoint(wait: Wait): Promise<void> {
    const fold = (this.#saved?.depth ?? 0) >= CHAIN_MAX;
    // What comes while outputs are stored belongs to the next checkpoint, and so does its sequence.
    const fresh = this.#fresh.slice();
    const sequence = this.#sequence;
    await this.#gather(this.#resultsOf(fresh), wait);
    const previous = fold ? undefined : this.#saved?.ref;
    const index: ResultsIndex = {
      format: 1,
      results: fold ? this.board.results() : this.#resultsOf(fresh),
      ...(previous === undefined ? {} : { previous }),
      depth: previous === undefined ? 0 : (this.#saved?.depth ?? 0) + 1,
      sequence,
      stream: this.#stream,
      attempt: this.#attempt,
      strikes: this.#suspects.strikes(),
      master: this.input.master.lines,
    };
    const ref = await this.deps.storage.putJson(index, wait);
    await this.#patch({ ...this.#counters(), results: ref }, wait);
    this.#saved = { ref, depth: index.depth };
    this.#fresh = this.#fresh.slice(fresh.length);
    this.#savedAtMs = this.deps.clock.monotonicMs();
  }

  #resultsOf(tasks: readonly number[]): TaskResult[] {
    return tasks.map((task) => this.board.resultOf(task)).filter((one) => one !== undefined);
  }

  /** Stores outputs that came with results; call it under a hold, and before the end of the job. */
  async gather(wait: Wait): Promise<void> {
    await this.#gather(this.board.results(), wait);
  }

  async #gather(results: readonly TaskResult[], wait: Wait): Promise<void> {
    const { tasks, renumbered } = this.#plan;
    const apart = renumbered === true || !this.input.mayJoin;
    const group = apart ? 1 : groupSize(tasks.length);
    const { storage } = this.deps;
    for (const one of await gatherRuns(storage, results, { ...wait, group }))
      this.board.replace(one);
  }

  async #progress(wait: Wait): Promise<void> {
    const told = this.#ahead.takeTold();
    if (this.board.done === this.#shownDone && !told) return;
    const done = this.board.done;
    await this.#patch(this.#counters(), wait);
    this.#shownDone = done;
  }

  #counters(): JobPatch {
    const { processed, failed, recovered, stats } = this.#ahead.with(this.board.counts);
    return { processed, failed, recovered, stats };
  }

  /** A task of several datums is under way. */
  #hear(news: TaskProgress): void {
    const { task } = news;
    if (task < 0 || task >= this.board.size || this.board.resultOf(task)) return;
    this.#ahead.hear(news);
  }

  async #patch(patch: JobPatch, wait: Wait): Promise<void> {
    const { job, fence } = this.input;
    const pointer = { pipeline: job.pipeline, job: job.id };
    await fenced(this.deps.meta, fence, (t) => patchJobIn(t, pointer, patch), {
      ...wait,
      label: 'progress',
    });
  }
}
