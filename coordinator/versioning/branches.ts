/** Creating, changing and deleting branches inside a transaction. */
import { codeOf, invalidInput, stateConflict, wrap } from '../../core/errors.js';
import { branchSet, setProvenanceIn } from './branch-graph.js';
import { branchOf, newBranch } from './commits.js';
import {
  branchKey,
  branchText,
  repoKey,
  sameBranch,
  SIZE_BRANCH,
  type BranchName,
  type BranchRecord,
  type CommitRecord,
  type TriggerRecord,
} from './model.js';
import { resolveRef } from './records.js';
import { checkBranchName, checkRepoName, noHead, type CommitRef } from './refs.js';
import type { Scope } from './scope.js';
import { checkTrigger, fireTriggers } from './triggers.js';

export interface CreateBranchInput extends BranchName {
  /** Absent: the branch has no head afterwards. Its own name: the head stays. */
  readonly head?: CommitRef;
  /** Replaces direct provenance. */
  readonly provenance?: readonly BranchName[];
  /** Absent: an existing trigger stays. */
  readonly trigger?: TriggerRecord;
  /** As in BranchRecord; empty = none; absent = as it was. */
  readonly spec?: string;
}

/**
 * Creates or changes a branch; upstream branches that do not exist are created without a head.
 * Schedules propagation. Errors as in the v1 API.
 */
export async function createBranchIn(
  scope: Scope,
  input: CreateBranchInput,
): Promise<BranchRecord> {
  const name: BranchName = { repo: input.repo, name: input.name };
  checkBranchName(name.name);
  const repo = await scope.needRepo(name.repo);
  const direct = branchSet(input.provenance ?? []);
  if (direct.some((p) => sameBranch(p, name))) {
    throw invalidInput(`branch ${branchText(name)} cannot be in its own provenance`);
  }
  if (input.trigger) await checkTrigger(scope, name, input.trigger);
  const head = await findHead(scope, input);
  const ownHead = input.head?.repo === name.repo && input.head.id === name.name;
  if (head && !ownHead) await checkHeadProvenance(scope, name, head, direct);
  await ensureBranches(scope, direct);

  const before = (await scope.branch(name)) ?? newBranch(name);
  const { head: _head, spec: hadSpec, ...rest } = before;
  const spec = input.spec ?? hadSpec ?? '';
  const record: BranchRecord = {
    ...rest,
    ...(head ? { head: head.id } : {}),
    ...(input.trigger ? { trigger: input.trigger } : {}),
    ...(spec === '' ? {} : { spec }),
    ...(name.name === SIZE_BRANCH ? { size: head?.size ?? 0 } : {}),
  };
  if (input.trigger && !repo.triggers) {
    scope.t.putJson(repoKey(repo.name), { ...repo, triggers: true });
  }
  await setProvenanceIn(scope, record, direct);
  scope.touch(name, 'move');
  const hasTriggers = repo.triggers ?? input.trigger !== undefined;
  if (hasTriggers && head?.finished !== undefined) await fireTriggers(scope, head);
  return (await scope.branch(name)) ?? record;
}

/**
 * Deletes a branch; its commits stay. A missing branch is success. Without `force`, throws
 * STATE_CONFLICT when other branches are provenant on it.
 */
export async function deleteBranchIn(
  scope: Scope,
  name: BranchName,
  options: { force: boolean },
): Promise<void> {
  const record = await scope.branch(name);
  if (!record) {
    if (!options.force) await scope.needRepo(name.repo);
    return;
  }
  if (record.subvenance.length > 0 && !options.force) {
    const down = record.subvenance.map(branchText).join(' ');
    throw stateConflict(
      `branch ${name.name} has [${down}] as subvenance, deleting it would break those branches`,
      { fields: { ...name } },
    );
  }
  for (const up of record.provenance) {
    const upstream = await scope.branch(up);
    if (!upstream) continue;
    const subvenance = upstream.subvenance.filter((s) => !sameBranch(s, name));
    scope.putBranch({ ...upstream, subvenance });
  }
  scope.t.delete(branchKey(name));
  scope.touched.delete(branchKey(name));
}

async function findHead(scope: Scope, input: CreateBranchInput): Promise<CommitRecord | undefined> {
  if (!input.head?.id) return undefined;
  const ref = { repo: input.head.repo || input.repo, id: input.head.id };
  if (ref.repo !== input.repo) {
    throw invalidInput(
      `the head of branch ${branchText(input)} must be a commit of repo ${input.repo}`,
    );
  }
  try {
    const { commit } = await resolveRef(scope, ref);
    return await scope.needCommit(commit);
  } catch (error) {
    if (codeOf(error) !== 'NOT_FOUND') throw error;
    // A branch without a head is a fine thing to point at: there is no head then.
    const name = { repo: ref.repo, name: ref.id };
    if ((await scope.branch(name)) && (error as Error).message === noHead(name).message) {
      return undefined;
    }
    throw wrap(`unable to inspect ${ref.repo}@${ref.id}`, error);
  }
}

/** An old output commit may only become head while its upstream commits are heads. */
async function checkHeadProvenance(
  scope: Scope,
  name: BranchName,
  head: CommitRecord,
  direct: readonly BranchName[],
): Promise<void> {
  for (const entry of head.provenance) {
    const up = branchOf(entry);
    if (!direct.some((p) => sameBranch(p, up))) continue;
    const current = await scope.branch(up);
    if (!current || current.head === entry.id) continue;
    throw invalidInput(
      `cannot create branch "${name.name}" with commit "${head.id}" as head because commit has ` +
        `"${entry.repo}/${entry.id}" as provenance but that commit is not the head of branch ` +
        `"${up.repo}/${up.name}"`,
    );
  }
}

async function ensureBranches(scope: Scope, names: readonly BranchName[]): Promise<void> {
  for (const name of names) {
    checkRepoName(name.repo);
    checkBranchName(name.name);
    await scope.needRepo(name.repo);
    if (!(await scope.branch(name))) scope.putBranch(newBranch(name));
  }
}

/** Branches of a repo, most provenance first: the order in which they can be deleted. */
export function downstreamFirst(branches: readonly BranchRecord[]): BranchRecord[] {
  return [...branches].sort((a, b) => b.provenance.length - a.provenance.length);
}
