/** Steps that several pipeline changes are composed of, each inside a larger transaction. */
import type { Clock } from '../../core/clock.js';
import { notFound, stateConflict } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { Storage } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import { createBranchIn } from '../versioning/branches.js';
import { finishCommitIn, startCommitIn } from '../versioning/commits.js';
import { deleteCommitIn } from '../versioning/delete-commit.js';
import {
  openKey,
  openPrefix,
  SPEC_REPO,
  type BranchName,
  type CommitName,
  type OpenRecord,
} from '../versioning/model.js';
import { createRepoIn } from '../versioning/repos.js';
import type { Scope } from '../versioning/scope.js';
import { repoNotFound, type Versioning } from '../versioning/index.js';
import { inputBranches, visit } from './inputs.js';
import {
  isTerminal,
  jobByCommitKey,
  jobKey,
  pipelineKey,
  setJobStateIn,
  type JobPointer,
  type JobRecord,
  type PipelineRecord,
} from './model.js';
import type { SpecStore } from './spec-store.js';
import { openStatsCommitIn } from './stats-commit.js';

/** What the use cases of this folder stand on. */
export interface PipelineDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly versioning: Versioning;
  readonly specs: SpecStore;
  readonly clock: Clock;
  readonly log: Log;
}

export const SPEC_REPO_DESCRIPTION = 'PPS pipeline specs repo.';

/** Writes a spec as the new head of `__spec__@<pipeline>`; answers the commit's id. */
export async function commitSpecIn(
  deps: PipelineDeps,
  scope: Scope,
  info: PipelineInfo,
  wait: Wait,
): Promise<string> {
  const root = await deps.specs.write(info, wait);
  if (!(await scope.repo(SPEC_REPO))) {
    await createRepoIn(scope, { name: SPEC_REPO, description: SPEC_REPO_DESCRIPTION });
  }
  const branch = info.pipeline?.name ?? '';
  await needClosedSpecIn(scope, branch);
  const commit = await startCommitIn(scope, { repo: SPEC_REPO, branch }, { kind: 'input', root });
  return commit.id;
}

/** Throws STATE_CONFLICT when somebody has begun a commit by hand where the next spec has to go. */
async function needClosedSpecIn(scope: Scope, name: string): Promise<void> {
  const head = (await scope.branch({ repo: SPEC_REPO, name }))?.head;
  if (head === undefined || !(await scope.t.getJson(openKey({ repo: SPEC_REPO, id: head }))))
    return;
  throw stateConflict(
    `the HEAD commit of this pipeline's spec branch is open: ` +
      `finish or delete ${SPEC_REPO}@${head} first`,
    { fields: { pipeline: name, commit: head } },
  );
}

/** Direct provenance of a running pipeline's output branch. */
export function outputProvenance(info: PipelineInfo): BranchName[] {
  const name = info.pipeline?.name ?? '';
  // A spout's branch is like that of an input repo.
  if (info.spout) return [];
  const inputs = inputBranches(info.input).map(({ repo, branch }) => ({ repo, name: branch }));
  return [...inputs, { repo: SPEC_REPO, name }];
}

/** What commits on the output branch of a spout record. */
export function specOf(info: PipelineInfo): { spec?: string } {
  return info.spout ? { spec: info.pipeline?.name ?? '' } : {};
}

/** A spout with a marker has a branch for it. */
export async function ensureMarkerIn(scope: Scope, info: PipelineInfo): Promise<void> {
  if (!info.spout?.marker) return;
  const branch = { repo: info.pipeline?.name ?? '', name: 'marker' };
  if (!(await scope.branch(branch))) await createBranchIn(scope, branch);
}

/** Sets the provenance of a branch; `head` keeps or clears its head. Makes the branch if needed. */
export async function setOutputBranchIn(
  scope: Scope,
  branch: BranchName,
  change: {
    provenance: readonly BranchName[];
    head: 'keep' | 'clear';
    /** Commits on it record the head of this spec branch. */
    spec?: string;
  },
): Promise<void> {
  const keep = change.head === 'keep' && (await scope.branch(branch)) !== undefined;
  await createBranchIn(scope, {
    ...branch,
    provenance: change.provenance,
    spec: change.spec ?? '',
    ...(keep ? { head: { repo: branch.repo, id: branch.name } } : {}),
  });
}

/** Throws NOT_FOUND when a repo that is read does not exist. */
export async function needInputReposIn(scope: Scope, info: PipelineInfo): Promise<void> {
  for (const node of visit(info.input)) {
    if (!node.pfs) continue;
    const { name, repo } = node.pfs;
    if (await scope.repo(repo)) await scope.needRepo(repo);
    else {
      throw notFound(
        `${repoNotFound(repo).message} (repo of input "${name}": it must exist; ` +
          `make it first with 'create repo ${repo}')`,
      );
    }
  }
}

/**
 * Finishes every open commit that the pipeline was to fill as empty, and kills their jobs. What a
 * spout has begun is a part of something: it goes.
 */
export async function closeOutputsIn(
  scope: Scope,
  pipeline: string,
  options: { reason: string },
): Promise<void> {
  const record = await scope.t.getJson<PipelineRecord>(pipelineKey(pipeline));
  for (const open of await scope.t.rangeJson<OpenRecord>(openPrefix(pipeline))) {
    if (record?.live === 'spout') {
      const commit = await scope.commitForUpdate(open);
      if (commit) await deleteCommitIn(scope, commit);
      continue;
    }
    const made = open.provenance.some((p) => p.repo === SPEC_REPO && p.branch === pipeline);
    // Its stats commit was closed with the output commit.
    if (made && (await scope.t.getJson(openKey(open)))) await closeOutputIn(scope, open, options);
  }
}

/** Finishes one open output commit (and its stats commit) as empty and kills its job, if it has one. */
export async function closeOutputIn(
  scope: Scope,
  commit: CommitName,
  options: { reason: string },
): Promise<void> {
  await finishCommitIn(scope, commit, { kind: 'empty' });
  const stats = await openStatsCommitIn(scope.t, commit);
  if (stats) await finishCommitIn(scope, stats, { kind: 'empty' });
  const pointer = await scope.t.getJson<JobPointer>(jobByCommitKey(commit.repo, commit.id));
  if (!pointer) return;
  const job = await scope.t.getJson<JobRecord>(jobKey(pointer.pipeline, pointer.job));
  if (!job || isTerminal(job.state)) return;
  await setJobStateIn(scope.t, pointer, {
    state: 'KILLED',
    reason: options.reason,
    nowMs: scope.deps.clock.wallMs(),
  });
}
