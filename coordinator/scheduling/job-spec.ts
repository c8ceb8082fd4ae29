/** What workers need to know about a job, made from the pipeline's spec. */
import type { Duration } from '../../proto/generated/google/protobuf/duration.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { JobSpec } from '../../queue/messages.js';
import type { JobRecord } from '../pipelines/model.js';
import { inputNames } from './enumerate.js';

export const DATUM_TRIES = 3;

/** The JobSpec blob of a job; `epoch` is the store's garbage-collection epoch. */
export function jobSpec(info: PipelineInfo, job: JobRecord, epoch: number): JobSpec {
  const transform = info.transform;
  const limits = info.resourceLimits;
  const memoryBytesMax = limits?.memory ? parseQuantity(limits.memory) : undefined;
  return {
    pipeline: job.pipeline,
    version: job.version,
    job: job.id,
    epoch,
    transform: {
      image: transform?.image ?? '',
      cmd: transform?.cmd ?? [],
      stdin: transform?.stdin ?? [],
      env: transform?.env ?? {},
      acceptReturnCode: transform?.acceptReturnCode ?? [],
      errCmd: transform?.errCmd ?? [],
      errStdin: transform?.errStdin ?? [],
      user: transform?.user ?? '',
      workingDir: transform?.workingDir ?? '',
    },
    inputNames: inputNames(info.input),
    outputRepo: job.outputRepo,
    outputBranch: job.outputBranch,
    outputCommit: job.outputCommit,
    specCommit: job.specCommit,
    datumTries: info.datumTries > 0 ? info.datumTries : DATUM_TRIES,
    datumTimeoutMs: durationMs(info.datumTimeout),
    ...(memoryBytesMax === undefined ? {} : { memoryBytesMax }),
    ...(info.enableStats && !info.s3Out && !info.spout ? { enableStats: true } : {}),
    ...(limits?.gpu && limits.gpu.number > 0 ? { gpus: limits.gpu.number } : {}),
  };
}

/** Milliseconds; 0 when absent. */
export function durationMs(duration: Duration | undefined): number {
  if (!duration) return 0;
  return Math.round(duration.seconds * 1_000 + duration.nanos / 1e6);
}

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  m: 1e-3,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** A quantity such as `64M`, `1Gi`, `500m`; undefined when it is not one. */
export function parseQuantity(text: string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$/.exec(text.trim());
  if (!match) return undefined;
  return Math.ceil(Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1));
}
