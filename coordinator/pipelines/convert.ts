/** From records and specs to the messages of the v1 API. */
import {
  CreatePipelineRequest,
  JobInfo,
  JobState,
  PipelineInfo,
  PipelineState,
  type ProcessStats,
} from '../../proto/generated/pps.js';
import { SPEC_REPO } from '../versioning/model.js';
import { toDuration, toTimestamp } from './defaults.js';
import { withCommits } from './inputs.js';
import type {
  JobRecord,
  JobStateName,
  JobStats,
  PipelineRecord,
  PipelineStateName,
} from './model.js';

const PIPELINE_STATES: Record<PipelineStateName, PipelineState> = {
  STARTING: PipelineState.PIPELINE_STARTING,
  RUNNING: PipelineState.PIPELINE_RUNNING,
  RESTARTING: PipelineState.PIPELINE_RESTARTING,
  FAILURE: PipelineState.PIPELINE_FAILURE,
  PAUSED: PipelineState.PIPELINE_PAUSED,
  STANDBY: PipelineState.PIPELINE_STANDBY,
  CRASHING: PipelineState.PIPELINE_CRASHING,
};

const JOB_STATES: Record<JobStateName, JobState> = {
  STARTING: JobState.JOB_STARTING,
  RUNNING: JobState.JOB_RUNNING,
  FAILURE: JobState.JOB_FAILURE,
  SUCCESS: JobState.JOB_SUCCESS,
  KILLED: JobState.JOB_KILLED,
  MERGING: JobState.JOB_MERGING,
  EGRESSING: JobState.JOB_EGRESSING,
};

/**
 * A spec as shown to people. State, reason and counters are always those of the present pipeline,
 * also when the spec is an older one; `specCommit` names the commit the spec was read from.
 */
export function toPipelineInfo(
  spec: PipelineInfo,
  record: PipelineRecord,
  specCommit: string,
): PipelineInfo {
  const jobCounts: Record<number, number> = {};
  for (const [name, count] of Object.entries(record.jobCounts)) {
    jobCounts[JOB_STATES[name as JobStateName]] = count;
  }
  return {
    ...spec,
    state: PIPELINE_STATES[record.state],
    reason: record.reason,
    jobCounts,
    lastJobState: JOB_STATES[record.lastJobState],
    specCommit: { repo: { name: SPEC_REPO }, id: specCommit },
    workerRc: workerSet(record),
  };
}

/** The name old clients know a pipeline's workers by. */
export function workerSet(record: Pick<PipelineRecord, 'name' | 'version'>): string {
  return `pipeline-${record.name.toLowerCase().replaceAll('_', '-')}-v${record.version}`;
}

/** A pipeline whose spec can not be read, for lists that allow it. */
export function toIncompletePipelineInfo(record: PipelineRecord): PipelineInfo {
  const bare = PipelineInfo.fromPartial({
    pipeline: { name: record.name },
    version: record.version,
    stopped: record.stopped,
    outputBranch: record.outputBranch,
    createdAt: toTimestamp(record.createdMs),
  });
  return toPipelineInfo(bare, record, record.specCommit);
}

/** A job; with the spec it ran under, also everything that full results carry. */
export function toJobInfo(job: JobRecord, spec?: PipelineInfo): JobInfo {
  const repo = { name: job.outputRepo };
  const info = JobInfo.fromPartial({
    job: { id: job.id },
    pipeline: { name: job.pipeline },
    started: toTimestamp(job.startedMs),
    finished: job.finishedMs === undefined ? undefined : toTimestamp(job.finishedMs),
    outputCommit: { repo, id: job.outputCommit },
    outputRepo: repo,
    statsCommit: job.statsCommit === undefined ? undefined : { repo, id: job.statsCommit },
    state: JOB_STATES[job.state],
    reason: job.reason,
    restart: job.restart,
    dataProcessed: job.processed,
    dataSkipped: job.skipped,
    dataFailed: job.failed,
    dataRecovered: job.recovered,
    dataTotal: job.total,
    stats: toProcessStats(job.stats),
    specCommit: { repo: { name: SPEC_REPO }, id: job.specCommit },
  });
  return spec ? { ...info, ...specPart(job, spec) } : info;
}

function specPart(job: JobRecord, spec: PipelineInfo): Partial<JobInfo> {
  return {
    transform: spec.transform,
    parallelismSpec: spec.parallelismSpec,
    pipelineVersion: job.version,
    service: spec.service,
    egress: spec.egress,
    outputBranch: job.outputBranch,
    resourceRequests: spec.resourceRequests,
    resourceLimits: spec.resourceLimits,
    sidecarResourceLimits: spec.sidecarResourceLimits,
    input: spec.input && withCommits(spec.input, job.inputs),
    enableStats: spec.enableStats,
    salt: spec.salt,
    chunkSpec: spec.chunkSpec,
    datumTimeout: spec.datumTimeout,
    jobTimeout: spec.jobTimeout,
    datumTries: spec.datumTries,
    schedulingSpec: spec.schedulingSpec,
    podSpec: spec.podSpec,
    podPatch: spec.podPatch,
    spout: spec.spout,
  };
}

export function toProcessStats(stats: JobStats): ProcessStats {
  return {
    downloadTime: toDuration(stats.downloadMs),
    processTime: toDuration(stats.processMs),
    uploadTime: toDuration(stats.uploadMs),
    downloadBytes: stats.downloadBytes,
    uploadBytes: stats.uploadBytes,
  };
}

/** The request that makes a pipeline again, its salt included: all fields that both messages have. */
export function requestOf(info: PipelineInfo): CreatePipelineRequest {
  const request = CreatePipelineRequest.fromPartial({});
  for (const name of Object.keys(request)) {
    if (name in info && name !== 'specCommit') {
      Object.assign(request, { [name]: info[name as keyof PipelineInfo] });
    }
  }
  return request;
}
