/** Deleting pipelines. The record goes in one transaction with all that makes it a pipeline. */
import { invalidInput } from '../../core/errors.js';
import type { DeletePipelineRequest } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import { liveKeys } from '../scheduling/live/model.js';
import { historyKey } from '../scheduling/model.js';
import { deleteBranchIn } from '../versioning/branches.js';
import { SPEC_REPO } from '../versioning/model.js';
import { propagateIn } from '../versioning/propagate.js';
import { createRepoIn, deleteRepoIn } from '../versioning/repos.js';
import type { Scope } from '../versioning/scope.js';
import { staleSubvenance } from '../versioning/subvenance.js';
import { listRecords } from './list.js';
import {
  jobIdKey,
  jobsByCommitOf,
  jobsOf,
  pipelineKey,
  RUNNING_JOBS,
  runningJobKey,
  type PipelineRecord,
  type RunningJobRecord,
} from './model.js';
import { cronReposOf, deleteCronReposIn } from './sources.js';
import { detachStatsBranchIn } from './stats-branch.js';
import {
  closeOutputsIn,
  setOutputBranchIn,
  SPEC_REPO_DESCRIPTION,
  type PipelineDeps,
} from './steps.js';

export interface DeleteOptions {
  /** Also when other pipelines read its output. */
  readonly force: boolean;
  /** The output repo stays, readable, without provenance. */
  readonly keepRepo: boolean;
}

/** Deletes one pipeline or all, newest first. A missing one is success. */
export async function deletePipelines(
  deps: PipelineDeps,
  request: DeletePipelineRequest,
  wait: Wait,
): Promise<void> {
  const options = { force: request.force, keepRepo: request.keepRepo };
  if (request.all) {
    for (const { record } of await listRecords(deps.meta, wait)) {
      await deletePipeline(deps, record.name, options, wait);
    }
    return;
  }
  if (!request.pipeline?.name) {
    throw invalidInput('pipeline cannot be nil: name the pipeline to delete, or set all');
  }
  await deletePipeline(deps, request.pipeline.name, options, wait);
}

/** Deletes a pipeline. Throws STATE_CONFLICT when others read its output and `force` is off. */
export async function deletePipeline(
  deps: PipelineDeps,
  name: string,
  options: DeleteOptions,
  wait: Wait,
): Promise<void> {
  const jobs: string[] = [];
  for await (const kv of deps.meta.scan(jobsOf(name), { ...wait, keysOnly: true })) {
    jobs.push(kv.key.slice(jobsOf(name).length));
  }
  const stale = options.keepRepo ? [] : await staleSubvenance(deps.meta, name, wait);
  const deleted = await deps.meta.transact((t) => deletePipelineIn(deps, t, name, options), {
    ...wait,
    label: 'delete a pipeline',
  });
  if (!deleted) return;
  await sweep(deps, [...jobs.map((job) => jobIdKey(job)), ...stale], wait);
  deps.log.info({ pipeline: name, jobCount: jobs.length }, 'pipeline deleted');
}

async function deletePipelineIn(
  deps: PipelineDeps,
  t: MetaTxn,
  name: string,
  options: DeleteOptions,
): Promise<boolean> {
  const scope = deps.versioning.scope(t);
  const record = await t.getJson<PipelineRecord>(pipelineKey(name));
  if (record && options.keepRepo) {
    await closeOutputsIn(scope, name, { reason: '' });
    const output = { repo: name, name: record.outputBranch };
    if (await scope.branch(output)) {
      await setOutputBranchIn(scope, output, { provenance: [], head: 'keep' });
    }
    await detachStatsBranchIn(scope, name);
  } else if (record) {
    const clocks = await cronReposOf(scope, record);
    await deleteRepoIn(scope, name, { force: options.force });
    await deleteCronReposIn(scope, name, clocks);
  }
  await deleteSpecBranchIn(scope, name);
  if (!record) return false;
  for (const run of await t.rangeJson<RunningJobRecord>(RUNNING_JOBS)) {
    if (run.pipeline === name) t.delete(runningJobKey(run.job));
  }
  t.delete(pipelineKey(name));
  t.delete(historyKey(name));
  for (const key of liveKeys(name)) t.delete(key);
  t.deletePrefix(jobsOf(name));
  t.deletePrefix(jobsByCommitOf(name));
  await propagateIn(scope);
  return true;
}

async function deleteSpecBranchIn(scope: Scope, name: string): Promise<void> {
  const branch = { repo: SPEC_REPO, name };
  if (await scope.branch(branch)) await deleteBranchIn(scope, branch, { force: true });
}

const BATCH = 100;

/**
 * Deletes what only helps to look things up, a batch at a time. What is left when that fails reads
 * as "not found", so failing is no failure.
 */
async function sweep(deps: PipelineDeps, keys: readonly string[], wait: Wait): Promise<void> {
  try {
    for (let at = 0; at < keys.length; at += BATCH) {
      const success = keys.slice(at, at + BATCH).map((key) => ({ delete: key }));
      await deps.meta.txn({ compare: [], success, failure: [] }, wait);
    }
  } catch (error) {
    deps.log.info({ err: error }, 'left-over lookup keys stay until later');
  }
}

/** Deletes every pipeline by force and starts the spec repo afresh. */
export async function deleteAllPipelines(deps: PipelineDeps, wait: Wait): Promise<void> {
  for (const { record } of await listRecords(deps.meta, wait)) {
    await deletePipeline(deps, record.name, { force: true, keepRepo: false }, wait);
  }
  await deps.meta.transact(
    async (t) => {
      const scope = deps.versioning.scope(t);
      await deleteRepoIn(scope, SPEC_REPO, { force: true });
      await createRepoIn(scope, { name: SPEC_REPO, description: SPEC_REPO_DESCRIPTION });
    },
    { ...wait, label: 'reset the spec repo' },
  );
}
