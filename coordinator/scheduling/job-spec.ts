/** What workers need to know about a job, made from the pipeline's spec. */
import { parseQuantity } from '../../core/quantity.js';
import type { Duration } from '../../proto/generated/google/protobuf/duration.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { JobSpec } from '../../queue/messages.js';
import { gitInputs } from '../pipelines/inputs.js';
import type { JobRecord } from '../pipelines/model.js';
import { inputNames } from './enumerate.js';

export const DATUM_TRIES = 3;

/** The JobSpec blob of a job; `epoch` is the store's garbage-collection epoch. */
export function jobSpec(info: PipelineInfo, job: JobRecord, epoch: number): JobSpec {
  const limits = info.resourceLimits;
  const memoryBytesMax = parseQuantity(limits?.memory ?? '');
  const diskBytesMax = parseQuantity(limits?.disk ?? '');
  return {
    pipeline: job.pipeline,
    version: job.version,
    job: job.id,
    epoch,
    transform: transformOf(info),
    inputNames: inputNames(info.input),
    ...gitOf(info),
    outputRepo: job.outputRepo,
    outputBranch: job.outputBranch,
    outputCommit: job.outputCommit,
    specCommit: job.specCommit,
    datumTries: info.datumTries > 0 ? info.datumTries : DATUM_TRIES,
    datumTimeoutMs: durationMs(info.datumTimeout),
    ...(memoryBytesMax === undefined ? {} : { memoryBytesMax }),
    ...(info.s3Out ? { s3Out: true } : {}),
    ...(info.enableStats && !info.s3Out && !info.spout ? { enableStats: true } : {}),
    ...(diskBytesMax === undefined ? {} : { diskBytesMax }),
    ...(info.maxQueueSize > 1 ? { queueSize: info.maxQueueSize } : {}),
    ...(limits && limits.cpu > 0 ? { cpusMax: limits.cpu } : {}),
    ...(limits?.gpu && limits.gpu.number > 0 ? { gpus: limits.gpu.number } : {}),
  };
}

/** The transform as workers get it. */
export function transformOf({ transform }: PipelineInfo): JobSpec['transform'] {
  return {
    image: transform?.image ?? '',
    cmd: transform?.cmd ?? [],
    stdin: transform?.stdin ?? [],
    env: transform?.env ?? {},
    acceptReturnCode: transform?.acceptReturnCode ?? [],
    errCmd: transform?.errCmd ?? [],
    errStdin: transform?.errStdin ?? [],
    user: transform?.user ?? '',
    workingDir: transform?.workingDir ?? '',
    ...(transform?.datumBatching ? { warm: true } : {}),
    ...(transform && transform.secrets.length > 0 ? { secrets: transform.secrets } : {}),
  };
}

/** Where its git inputs are cloned from. */
export function gitOf({ input }: PipelineInfo): Pick<JobSpec, 'git'> {
  const inputs = gitInputs(input).map(({ name, url, branch }) => [name, { url, branch }] as const);
  return inputs.length === 0 ? {} : { git: Object.fromEntries(inputs) };
}

/** Whether no datum of a job is taken over from an earlier one. */
export function runsAll({ reprocessSpec, s3Out }: PipelineInfo): boolean {
  return s3Out || reprocessSpec === 'every_job';
}

/** Milliseconds; 0 when absent. */
export function durationMs(duration: Duration | undefined): number {
  if (!duration) return 0;
  return Math.round(duration.seconds * 1_000 + duration.nanos / 1e6);
}
