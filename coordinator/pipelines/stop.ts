/**
 * Stopping and starting a pipeline. Both write a spec commit, so that the history of a pipeline
 * tells when it ran. A stopped pipeline's output branch has no provenance: nothing new reaches it.
 */
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import { propagateIn } from '../versioning/propagate.js';
import type { Scope } from '../versioning/scope.js';
import { pipelineKey, pipelineNotFound, type PipelineRecord } from './model.js';
import { setStatsBranchIn } from './stats-branch.js';
import {
  closeOutputsIn,
  commitSpecIn,
  outputProvenance,
  setOutputBranchIn,
  specOf,
  type PipelineDeps,
} from './steps.js';

/** Stops a pipeline; its open outputs are finished empty, their jobs killed. Idempotent. */
export async function stopPipeline(deps: PipelineDeps, name: string, wait: Wait): Promise<void> {
  await setStopped(deps, { name, stopped: true }, wait);
}

/** Starts a stopped pipeline; one job covers what came in meanwhile. Idempotent. */
export async function startPipeline(deps: PipelineDeps, name: string, wait: Wait): Promise<void> {
  await setStopped(deps, { name, stopped: false }, wait);
}

async function setStopped(
  deps: PipelineDeps,
  change: { name: string; stopped: boolean },
  wait: Wait,
): Promise<void> {
  const { name, stopped } = change;
  await deps.meta.transact(
    async (t) => {
      const scope = deps.versioning.scope(t);
      const record = await t.getJson<PipelineRecord>(pipelineKey(name));
      if (!record) throw pipelineNotFound(name);
      if (record.stopped === stopped) return;
      const from = { pipeline: name, specCommit: record.specCommit };
      const info: PipelineInfo = { ...(await deps.specs.load(from, wait)), stopped };
      if (stopped) await closeOutputsIn(scope, name, { reason: '' });
      await writeIn(deps, scope, info, wait);
      await propagateIn(scope);
    },
    { ...wait, label: stopped ? 'stop a pipeline' : 'start a pipeline' },
  );
  deps.log.info({ pipeline: name }, stopped ? 'pipeline stopped' : 'pipeline started');
}

async function writeIn(
  deps: PipelineDeps,
  scope: Scope,
  info: PipelineInfo,
  wait: Wait,
): Promise<void> {
  const name = info.pipeline?.name ?? '';
  const specCommit = await commitSpecIn(deps, scope, info, wait);
  const record = await scope.t.getJson<PipelineRecord>(pipelineKey(name));
  if (!record) throw pipelineNotFound(name);
  const next: PipelineRecord = {
    ...record,
    stopped: info.stopped,
    specCommit,
    state: info.stopped ? 'PAUSED' : 'STARTING',
    reason: '',
  };
  scope.t.putJson(pipelineKey(name), next);
  await setOutputBranchIn(
    scope,
    { repo: name, name: record.outputBranch },
    { provenance: info.stopped ? [] : outputProvenance(info), head: 'keep', ...specOf(info) },
  );
  await setStatsBranchIn(scope, info);
}
