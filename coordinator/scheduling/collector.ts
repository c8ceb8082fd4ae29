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
import type { TaskMessage, TaskResult } from '../../queue/messages.js';
import { unavailable } from '../../core/errors.js';
import { childController } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';
import {
  patchJobIn,
  setJobStateIn,
  type JobPatch,
  type JobRecord,
  type PipelineRecord,
} from '../pipelines/model.js';
import { TaskBoard } from './board.js';
import { fenced, type Fence, type OwnerDeps } from './deps.js';
import type { MasterLog } from './master-log.js';
import type { JobPlan, ResultsIndex } from './model.js';
import { loadResults } from './results.js';
import { hostCount, slotsWanted } from './shares.js';
import { Wakeup } from './wakeup.js';
import { Watchers, type Lost } from './watchers.js';

export interface CollectInput {
  readonly job: JobRecord;
  readonly plan: JobPlan;
  readonly fence: Fence;
  readonly record: PipelineRecord;
  readonly master: MasterLog;
}

const PROGRESS_MS = 1_000;
const CHECKPOINT_MS = 5_000;
const CHECKPOINT_RESULTS = 500;
/** Chained checkpoints are folded into one at this depth. */
const CHAIN_MAX = 16;
const ACK_WAIT_MS = 30_000;
const NO_WORKERS =
  'waiting for workers: none has joined; start one with `tusk worker --join HOST:PORT`';

export class Collector {
  readonly board: TaskBoard;
  readonly #changed = new Wakeup();
  #sequence = 0;
  #stream = '';
  #attempt = 0;
  #saved: { ref: string; depth: number } | undefined;
  /** Results not yet in a checkpoint. */
  #fresh: TaskResult[] = [];
  #savedAtMs = 0;
  #shownDone = 0;
  #starved = false;
  /** Slots added while lost tasks still count as in flight. */
  #widened: { readonly atMs: number } | undefined;
  /** Order of publication, as far as this owner knows. */
  readonly #published: number[] = [];

