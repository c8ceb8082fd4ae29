/** From a request to the PipelineInfo that is stored as the file /spec of a spec commit. */
import { PipelineInfo, type CreatePipelineRequest } from '../../proto/generated/pps.js';
import type { Service, Spout } from '../../proto/generated/pps.js';
import { sortInputs, withInputDefaults } from './inputs.js';
import type { Parallelism } from './model.js';

export const DEFAULT_IMAGE = 'ubuntu:16.04';
export const DEFAULT_TRIES = 3;

/** What a new spec takes from elsewhere than the request. */
export interface SpecContext {
  readonly version: number;
  readonly nowMs: number;
  readonly salt: string;
  readonly stopped: boolean;
}

/**
 * The pipeline as it is stored: defaults filled, inputs in stored order. Fields that only mean
 * something on Kubernetes (pod_spec, metadata …) are kept for display.
 */
export function toSpec(request: CreatePipelineRequest, context: SpecContext): PipelineInfo {
  const name = request.pipeline?.name ?? '';
  const nowS = Math.floor(context.nowMs / 1000);
  const input = request.input && sortInputs(withInputDefaults(name, nowS, request.input));
  const spec = request.parallelismSpec;
  const parallel = spec && (spec.constant > 0 || spec.coefficient > 0);
  return PipelineInfo.fromPartial({
    pipeline: { name },
    version: context.version,
    createdAt: toTimestamp(context.nowMs),
    salt: context.salt,
    stopped: context.stopped,
    transform: request.transform && {
      ...request.transform,
      image: request.transform.image || DEFAULT_IMAGE,
    },
    parallelismSpec: parallel ? spec : { constant: 1, coefficient: 0 },
    hashtreeSpec: request.hashtreeSpec,
    egress: request.egress,
    outputBranch: request.outputBranch || 'master',
    resourceRequests: request.resourceRequests,
    resourceLimits: request.resourceLimits,
    sidecarResourceLimits: request.sidecarResourceLimits,
    input,
    description: request.description,
    cacheSize: request.cacheSize || '64M',
    enableStats: request.enableStats,
    maxQueueSize: Math.max(1, request.maxQueueSize),
    service: withServiceType(request.service),
    spout: withSpoutDefaults(request.spout),
    chunkSpec: request.chunkSpec,
    datumTimeout: request.datumTimeout,
    jobTimeout: request.jobTimeout,
    standby: request.standby,
    autoscaling: request.autoscaling,
    datumTries: request.datumTries === 0 ? DEFAULT_TRIES : request.datumTries,
    schedulingSpec: request.schedulingSpec,
    podSpec: request.podSpec,
    podPatch: request.podPatch,
    tfJob: request.tfJob,
    s3Out: request.s3Out,
    metadata: request.metadata,
    reprocessSpec: request.reprocessSpec || 'until_success',
  });
}

function withServiceType(service: Service | undefined): Service | undefined {
  return service && { ...service, type: service.type || 'NodePort' };
}

function withSpoutDefaults(spout: Spout | undefined): Spout | undefined {
  return spout && { ...spout, service: withServiceType(spout.service) };
}

/** The stored form of a spec's parallelism. */
export function parallelismOf(info: PipelineInfo): Parallelism {
  const { constant = 1, coefficient = 0 } = info.parallelismSpec ?? {};
  return { constant, coefficient };
}

export function toTimestamp(ms: number): { seconds: number; nanos: number } {
  return { seconds: Math.floor(ms / 1000), nanos: Math.round((ms % 1000) * 1e6) };
}

export function toDuration(ms: number): { seconds: number; nanos: number } {
  return toTimestamp(Math.max(0, ms));
}
