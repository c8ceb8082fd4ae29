/** Deleting pipelines. The record goes in one transaction with all that makes it a pipeline. */
import { invalidInput } from '../../core/errors.js';
import type { DeletePipelineRequest } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import { historyKey } from '../scheduling/model.js';
import { deleteBranchIn } from '../versioning/branches.js';
import { SPEC_REPO } from '../versioning/model.js';
import { propagateIn } from '../versioning/propagate.js';
import { createRepoIn, deleteRepoIn } from '../versioning/repos.js';
import type { Scope } from '../versioning/scope.js';
import { listRecords } from './list.js';
import {
  JOB_IDS,
  jobsByCommitOf,
  jobsOf,
  pipelineKey,
  RUNNING_JOBS,
  runningJobKey,
  type PipelineRecord,
  type RunningJobRecord,
} from './model.js';
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
  await deps.meta.transact((t) => deletePipelineIn(deps, t, name, options), {
    ...wait,
    label: 'delete a pipeline',
  });
  // Only a lookup aid: a pointer to a job that is gone reads as "not found".
  await deleteJobIds(deps, jobs, wait);
  deps.log.info({ pipeline: name, jobCount: jobs.length }, 'pipeline deleted');
}

async function deletePipelineIn(
  deps: PipelineDeps,
  t: MetaTxn,
  name: string,
  options: DeleteOptions,
): Promise<void> {
  const scope = deps.versioning.scope(t);
  const record = await t.getJson<PipelineRecord>(pipelineKey(name));
  if (record && options.keepRepo) {
    await closeOutputsIn(scope, name, { reason: '' });
    const output = { repo: name, name: record.outputBranch };
    if (await scope.branch(output)) {
      await setOutputBranchIn(scope, output, { provenance: [], head: 'keep' });
    }
  } else if (record) {
    await deleteRepoIn(scope, name, { force: options.force });
  }
  await deleteSpecBranchIn(scope, name);
  if (!record) return;
  for (const run of await t.rangeJson<RunningJobRecord>(RUNNING_JOBS)) {
    if (run.pipeline === name) t.delete(runningJobKey(run.job));
  }
  t.delete(pipelineKey(name));
  t.delete(historyKey(name));
  t.deletePrefix(jobsOf(name));
  t.deletePrefix(jobsByCommitOf(name));
  await propagateIn(scope);
}

async function deleteSpecBranchIn(scope: Scope, name: string): Promise<void> {
  const branch = { repo: SPEC_REPO, name };
  if (await scope.branch(branch)) await deleteBranchIn(scope, branch, { force: true });
}

const BATCH = 100;

async function deleteJobIds(
  deps: PipelineDeps,
  jobs: readonly string[],
  wait: Wait,
): Promise<void> {
  for (let at = 0; at < jobs.length; at += BATCH) {
    await deps.meta.transact(
      async (t) => {
        for (const job of jobs.slice(at, at + BATCH)) t.delete(`${JOB_IDS}${job}`);
      },
      { ...wait, label: 'forget job ids' },
    );
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
