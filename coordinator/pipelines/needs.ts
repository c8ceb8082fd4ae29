/** What one datum of a pipeline takes from the worker that runs it. */
import { parseQuantity } from '../../core/quantity.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { Needs } from './model.js';

/**
 * From the spec: requests decide, a limit without a request stands for one. Undefined when a slot
 * is all that is asked for.
 */
export function needsOf(info: PipelineInfo): Needs | undefined {
  const { resourceRequests: requests, resourceLimits: limits } = info;
  const nodeSelector = info.schedulingSpec?.nodeSelector ?? {};
  const gpu = (limits?.gpu?.number ?? 0) > 0 ? limits?.gpu : requests?.gpu;
  const needs: Needs = {
    cpus: requests?.cpu || limits?.cpu || 0,
    memoryBytes: bytes(requests?.memory) || bytes(limits?.memory),
    diskBytes: bytes(requests?.disk) || bytes(limits?.disk),
    gpus: Math.max(0, gpu?.number ?? 0),
    gpuType: gpu && gpu.number > 0 ? gpu.type : '',
    nodeSelector: { ...nodeSelector },
  };
  const { cpus, memoryBytes, diskBytes, gpus } = needs;
  const some = cpus + memoryBytes + diskBytes + gpus > 0 || Object.keys(nodeSelector).length > 0;
  return some ? needs : undefined;
}

function bytes(text: string | undefined): number {
  return text ? (parseQuantity(text) ?? 0) : 0;
}
