/** Fields that only mean something on Kubernetes: they are kept, and whoever wrote them is told. */
import type { CreatePipelineRequest } from '../../proto/generated/pps.js';

/** The names of such fields that the spec sets. */
export function kubernetesOnly({
  podSpec,
  podPatch,
  schedulingSpec,
  sidecarResourceLimits,
  transform,
}: CreatePipelineRequest): string[] {
  const fields: readonly [string, boolean][] = [
    ['pod_spec', podSpec !== ''],
    ['pod_patch', podPatch !== ''],
    ['scheduling_spec.priority_class_name', (schedulingSpec?.priorityClassName ?? '') !== ''],
    ['sidecar_resource_limits', sidecarResourceLimits !== undefined],
    ['transform.image_pull_secrets', (transform?.imagePullSecrets.length ?? 0) > 0],
  ];
  return fields.filter(([, set]) => set).map(([name]) => name);
}
