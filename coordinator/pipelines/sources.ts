/** The repos and branches that a pipeline brings along for its inputs, inside a larger transaction. */
import type { PipelineInfo } from '../../proto/generated/pps.js';
import { createBranchIn } from '../versioning/branches.js';
import { createRepoIn, deleteRepoIn } from '../versioning/repos.js';
import type { Scope } from '../versioning/scope.js';
import { cronInputs, gitInputs, visit } from './inputs.js';
import { PIPELINES, type PipelineRecord } from './model.js';

const CRON_REPO = 'Cron tick repo for pipeline ';

/** Makes the repos of cron and git inputs where they are missing; those that are there are shared. */
export async function createSourceReposIn(scope: Scope, info: PipelineInfo): Promise<void> {
  const pipeline = info.pipeline?.name ?? '';
  for (const { repo } of cronInputs(info.input)) {
    await ensureRepoIn(scope, repo, `${CRON_REPO}${pipeline}.`);
  }
  for (const { name } of gitInputs(info.input)) {
    await ensureRepoIn(scope, name, `Git input repo for pipeline ${pipeline}.`);
  }
}

async function ensureRepoIn(scope: Scope, name: string, description: string): Promise<void> {
  if (await scope.repo(name)) await scope.needRepo(name);
  else await createRepoIn(scope, { name, description });
}

/** Makes the branches that triggers of inputs move; a head that is there stays. */
export async function createTriggersIn(scope: Scope, info: PipelineInfo): Promise<void> {
  for (const { pfs } of visit(info.input)) {
    if (!pfs?.trigger) continue;
    const { repo, branch: name, trigger } = pfs;
    const before = await scope.branch({ repo, name });
    await createBranchIn(scope, {
      repo,
      name,
      trigger: {
        branch: trigger.branch,
        all: trigger.all,
        cronSpec: trigger.cronSpec,
        size: trigger.size,
        commits: trigger.commits,
      },
      provenance: before?.directProvenance ?? [],
      ...(before?.head === undefined ? {} : { head: { repo, id: name } }),
    });
  }
}

/** The repos that were made for the pipeline's clocks. */
export async function cronReposOf(scope: Scope, record: PipelineRecord): Promise<string[]> {
  const repos: string[] = [];
  for (const { repo } of record.inputBranches) {
    const found = await scope.repo(repo);
    if (found?.description?.startsWith(CRON_REPO)) repos.push(repo);
  }
  return repos;
}

/** Deletes repos that were made for clocks, save those that somebody else reads (even if stopped). */
export async function deleteCronReposIn(
  scope: Scope,
  pipeline: string,
  repos: readonly string[],
): Promise<void> {
  if (repos.length === 0) return;
  const others = (await scope.t.rangeJson<PipelineRecord>(PIPELINES))
    .filter(({ name }) => name !== pipeline)
    .flatMap(({ inputBranches }) => inputBranches.map(({ repo }) => repo));
  for (const repo of repos) {
    const branches = await scope.branchesOf(repo);
    if (others.includes(repo) || branches.some((branch) => branch.subvenance.length > 0)) continue;
    await deleteRepoIn(scope, repo, { force: false });
  }
}
