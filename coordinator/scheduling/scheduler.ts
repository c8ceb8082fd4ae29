/**
 * Scheduling as the rest of the coordinator sees it: owns pipelines, runs their jobs, serves
 * workers, and answers questions about datums, logs and workers of jobs.
 */
import { newUuid } from '../../core/ids.js';
import { ResourceStack } from '../../core/resource-stack.js';
import { cancelledBy } from '../../core/signals.js';
import type { Input, PipelineInfo } from '../../proto/generated/pps.js';
import type {
  DutyReply,
  DutyReport,
  JoinEvent,
  JoinRequest,
  SpoutWrite,
  SpoutWritten,
  WorkerConfig,
} from '../../proto/generated/tusk.js';
import type { RunningTask } from '../../queue/index.js';
import type { LogLine } from '../../queue/messages.js';
import type { Wait } from '../../storage/types.js';
import { pipelineKey, type InputCommit, type JobRecord, type Needs } from '../pipelines/model.js';
import {
  aggregateDatums,
  findDatum,
  listDatums,
  previewDatums,
  type DatumListDeps,
  type DatumListOptions,
  type DatumRow,
  type StatsSummary,
} from './datum-list.js';
import { describeDatum, type DatumRecipe } from './datum-recipe.js';
import { tendBeside, type Beside } from './beside.js';
import type { OwnerDeps, SchedulingDeps } from './deps.js';
import { Joins, type Joined } from './joins.js';
import { readLogs, type LogQuery } from './logs.js';
import { commitSpout, reportDuty } from './live/reports.js';
import { servedBy } from './live/served.js';
import { sortedManifestMaps } from './sorted-maps.js';
import { Membership } from './membership.js';
import type { OwnerRecord, WorkerRecord } from './model.js';
import { Ownership } from './ownership.js';
import { PipelineLoop } from './pipeline-loop.js';
import type { Offer } from './shares.js';
import { Views } from './views.js';

export interface SchedulerOptions extends SchedulingDeps {
  /**
   * Name of this coordinator, the same after a restart (such as its address): a restarted one then
   * takes its pipelines back at once. Never used by two processes at a time.
   */
  readonly replica: string;
  /** What joining workers are told. */
  readonly workerConfig: WorkerConfig;
  /** What the owner of a pipeline runs beside its jobs. */
  readonly beside?: readonly Beside[];
}

/** One slot of a worker busy with a datum of a job. */
export interface RunningDatum extends RunningTask {
  readonly worker: string;
}

const ASK_MS = 1_000;

