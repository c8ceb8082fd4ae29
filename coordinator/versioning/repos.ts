/** Creating and deleting repos inside a transaction. */
import { alreadyExists, codeOf, wrap } from '../../core/errors.js';
import { deleteBranchIn, downstreamFirst } from './branches.js';
import {
  branchesPrefix,
  childrenOfRepo,
  commitsPrefix,
  openPrefix,
  repoKey,
  REPOS,
  runsOfRepo,
  SPEC_REPO,
  SUBVENANCE,
  type RepoRecord,
} from './model.js';
import { checkRepoName } from './refs.js';
import { checkNoRestore } from './restore-mark.js';
import type { Scope } from './scope.js';

export interface CreateRepoInput {
  readonly name: string;
  readonly description?: string;
  /** Change the description of an existing repo instead of failing. */
  readonly update?: boolean;
}

/** Creates a repo. Throws ALREADY_EXISTS unless `update`. */
export async function createRepoIn(scope: Scope, input: CreateRepoInput): Promise<RepoRecord> {
  checkRepoName(input.name);
  const before = await scope.repo(input.name);
  if (before && !input.update) throw repoExists(input.name);
  // The repo of specs is there in every cluster; each start makes sure of it.
  if (!before && input.name !== SPEC_REPO) await checkNoRestore(scope.t);
  const record: RepoRecord = {
    ...(before ?? { name: input.name, created: scope.deps.clock.wallMs() }),
    description: input.description ?? '',
  };
  scope.t.putJson(repoKey(record.name), record);
  return record;
}

export function repoExists(name: string): Error {
  return alreadyExists(`repo ${name} already exists`, { fields: { repo: name } });
}

/**
 * Deletes a repo with its branches and commits. A missing repo is success. Without `force`, throws
 * STATE_CONFLICT when a branch of another repo is provenant on one of its branches.
 *
 * Commits go by key range, so one that is made concurrently goes too. Reverse-provenance keys are
 * left to `sweepKeys`: readers skip names of commits that are gone.
 */
export async function deleteRepoIn(
  scope: Scope,
  name: string,
  options: { force: boolean },
): Promise<void> {
  if (!(await scope.repo(name))) return;
  await deleteBranchesIn(scope, name, options);
  scope.t.delete(repoKey(name));
  scope.t.deletePrefix(branchesPrefix(name));
  scope.t.deletePrefix(commitsPrefix(name));
  scope.t.deletePrefix(openPrefix(name));
  scope.t.deletePrefix(runsOfRepo(name));
  scope.t.deletePrefix(childrenOfRepo(name));
  scope.dropRepo(name);
}

/** Deletes all branches of a repo, downstream ones first; throws as deleteBranchIn does. */
export async function deleteBranchesIn(
  scope: Scope,
  repo: string,
  options: { force: boolean },
): Promise<void> {
  for (const branch of downstreamFirst(await scope.branchesOf(repo))) {
    try {
      await deleteBranchIn(scope, branch, options);
    } catch (error) {
      if (codeOf(error) !== 'STATE_CONFLICT') throw error;
      throw wrap(`error deleting branch ${repo}/${branch.name}`, error);
    }
  }
}

/** Deletes every repo except the spec repo, as with force. */
export async function deleteAllReposIn(scope: Scope): Promise<void> {
  for (const { name } of await scope.t.rangeJson<RepoRecord>(REPOS)) {
    if (name !== SPEC_REPO) await deleteRepoIn(scope, name, { force: true });
  }
  // Specs are made from nothing, so no link between commits is left to keep.
  scope.t.deletePrefix(SUBVENANCE);
}

/** Makes the repo of specs when it is missing. */
export async function ensureSpecRepoIn(scope: Scope): Promise<void> {
  if (!(await scope.repo(SPEC_REPO))) await createRepoIn(scope, { name: SPEC_REPO });
}
