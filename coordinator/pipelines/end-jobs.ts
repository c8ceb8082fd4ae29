/** Ending jobs on request: stop and delete. Owners notice that `jrun/<id>` is gone. */
import type { Wait } from '../../storage/types.js';
import { openKey, type CommitName } from '../versioning/model.js';
import { propagateIn } from '../versioning/propagate.js';
import type { Scope } from '../versioning/scope.js';
import { getJob } from './jobs.js';
import {
  isTerminal,
  jobByCommitKey,
  jobKey,
  removeJobIn,
  setJobStateIn,
  type JobPointer,
  type JobRecord,
} from './model.js';
import { closeOutputIn, type PipelineDeps } from './steps.js';

/** Finishes the job's output empty and kills it. A job that has ended is left as it is. */
export async function stopJob(deps: PipelineDeps, id: string, wait: Wait): Promise<void> {
  const { pipeline } = await getJob(deps, id, wait);
  const stopped = await deps.meta.transact(
    async (t) => {
      const scope = deps.versioning.scope(t);
      const job = await t.getJson<JobRecord>(jobKey(pipeline, id));
      if (!job || isTerminal(job.state)) return false;
      await stopIn(scope, job);
      return true;
    },
    { ...wait, label: 'stop a job' },
  );
  if (stopped) deps.log.info({ pipeline, job: id }, 'job stopped on request');
}

/** Stops the job if it runs and removes its record. Its output commit stays. */
export async function deleteJob(deps: PipelineDeps, id: string, wait: Wait): Promise<void> {
  const { pipeline } = await getJob(deps, id, wait);
  await deps.meta.transact(
    async (t) => {
      const scope = deps.versioning.scope(t);
      const job = await t.getJson<JobRecord>(jobKey(pipeline, id));
      if (!job) return;
      if (!isTerminal(job.state)) await stopIn(scope, job);
      removeJobIn(t, job);
    },
    { ...wait, label: 'delete a job' },
  );
  deps.log.info({ pipeline, job: id }, 'job deleted');
}

async function stopIn(scope: Scope, job: JobRecord): Promise<void> {
  const output = { repo: job.outputRepo, id: job.outputCommit };
  if (!(await scope.t.getJson(openKey(output)))) {
    // Its output is finished and stays; only what is done with it ends.
    const where = { pipeline: job.pipeline, job: job.id };
    const nowMs = scope.deps.clock.wallMs();
    await setJobStateIn(scope.t, where, { state: 'KILLED', reason: '', nowMs });
    return;
  }
  await closeOutputIn(scope, output, { reason: '' });
  await propagateIn(scope);
}

/**
 * Removes the job of an output commit that is being deleted; versioning calls it in the
 * transaction that deletes the commit.
 */
export async function removeJobOfCommitIn(scope: Scope, commit: CommitName): Promise<void> {
  const pointer = await scope.t.getJson<JobPointer>(jobByCommitKey(commit.repo, commit.id));
  const job = pointer && (await scope.t.getJson<JobRecord>(jobKey(pointer.pipeline, pointer.job)));
  if (job) removeJobIn(scope.t, job);
}
