/**
 * What etcd holds about pipelines and jobs: shapes, keys and the steps that change them inside a
 * larger transaction. Written down in docs/formats/etcd.md.
 *
 * J1  One job per output commit: `jo/<repo>/<commit>` is created with the job and fails otherwise.
 * J2  `jrun/<id>` exists exactly while the job is not terminal; it is the set that owners watch.
 * J3  A terminal state is never left.
 * J4  A pipeline's job counts change in the transaction that changes a job's state.
 */
import { notFound, stateConflict } from '../../core/errors.js';
import type { MetaTxn } from '../meta/index.js';

/** As on the wire, without the prefix `PIPELINE_`. */
export type PipelineStateName =
  'STARTING' | 'RUNNING' | 'RESTARTING' | 'FAILURE' | 'PAUSED' | 'STANDBY' | 'CRASHING';

/** As on the wire, without the prefix `JOB_`. */
export type JobStateName =
  'STARTING' | 'RUNNING' | 'FAILURE' | 'SUCCESS' | 'KILLED' | 'MERGING' | 'EGRESSING';

/** `pl/<pipeline>`: the mutable part of a pipeline; its spec is the file /spec of specCommit. */
export interface PipelineRecord {
  readonly name: string;
  /** Starts at 1, +1 with each update; unchanged by start and stop. */
  readonly version: number;
  readonly state: PipelineStateName;
  readonly reason: string;
  /** Id of the current commit on `__spec__@<pipeline>`. */
  readonly specCommit: string;
  readonly stopped: boolean;
  /** JobStateName → number of jobs in it. */
  readonly jobCounts: Readonly<Partial<Record<JobStateName, number>>>;
  /** State of the job most recently changed. */
  readonly lastJobState: JobStateName;
  /** Of the present version (an update renews it). */
  readonly createdMs: number;
  readonly salt: string;
  /** Output repo is the pipeline's name. */
  readonly outputBranch: string;
  readonly parallelism: Parallelism;
  /** Its code runs on and on; absent: it runs jobs that end. */
  readonly live?: 'service' | 'spout';
  /** The branches it reads: direct provenance of the output branch while not stopped. */
  readonly inputBranches: readonly BranchRef[];
  /** What one datum takes from its worker; absent = a slot and nothing else. */
  readonly needs?: Needs;
  /** Place among the pipelines of one restore, which all came about in one transaction. */
  readonly order?: number;
}

/** Resources and labels a worker must have for a datum; 0 = no matter. */
export interface Needs {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly gpus: number;
  /** As in the spec, like `nvidia.com/gpu`; empty = any. */
  readonly gpuType: string;
  readonly nodeSelector: Readonly<Record<string, string>>;
}

export interface Parallelism {
  /** Slots at most; 0 = see coefficient. */
  readonly constant: number;
  /** Slots per live worker host. */
  readonly coefficient: number;
}

export interface BranchRef {
  readonly repo: string;
  readonly branch: string;
}

/** A commit of an input branch, taken from the output commit's provenance. */
export interface InputCommit extends BranchRef {
  readonly commit: string;
}

/** How far a job's egress is: every file up to `after`, in the order of the tree, is copied. */
export interface EgressProgress {
  readonly after: string;
  readonly files: number;
  readonly bytes: number;
}

export interface JobStats {
  readonly downloadMs: number;
  readonly processMs: number;
  readonly uploadMs: number;
  readonly downloadBytes: number;
  readonly uploadBytes: number;
}

export const NO_STATS: JobStats = {
  downloadMs: 0,
  processMs: 0,
  uploadMs: 0,
  downloadBytes: 0,
  uploadBytes: 0,
};