  constructor(
    readonly deps: OwnerDeps,
    readonly input: CollectInput,
  ) {
    this.board = new TaskBoard(input.job.id, input.plan.tasks.length);
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

  /** Returns when every task has a result. Safe to call again after a failure or takeover. */
  async run(wait: Wait): Promise<void> {
    await ensureConsumer(this.deps, this.input.record, wait);
    const resumed = await this.#resume(wait);
    if (this.board.complete) return;
    await this.#publishFirst(resumed, wait);
    using scope = childController(wait.signal);
    const inner: Wait = { signal: scope.signal };
    const parts = [this.#read(inner), this.#tend(inner)];
    try {
      await Promise.race(parts);
    } finally {
      scope.abort(new Error('the job has all its results'));
      await Promise.allSettled(parts);
    }
    wait.signal.throwIfAborted();
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
      this.#published.push(...this.input.plan.tasks.keys());
      return;
    }
    this.#stream = streamCreated;
    const missing = this.board.missing();
    if (resumed) {
      this.#sequence = 0;
      await this.#again(missing, 'the queue was recreated', wait);
      return;
    }
    await this.#publish(missing, wait);
    await this.#checkpoint(wait);
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
      if (!this.board.add(result)) continue;
      this.#fresh.push(result);
      if (this.board.complete) return;
      if (this.#fresh.length >= CHECKPOINT_RESULTS) this.#changed.raise();
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
      this.#published,
    );
    for (;;) {
      await this.#changed.wait({ ...wait, timeoutMs: PROGRESS_MS, clock: this.deps.clock });
      const now = this.deps.clock.monotonicMs();
      const due =
        this.#fresh.length >= CHECKPOINT_RESULTS ||
        (this.#fresh.length > 0 && now - this.#savedAtMs >= CHECKPOINT_MS);
      if (due) await this.#checkpoint(wait);
      else await this.#progress(wait);
      await this.#sayWhy(wait);
      await this.#narrow(wait);
      const lost = await watchers.look(wait);
      if (lost) await this.#recover(lost, wait);
    }
  }

  /** A job that nobody works on says so. */
  async #sayWhy(wait: Wait): Promise<void> {
    const starved = ![...this.deps.views.workers.values()].some((worker) => !worker.draining);
    if (starved === this.#starved) return;
    const { job, fence } = this.input;
    await fenced(
      this.deps.meta,
      fence,
      (t) =>
        setJobStateIn(
          t,
          { pipeline: job.pipeline, job: job.id },
          { state: 'RUNNING', reason: starved ? NO_WORKERS : '', nowMs: 0 },
        ),
      { ...wait, label: 'reason' },
    );
    this.#starved = starved;
  }

  async #recover(lost: Lost, wait: Wait): Promise<void> {
    if (lost.streamCreated !== undefined) {
      this.#stream = lost.streamCreated;
      this.#sequence = 0;
      this.#published.length = 0;
    }
    const tasks = lost.tasks.filter((task) => !this.board.resultOf(task));
    if (tasks.length === 0) return;
    if (lost.blocked) {
      this.#widened = { atMs: this.deps.clock.monotonicMs() };
      await ensureConsumer(this.deps, this.input.record, wait, tasks.length);
    }
    await this.#again(tasks, lost.why, wait);
  }

  /** Takes back the room made for copies once the queue no longer counts the lost originals. */
  async #narrow(wait: Wait): Promise<void> {
    const { clock } = this.deps;
    if (!this.#widened || clock.monotonicMs() - this.#widened.atMs < ACK_WAIT_MS) return;
    this.#widened = undefined;
    await ensureConsumer(this.deps, this.input.record, wait);
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
    const messages = tasks.map((task) => this.#message(task, this.#attempt));
    await this.deps.queue.publishTasks(messages, wait);
    for (const task of tasks) this.#published.push(task);
  }

  async #checkpoint(wait: Wait): Promise<void> {
    const fold = (this.#saved?.depth ?? 0) >= CHAIN_MAX;
    const taken = this.#fresh.length;
    const previous = fold ? undefined : this.#saved?.ref;
    const index: ResultsIndex = {
      format: 1,
      results: fold ? this.board.results() : this.#fresh.slice(0, taken),
      ...(previous === undefined ? {} : { previous }),
      depth: previous === undefined ? 0 : (this.#saved?.depth ?? 0) + 1,
      sequence: this.#sequence,
      stream: this.#stream,
      attempt: this.#attempt,
      master: this.input.master.lines,
    };
    const ref = await this.deps.storage.putJson(index, wait);
    await this.#patch({ ...this.#counters(), results: ref }, wait);
    this.#saved = { ref, depth: index.depth };
    this.#fresh = this.#fresh.slice(taken);
    this.#savedAtMs = this.deps.clock.monotonicMs();
  }

  async #progress(wait: Wait): Promise<void> {
    if (this.board.done === this.#shownDone) return;
    const done = this.board.done;
    await this.#patch(this.#counters(), wait);
    this.#shownDone = done;
  }

  #counters(): JobPatch {
    const { processed, failed, recovered, stats } = this.board.counts;
    return { processed, failed, recovered, stats };
  }

  async #patch(patch: JobPatch, wait: Wait): Promise<void> {
    const { job, fence } = this.input;
    const pointer = { pipeline: job.pipeline, job: job.id };
    await fenced(this.deps.meta, fence, (t) => patchJobIn(t, pointer, patch), {
      ...wait,
      label: 'progress',
    });
  }

  #message(task: number, attempt: number): TaskMessage {
    const { job, plan } = this.input;
    const [segment, from, to] = plan.tasks[task] as readonly [number, number, number];
    return {
      pipeline: job.pipeline,
      job: job.id,
      version: job.version,
      task,
      attempt,
      spec: plan.spec,
      segment: (plan.segments[segment] as { ref: string }).ref,
      from,
      to,
    };
  }
}

/** The consumer that the pipeline's workers pull from, with the pipeline's parallelism as limit. */
export async function ensureConsumer(
  deps: Pick<OwnerDeps, 'queue' | 'views'>,
  record: PipelineRecord,
  wait: Wait,
  extra = 0,
): Promise<void> {
  const inFlightMax = slotsWanted(record.parallelism, hostCount(deps.views.offers())) + extra;
  await deps.queue.ensurePipeline(record.name, { inFlightMax, ackWaitMs: ACK_WAIT_MS }, wait);
}
