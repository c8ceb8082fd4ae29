/** UpdateJobState: what workers of old servers reported with, kept for clients that still send it. */
import { invalidInput, stateConflict } from '../../core/errors.js';
import {
  JobState,
  type ProcessStats,
  type UpdateJobStateRequest,
} from '../../proto/generated/pps.js';
import type { Duration } from '../../proto/generated/google/protobuf/duration.js';
import type { MetaTxn } from '../meta/index.js';
import {
  isTerminal,
  jobIdKey,
  jobKey,
  jobNotFound,
  setJobStateIn,
  type JobPatch,
  type JobPointer,
  type JobRecord,
  type JobStateName,
  type JobStats,
} from './model.js';
import { closeOutputIn, type PipelineDeps } from './steps.js';

const STATES: Readonly<Partial<Record<JobState, JobStateName>>> = {
  [JobState.JOB_STARTING]: 'STARTING',
  [JobState.JOB_RUNNING]: 'RUNNING',
  [JobState.JOB_FAILURE]: 'FAILURE',
  [JobState.JOB_SUCCESS]: 'SUCCESS',
  [JobState.JOB_KILLED]: 'KILLED',
  [JobState.JOB_MERGING]: 'MERGING',
  [JobState.JOB_EGRESSING]: 'EGRESSING',
};

/**
 * Sets a job's state, reason and counters. A job that ends here leaves no open output commit
 * behind: failed and killed ones finish it empty, success is refused while it is open. Throws
 * NOT_FOUND, and STATE_CONFLICT for a job that has ended. Does not propagate.
 */
export async function updateJobStateIn(
  deps: PipelineDeps,
  t: MetaTxn,
  request: UpdateJobStateRequest,
): Promise<JobRecord> {
  const id = request.job?.id ?? '';
  if (id === '') throw invalidInput('request.Job cannot be nil');
  const state = STATES[request.state];
  if (!state) throw invalidInput(`${request.state} is no job state`);
  const pointer = await t.getJson<JobPointer>(jobIdKey(id));
  const job = pointer && (await t.getJson<JobRecord>(jobKey(pointer.pipeline, id)));
  if (!pointer || !job) throw jobNotFound(id);
  const scope = deps.versioning.scope(t);
  const changed = await setJobStateIn(t, pointer, {
    state,
    reason: request.reason,
    nowMs: deps.clock.wallMs(),
    patch: toPatch(request),
  });
  const output = { repo: job.outputRepo, id: job.outputCommit };
  if (isTerminal(state) && (await scope.commit(output))?.finished === undefined) {
    if (state === 'SUCCESS') throw stateConflict(`output commit ${output.id} not finished`);
    // The job is terminal by now, so only the commit is left to close.
    await closeOutputIn(scope, output, { reason: request.reason });
  }
  return changed;
}

function toPatch(request: UpdateJobStateRequest): JobPatch {
  return {
    restart: request.restart,
    processed: request.dataProcessed,
    skipped: request.dataSkipped,
    failed: request.dataFailed,
    recovered: request.dataRecovered,
    total: request.dataTotal,
    ...(request.stats ? { stats: toJobStats(request.stats) } : {}),
  };
}

function toJobStats(stats: ProcessStats): JobStats {
  return {
    downloadMs: toMs(stats.downloadTime),
    processMs: toMs(stats.processTime),
    uploadMs: toMs(stats.uploadTime),
    downloadBytes: stats.downloadBytes,
    uploadBytes: stats.uploadBytes,
  };
}

function toMs(duration: Duration | undefined): number {
  return duration ? duration.seconds * 1000 + Math.round(duration.nanos / 1e6) : 0;
}