/** `job/<pipeline>/<id>`. At most about 2 KiB. */
export interface JobRecord {
  readonly id: string;
  readonly pipeline: string;
  readonly version: number;
  readonly specCommit: string;
  readonly outputRepo: string;
  readonly outputBranch: string;
  readonly outputCommit: string;
  /** Id of the commit on the stats branch, of a pipeline with stats. */
  readonly statsCommit?: string;
  readonly state: JobStateName;
  readonly reason: string;
  /** How often an owner took the job over. */
  readonly restart: number;
  readonly processed: number;
  readonly skipped: number;
  readonly failed: number;
  readonly recovered: number;
  readonly total: number;
  readonly stats: JobStats;
  readonly startedMs: number;
  /** When the last job before it had ended, if that was after it was planned. */
  readonly turnMs?: number;
  readonly finishedMs?: number;
  /** Every non-spec entry of the output commit's provenance. */
  readonly inputs: readonly InputCommit[];
  /** Object references owned by scheduling/: how datums were cut into tasks … */
  readonly plan?: string;
  /** … the list of datums with their outcomes … */
  readonly manifest?: string;
  /** … and results gathered so far. */
  readonly results?: string;
  /** Only while EGRESSING, and after it. */
  readonly egress?: EgressProgress;
}

/** `jrun/<id>`: a job that is not terminal. */
export interface RunningJobRecord {
  readonly pipeline: string;
  readonly job: string;
  readonly outputRepo: string;
  readonly outputCommit: string;
}

/** `jo/<repo>/<commit>` and `ji/<id>`: where a job's record lies. */
export interface JobPointer {
  readonly pipeline: string;
  readonly job: string;
}

export const SPEC_FILE = '/spec';

export const PIPELINES = 'pl/';
export const JOBS = 'job/';
export const RUNNING_JOBS = 'jrun/';
export const JOB_IDS = 'ji/';
export const pipelineKey = (pipeline: string): string => `${PIPELINES}${pipeline}`;
export const jobKey = (pipeline: string, job: string): string => `${JOBS}${pipeline}/${job}`;
export const jobsOf = (pipeline: string): string => `${JOBS}${pipeline}/`;
export const runningJobKey = (job: string): string => `${RUNNING_JOBS}${job}`;
export const jobIdKey = (job: string): string => `${JOB_IDS}${job}`;
export const jobsByCommitOf = (repo: string): string => `jo/${repo}/`;
export const jobByCommitKey = (repo: string, commit: string): string =>
  `${jobsByCommitOf(repo)}${commit}`;

export function isTerminal(state: JobStateName): boolean {
  return state === 'SUCCESS' || state === 'FAILURE' || state === 'KILLED';
}

export function pipelineNotFound(pipeline: string): Error {
  return notFound(`pipeline "${pipeline}" not found`);
}

export function jobNotFound(job: string): Error {
  return notFound(`/pachyderm_pps/jobs/ ${job} not found`);
}

export interface NewJob {
  /** A core/ids newId; the caller makes it once per attempt to create. */
  readonly id: string;
  readonly pipeline: string;
  readonly version: number;
  readonly specCommit: string;
  readonly outputBranch: string;
  readonly outputCommit: string;
  readonly statsCommit?: string;
  readonly inputs: readonly InputCommit[];
  readonly startedMs: number;
}

/**
 * Creates the job of an output commit in state STARTING, or answers the one that exists already
 * (J1). Throws NOT_FOUND when the pipeline is gone.
 */
export async function createJobIn(t: MetaTxn, job: NewJob): Promise<JobRecord> {
  const pointer = await t.getJson<JobPointer>(jobByCommitKey(job.pipeline, job.outputCommit));
  if (pointer) {
    const existing = await t.getJson<JobRecord>(jobKey(pointer.pipeline, pointer.job));
    if (existing) return existing;
    throw jobNotFound(pointer.job);
  }
  const record: JobRecord = {
    id: job.id,
    pipeline: job.pipeline,
    version: job.version,
    specCommit: job.specCommit,
    outputRepo: job.pipeline,
    outputBranch: job.outputBranch,
    outputCommit: job.outputCommit,
    ...(job.statsCommit === undefined ? {} : { statsCommit: job.statsCommit }),
    state: 'STARTING',
    reason: '',
    restart: 0,
    processed: 0,
    skipped: 0,
    failed: 0,
    recovered: 0,
    total: 0,
    stats: NO_STATS,
    startedMs: job.startedMs,
    inputs: job.inputs,
  };
  await countJobIn(t, record.pipeline, undefined, 'STARTING');
  const where: JobPointer = { pipeline: record.pipeline, job: record.id };
  const running: RunningJobRecord = {
    ...where,
    outputRepo: record.outputRepo,
    outputCommit: record.outputCommit,
  };
  t.putJson(jobKey(record.pipeline, record.id), record);
  t.putJson(jobIdKey(record.id), where);
  t.putJson(jobByCommitKey(record.outputRepo, record.outputCommit), where);
  t.putJson(runningJobKey(record.id), running);
  return record;
}