export class Scheduler implements AsyncDisposable {
  readonly views: Views;
  readonly #deps: OwnerDeps;
  readonly #membership: Membership;
  readonly #ownership: Ownership;
  readonly #joins: Joins;
  readonly #loops = new Map<string, PipelineLoop>();
  readonly #stop = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  /** @internal Use `openScheduler`. */
  constructor(options: SchedulerOptions) {
    const { meta, log, clock, replica, beside = [] } = options;
    this.views = new Views(meta);
    this.#deps = { ...options, maps: sortedManifestMaps(options.storage), views: this.views };
    const self: OwnerRecord = { replica, instance: newUuid() };
    this.#membership = new Membership({ meta, log, clock }, self);
    this.#ownership = new Ownership(
      {
        meta,
        log,
        clock,
        views: this.views,
        membership: this.#membership,
        tend: async (fence, signal) => {
          const loop = new PipelineLoop(this.#deps, fence);
          this.#loops.set(fence.pipeline, loop);
          try {
            const deps = { clock, log, views: this.views, beside };
            await tendBeside(deps, fence, (inner) => loop.tend(inner), signal);
          } finally {
            this.#loops.delete(fence.pipeline);
          }
        },
      },
      self,
    );
    this.#joins = new Joins({
      ...{ meta, log, clock, replica, views: this.views },
      membership: this.#membership,
      config: options.workerConfig,
    });
  }

  /** @internal */
  async start(wait: Wait): Promise<void> {
    await this.#deps.queue.ensureStreams(wait);
    await this.views.ready(wait);
    const { signal } = this.#stop;
    this.#running = Promise.all([this.#membership.run(signal), this.#ownership.run(signal)]);
  }

  /** Serves one worker's Join stream. */
  join(requests: AsyncIterable<JoinRequest>, wait: Wait): AsyncIterable<JoinEvent> {
    return this.#joins.join(requests, wait);
  }

  /** A worker tells of a service or spout. */
  reportDuty(report: DutyReport, address: string, wait: Wait): Promise<DutyReply> {
    return reportDuty(this.#deps, report, address, wait);
  }

  /** A worker has stored what a spout wrote. */
  commitSpout(write: SpoutWrite, wait: Wait): Promise<SpoutWritten> {
    return commitSpout(this.#deps, write, wait);
  }

  /** Every joined worker of the cluster. */
  workers(): WorkerRecord[] {
    return [...this.views.workers.values()];
  }

  /** The workers as the allocator sees them. */
  offers(): readonly Offer[] {
    return this.views.offers();
  }

  /** What a datum of the pipeline takes from its worker. */
  needs(pipeline: string): Needs | undefined {
    return this.views.pipelines.get(pipelineKey(pipeline))?.needs;
  }

  /** Tasks of the pipeline that no worker has taken yet; 0 when that can not be told at once. */
  async unclaimed(pipeline: string, wait: Wait): Promise<number> {
    const running = [...this.views.running.entries()];
    if (!running.some(([, run]) => run.pipeline === pipeline)) return 0;
    const signal = AbortSignal.any([wait.signal, AbortSignal.timeout(ASK_MS)]);
    // A service has no queue.
    const backlog = await this.#deps.queue.backlog(pipeline, { signal }).catch(() => undefined);
    wait.signal.throwIfAborted();
    return backlog?.pending ?? 0;
  }

  /** Workers joined to this coordinator, with their last heartbeat. */
  joined(): readonly Joined[] {
    return this.#joins.list();
  }

  /** The datums of a job, failed ones first. */
  listDatums(job: JobRecord, options: DatumListOptions): AsyncIterable<DatumRow> {
    return listDatums(this.#datumDeps(), job, options);
  }

  findDatum(job: JobRecord, id: string, options: DatumListOptions): Promise<DatumRow | undefined> {
    return findDatum(this.#datumDeps(), job, id, options);
  }

  /** What it takes to run a datum again elsewhere; `id` may be short, or empty: one that failed. */
  describeDatum(job: JobRecord, info: PipelineInfo, id: string, wait: Wait): Promise<DatumRecipe> {
    return describeDatum(this.#datumDeps(), job, info, id, wait);
  }

  /** What the datums that ran in the job took. */
  aggregateDatums(job: JobRecord, wait: Wait): Promise<StatsSummary> {
    return aggregateDatums(this.#datumDeps(), job, wait);
  }

  /** The datums that an input gives at these commits. */
  previewDatums(
    input: Input,
    commits: readonly InputCommit[],
    wait: Wait,
  ): Promise<{ readonly length: number; at(index: number): DatumRow }> {
    return previewDatums(this.#deps, input, commits, wait);
  }

  readLogs(query: LogQuery, wait: Wait): AsyncIterable<LogLine> {
    const { meta, storage, queue, clock } = this.#deps;
    const live = (job: JobRecord) => {
      const run = this.#runOf(job);
      const board = run?.collector?.board;
      return run && board && { results: board.results(), master: run.master.lines };
    };
    const running = (of: { pipeline: string; job?: string }, inner: Wait) => this.#busy(of, inner);
    return readLogs({ meta, storage, queue, clock, live, running }, query, wait);
  }

  /** Every datum that workers have in their hands, of all pipelines. */
  runningAll(wait: Wait): Promise<RunningDatum[]> {
    return this.#busy({}, wait);
  }

  /** What workers are doing for a job right now; workers that do not answer are left out. */
  async running(job: JobRecord, wait: Wait): Promise<RunningDatum[]> {
    const served = servedBy(this.views, job);
    if (served) return [served];
    return this.#busy({ pipeline: job.pipeline, job: job.id }, wait);
  }

  /** Why a worker gave a task of the job back in the last moments; empty when none did. */
  async whyGivenBack(job: string, wait: Wait): Promise<string> {
    const signal = AbortSignal.any([wait.signal, AbortSignal.timeout(ASK_MS)]);
    const reasons = await Promise.all(
      this.workers().map(async ({ worker }) => {
        const status = await this.#deps.queue.askStatus(worker, { signal }).catch(() => undefined);
        const task = status?.givenBack?.find((one) => one.job === job);
        return task && `worker ${worker} gave a task back: ${task.reason}; it is tried again`;
      }),
    );
    return reasons.find((reason) => reason !== undefined) ?? '';
  }

  /**
   * Cancels the present try of every datum of the job at work whose files match all filters (by
   * path, or hash in base64 or hex); answers how many there were.
   */
  async restartDatums(job: JobRecord, filters: readonly string[], wait: Wait): Promise<number> {
    const signal = AbortSignal.any([wait.signal, AbortSignal.timeout(ASK_MS)]);
    const request = { job: job.id, filters };
    const counts = await Promise.all(
      this.workers().map(({ worker }) =>
        this.#deps.queue.askRestart(worker, request, { signal }).catch(() => 0),
      ),
    );
    return counts.reduce((sum, count) => sum + count, 0);
  }

  async #busy(
    of: { readonly pipeline?: string; readonly job?: string },
    wait: Wait,
  ): Promise<RunningDatum[]> {
    const signal = AbortSignal.any([wait.signal, AbortSignal.timeout(ASK_MS)]);
    const answers = await Promise.all(
      this.workers().map(async ({ worker }) => {
        const status = await this.#deps.queue.askStatus(worker, { signal }).catch(() => undefined);
        return (status?.running ?? [])
          .filter(
            ({ pipeline, job }) =>
              (of.pipeline === undefined || pipeline === of.pipeline) &&
              (of.job === undefined || job === of.job),
          )
          .map((running) => ({ ...running, worker }));
      }),
    );
    return answers.flat();
  }

  /** For debugging: every supervised loop. */
  status(): { lease: boolean; owned: string[]; loops: unknown[]; workers: number } {
    return {
      lease: this.#membership.lease !== undefined,
      owned: this.#ownership.pipelines,
      loops: [...this.#loops.values()].map((loop) => loop.status()),
      workers: this.views.workers.size,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(cancelledBy('the stop of the coordinator'));
    await this.#running;
    await this.views[Symbol.asyncDispose]();
  }

  #datumDeps(): DatumListDeps {
    const { meta, storage, versioning, maps } = this.#deps;
    return {
      ...{ meta, storage, versioning, maps },
      live: (job) => this.#runOf(job)?.collector?.board.results(),
    };
  }

  #runOf(job: JobRecord) {
    return this.#loops.get(job.pipeline)?.runOf(job.id);
  }
}

/** Starts scheduling; disposing it gives every pipeline back. */
export async function openScheduler(options: SchedulerOptions, wait: Wait): Promise<Scheduler> {
  await using stack = new ResourceStack();
  const scheduler = stack.use(new Scheduler(options));
  await scheduler.start(wait);
  stack.move();
  return scheduler;
}
