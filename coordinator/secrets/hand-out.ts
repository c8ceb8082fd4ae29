/** Who gets values: a joined worker, for a pipeline that runs, what its transform names. */
import { AppError, stateConflict } from '../../core/errors.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { SecretValue, WorkerSecretsRequest } from '../../proto/generated/tusk.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import {
  jobKey,
  pipelineKey,
  type JobRecord,
  type PipelineRecord,
  type RunningJobRecord,
} from '../pipelines/model.js';
import { workerKey } from '../scheduling/index.js';
import type { Secrets } from './secrets.js';

export interface HandOutDeps {
  readonly meta: Meta;
  readonly secrets: Secrets;
  readonly scheduling: { readonly views: { readonly running: Running } };
  readonly loadSpec: (
    spec: { readonly pipeline: string; readonly specCommit: string },
    wait: Wait,
  ) => Promise<PipelineInfo>;
}

interface Running {
  values(): Iterable<RunningJobRecord>;
}

/** The function behind the rpc WorkerSecrets. */
export function handOutSecrets(deps: HandOutDeps) {
  return async (request: WorkerSecretsRequest, wait: Wait): Promise<SecretValue[]> => {
    const { worker, pipeline, specCommit } = request;
    if (worker === '' || !(await deps.meta.get(workerKey(worker), wait))) {
      throw new AppError('PERMISSION_DENIED', `worker "${worker}" has not joined`);
    }
    if (!(await runs(deps, { pipeline, specCommit }, wait))) {
      throw stateConflict(`pipeline "${pipeline}" does not run with spec ${specCommit} (any more)`);
    }
    const info = await deps.loadSpec({ pipeline, specCommit }, wait);
    const values: SecretValue[] = [];
    for (const [secret, found] of await deps.secrets.valuesFor(info, wait)) {
      for (const [key, value] of Object.entries(found)) values.push({ secret, key, value });
    }
    return values;
  };
}

async function runs(
  deps: HandOutDeps,
  spec: { readonly pipeline: string; readonly specCommit: string },
  wait: Wait,
): Promise<boolean> {
  const record = await deps.meta.getJson<PipelineRecord>(pipelineKey(spec.pipeline), wait);
  if (record?.specCommit === spec.specCommit) return true;
  for (const run of deps.scheduling.views.running.values()) {
    if (run.pipeline !== spec.pipeline) continue;
    const job = await deps.meta.getJson<JobRecord>(jobKey(run.pipeline, run.job), wait);
    if (job?.specCommit === spec.specCommit) return true;
  }
  return false;
}