/** What may change in a job together with its state, or alone. */
export type JobPatch = Partial<
  Pick<
    JobRecord,
    | 'restart'
    | 'processed'
    | 'skipped'
    | 'failed'
    | 'recovered'
    | 'total'
    | 'stats'
    | 'plan'
    | 'manifest'
    | 'results'
    | 'egress'
    | 'turnMs'
  >
>;

/**
 * Moves a job to a state (or keeps it there) and applies a patch; keeps the pipeline's counts and
 * the running set. Throws NOT_FOUND when the record is gone, STATE_CONFLICT when it is terminal.
 * `nowMs` becomes the finish time of a terminal state.
 */
export async function setJobStateIn(
  t: MetaTxn,
  job: JobPointer,
  change: { state: JobStateName; reason?: string; nowMs: number; patch?: JobPatch },
): Promise<JobRecord> {
  const key = jobKey(job.pipeline, job.job);
  const current = await t.getJson<JobRecord>(key);
  if (!current) throw jobNotFound(job.job);
  if (isTerminal(current.state)) {
    throw stateConflict(`job ${job.job} has already finished`, { fields: { ...job } });
  }
  const ended = isTerminal(change.state);
  const next: JobRecord = {
    ...current,
    ...change.patch,
    state: change.state,
    reason: change.reason ?? current.reason,
    ...(ended ? { finishedMs: change.nowMs } : {}),
  };
  t.putJson(key, next);
  if (current.state !== next.state) await countJobIn(t, job.pipeline, current.state, next.state);
  if (ended) t.delete(runningJobKey(job.job));
  return next;
}

/** Changes counters and references of a running job; same errors as setJobStateIn. */
export async function patchJobIn(t: MetaTxn, job: JobPointer, patch: JobPatch): Promise<JobRecord> {
  const current = await t.getJson<JobRecord>(jobKey(job.pipeline, job.job));
  if (!current) throw jobNotFound(job.job);
  return setJobStateIn(t, job, { state: current.state, nowMs: current.startedMs, patch });
}

/** Sets state and reason of a pipeline; answers false when nothing had to change. */
export async function setPipelineStateIn(
  t: MetaTxn,
  pipeline: string,
  change: { state: PipelineStateName; reason?: string },
): Promise<boolean> {
  const current = await t.getJson<PipelineRecord>(pipelineKey(pipeline));
  if (!current) throw pipelineNotFound(pipeline);
  const reason = change.reason ?? '';
  if (current.state === change.state && current.reason === reason) return false;
  t.putJson(pipelineKey(pipeline), { ...current, state: change.state, reason });
  return true;
}

/** Removes every key of a job. Counts stay, as clients of the v1 API expect. */
export function removeJobIn(t: MetaTxn, job: JobRecord): void {
  t.delete(jobKey(job.pipeline, job.id));
  t.delete(jobIdKey(job.id));
  t.delete(jobByCommitKey(job.outputRepo, job.outputCommit));
  t.delete(runningJobKey(job.id));
}

async function countJobIn(
  t: MetaTxn,
  pipeline: string,
  from: JobStateName | undefined,
  to: JobStateName,
): Promise<void> {
  const current = await t.getJson<PipelineRecord>(pipelineKey(pipeline));
  if (!current) throw pipelineNotFound(pipeline);
  const counts = { ...current.jobCounts };
  if (from && (counts[from] ?? 0) > 0) counts[from] = (counts[from] ?? 0) - 1;
  counts[to] = (counts[to] ?? 0) + 1;
  t.putJson(pipelineKey(pipeline), { ...current, jobCounts: counts, lastJobState: to });
}
