/**
 * The facade over pipelines and jobs that rpc handlers and scheduling use. It owns the watch on
 * `jrun/` that blocking calls wait on.
 */
import type { Clock } from '../../core/clock.js';
import type { Log } from '../../core/log.js';
import type {
  CreatePipelineRequest,
  DeletePipelineRequest,
  FlushJobRequest,
  Input,
  InspectJobRequest,
  JobInfo,
  ListJobRequest,
  ListPipelineRequest,
  PipelineInfo,
  RunPipelineRequest,
  UpdateJobStateRequest,
} from '../../proto/generated/pps.js';
import type { Storage } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import type { Informer, Meta, MetaTxn } from '../meta/index.js';
import type { Versioning } from '../versioning/index.js';
import type { CommitName } from '../versioning/model.js';
import { Wakeups } from '../versioning/wakeups.js';
import { createPipeline, createPipelineIn } from './create.js';
import { deleteAllPipelines, deletePipelines } from './delete.js';
import { deleteJob, removeJobOfCommitIn, stopJob } from './end-jobs.js';
import { flushJobs, getJob, inspectJob, listJobs, type JobDeps } from './jobs.js';
import { getRecord, inspectPipeline, listPipelines } from './list.js';
import { RUNNING_JOBS, type JobRecord, type PipelineRecord } from './model.js';
import { preview, type Preview } from './preview.js';
import { runCron } from './run-cron.js';
import { runPipeline } from './run.js';
import { SpecStore } from './spec-store.js';
import { startPipeline, stopPipeline } from './stop.js';
import { updateJobStateIn } from './update-job.js';

export interface PipelinesOptions {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly versioning: Versioning;
  readonly clock: Clock;
  readonly log: Log;
}

/** Opens pipelines; returns when the running jobs have been listed once. */
export async function openPipelines(options: PipelinesOptions, wait: Wait): Promise<Pipelines> {
  const pipelines = new Pipelines(options);
  try {
    await pipelines.ready(wait);
  } catch (error) {
    await pipelines[Symbol.asyncDispose]();
    throw error;
  }
  return pipelines;
}

export class Pipelines implements AsyncDisposable {
  readonly #deps: JobDeps;
  readonly #running: Informer<true>;
  readonly #stop: () => void;

  constructor(options: PipelinesOptions) {
    const wakeups = new Wakeups();
    this.#deps = { ...options, specs: new SpecStore(options), wakeups };
    const { versioning } = options;
    versioning.whenDeletedIn = async (t, commits) => {
      const scope = versioning.scope(t);
      for (const commit of commits) await removeJobOfCommitIn(scope, commit);
    };
    this.#running = options.meta.informer(RUNNING_JOBS, () => true as const);
    this.#stop = this.#running.subscribe((changes) => {
      // No changes: the watch started over, and something may have come and gone unseen.
      if (changes.length === 0) wakeups.wakeAll();
      for (const { key } of changes) wakeups.wake(key.slice(RUNNING_JOBS.length));
    });
  }

  async ready(wait: Wait): Promise<void> {
    await this.#running.ready(wait);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop();
    await this.#running[Symbol.asyncDispose]();
  }

  /** The spec of a pipeline as of one of its spec commits; remembered, do not change it. */
  readonly loadSpec = (
    spec: { readonly pipeline: string; readonly specCommit: string },
    wait: Wait,
  ): Promise<PipelineInfo> => this.#deps.specs.load(spec, wait);

  create(request: CreatePipelineRequest, wait: Wait): Promise<void> {
    return createPipeline(this.#deps, request, wait);
  }

  /** Create or update as one step of a larger transaction. */
  createIn(t: MetaTxn, request: CreatePipelineRequest, wait: Wait): Promise<PipelineRecord> {
    return createPipelineIn(this.#deps, t, request, wait);
  }

  delete(request: DeletePipelineRequest, wait: Wait): Promise<void> {
    return deletePipelines(this.#deps, request, wait);
  }

  deleteAll(wait: Wait): Promise<void> {
    return deleteAllPipelines(this.#deps, wait);
  }

  start(pipeline: string, wait: Wait): Promise<void> {
    return startPipeline(this.#deps, pipeline, wait);
  }

  stop(pipeline: string, wait: Wait): Promise<void> {
    return stopPipeline(this.#deps, pipeline, wait);
  }

  /** Makes a tick now on every cron input. Throws NOT_FOUND, STATE_CONFLICT when it has none. */
  runCron(pipeline: string, wait: Wait): Promise<void> {
    return runCron(this.#deps, pipeline, wait);
  }

  /** A job on chosen commits; the head of the output branch stays where it is. */
  run(request: RunPipelineRequest, wait: Wait): Promise<CommitName> {
    return runPipeline(this.#deps, request, wait);
  }

  inspect(pipeline: string, wait: Wait): Promise<PipelineInfo> {
    return inspectPipeline(this.#deps, pipeline, wait);
  }

  list(request: ListPipelineRequest, wait: Wait): AsyncIterable<PipelineInfo> {
    return listPipelines(this.#deps, request, wait);
  }

  /** An input without a pipeline, resolved to the heads of its branches. */
  preview(input: Input | undefined, wait: Wait): Promise<Preview> {
    return preview(this.#deps.versioning, input, wait);
  }

  record(pipeline: string, wait: Wait): Promise<PipelineRecord> {
    return getRecord(this.#deps.meta, pipeline, wait);
  }

  job(id: string, wait: Wait): Promise<JobRecord> {
    return getJob(this.#deps, id, wait);
  }

  inspectJob(request: InspectJobRequest, wait: Wait): Promise<JobInfo> {
    return inspectJob(this.#deps, request, wait);
  }

  listJobs(request: ListJobRequest, wait: Wait): AsyncIterable<JobInfo> {
    return listJobs(this.#deps, request, wait);
  }

  flushJobs(request: FlushJobRequest, wait: Wait): AsyncIterable<JobInfo> {
    return flushJobs(this.#deps, request, wait);
  }

  stopJob(id: string, wait: Wait): Promise<void> {
    return stopJob(this.#deps, id, wait);
  }

  updateJobStateIn(t: MetaTxn, request: UpdateJobStateRequest): Promise<JobRecord> {
    return updateJobStateIn(this.#deps, t, request);
  }

  async updateJobState(request: UpdateJobStateRequest, wait: Wait): Promise<void> {
    await this.#deps.meta.transact(
      async (t) => {
        await this.updateJobStateIn(t, request);
        await this.#deps.versioning.propagateIn(t);
      },
      { ...wait, label: 'update a job' },
    );
  }

  deleteJob(id: string, wait: Wait): Promise<void> {
    return deleteJob(this.#deps, id, wait);
  }
}
