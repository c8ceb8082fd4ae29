/** Checks of one branch: closures of provenance, and what its head must have upstream. */
import { branchSet, setProvenanceIn } from './branch-graph.js';
import type { Problem } from './fsck.js';
import { missingCommit } from './fsck-commit.js';
import {
  branchText,
  commitKey,
  sameBranch,
  type BranchName,
  type BranchRecord,
  type CommitRecord,
} from './model.js';
import type { Scope } from './scope.js';

export async function checkBranch(scope: Scope, key: string): Promise<Problem[]> {
  const branch = await scope.t.getJson<BranchRecord>(key);
  if (!branch) return [];
  const names = branchSet([...branch.directProvenance, ...branch.provenance, ...branch.subvenance]);
  const records = await Promise.all(names.map((name) => scope.branch(name)));
  const known = records.filter((record): record is BranchRecord => record !== undefined);
  const around = (name: BranchName): BranchRecord | undefined =>
    known.find((record) => sameBranch(record, name));
  return [
    ...branch.provenance.filter((name) => !around(name)).map(missingBranch),
    ...checkClosure(branch, around),
    ...checkDuals(branch, around),
    ...(await checkHead(scope, branch, around)),
  ];
}

type Around = (name: BranchName) => BranchRecord | undefined;

function missingBranch({ repo, name }: BranchName): Problem {
  return {
    text: `consistency error: the branch ${name} on repo ${repo} could not be found`,
  };
}

function checkClosure(branch: BranchRecord, around: Around): Problem[] {
  const { directProvenance: direct, provenance } = branch;
  const full = branchSet([...direct, ...direct.flatMap((name) => around(name)?.provenance ?? [])]);
  const same = full.map(branchText).join() === branchSet(provenance).map(branchText).join();
  if (same) return [];
  const list = (names: readonly BranchName[]): string => names.map(branchText).join(' ') || 'none';
  return [
    {
      text:
        'consistency error: branch provenance was not transitive\n' +
        `on branch ${branch.name} in repo ${branch.repo}\n` +
        `its provenance is [${list(provenance)}], but by its direct provenance it would be ` +
        `[${list(full)}]`,
      repair: async (scope) => {
        await setProvenanceIn(scope, branch, direct);
        return `computing the provenance of branch ${branchText(branch)} anew`;
      },
    },
  ];
}

function checkDuals(branch: BranchRecord, around: Around): Problem[] {
  const problems: Problem[] = [];
  for (const name of branch.provenance) {
    const up = around(name);
    if (!up || up.subvenance.some((down) => sameBranch(down, branch))) continue;
    problems.push({
      text:
        "consistency error: the branch was not in its provenance's subvenance\n" +
        `on branch ${branch.name} in repo ${branch.repo}\n` +
        `with the provenance ${branchText(up)}`,
      repair: async (scope) => {
        const now = (await scope.branch(up)) ?? up;
        scope.putBranch({ ...now, subvenance: branchSet([...now.subvenance, branch]) });
        return `adding branch ${branchText(branch)} to subvenance of ${branchText(up)}`;
      },
    });
  }
  for (const name of branch.subvenance) {
    if (around(name)?.provenance.some((up) => sameBranch(up, branch))) continue;
    problems.push({
      text:
        "consistency error: the branch was not in its subvenance's provenance\n" +
        `on branch ${branch.name} in repo ${branch.repo}\n` +
        `with the subvenance ${branchText(name)}`,
      repair: async (scope) => {
        const now = (await scope.branch(branch)) ?? branch;
        const subvenance = now.subvenance.filter((down) => !sameBranch(down, name));
        scope.putBranch({ ...now, subvenance });
        return `removing branch ${branchText(name)} from subvenance of ${branchText(branch)}`;
      },
    });
  }
  return problems;
}

/**
 * The head was made from the heads upstream. Not so for automatic commits (those of the past stay
 * head while a pipeline is stopped or reads something else), nor for placeholders.
 */
async function checkHead(scope: Scope, branch: BranchRecord, around: Around): Promise<Problem[]> {
  if (branch.head === undefined) return [];
  const name = { repo: branch.repo, id: branch.head };
  const head = await scope.t.getJson<CommitRecord>(commitKey(name));
  if (!head) {
    const where = `the head of branch ${branchText(branch)}`;
    return [missingCommit(name, { where, referrer: branchText(branch) })];
  }
  if (head.origin === 'FSCK' || (head.origin === 'AUTO' && head.provenance.length > 0)) return [];
  const problems: Problem[] = [];
  for (const upName of branch.provenance) {
    const up = around(upName);
    if (up?.head === undefined || head.provenance.some(({ id }) => id === up.head)) continue;
    problems.push({
      text:
        'consistency error: head provenance is not consistent with branch provenance\n' +
        `on branch ${branch.name} in repo ${branch.repo}\n` +
        `which has head commit ${head.id}\n` +
        `this branch is provenant on the branch ${up.name} in repo ${up.repo}\n` +
        `which has head commit ${up.head}\n` +
        'but this commit is missing from the head commit provenance',
    });
  }
  return problems;
}
