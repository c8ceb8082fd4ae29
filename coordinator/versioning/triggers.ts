/**
 * Triggers: a branch whose head follows a source branch of the same repo, but only when enough has
 * changed since it last moved.
 */
import { parseCron } from '../../core/cron.js';
import { invalidInput, wrap } from '../../core/errors.js';
import {
  SIZE_BRANCH,
  type BranchName,
  type BranchRecord,
  type CommitRecord,
  type TriggerRecord,
} from './model.js';
import type { Scope } from './scope.js';

/** Throws INVALID_INPUT for a trigger that can not work. */
export async function checkTrigger(
  scope: Scope,
  name: BranchName,
  trigger: TriggerRecord,
): Promise<void> {
  if (!trigger.branch) throw invalidInput('triggers must specify a branch to trigger on');
  if (trigger.cronSpec) checkCron(trigger.cronSpec);
  if (trigger.size) parseSize(trigger.size);
  if ((trigger.commits ?? 0) < 0) {
    throw invalidInput("can't trigger on a negative number of commits");
  }
  const branches = new Map((await scope.branchesOf(name.repo)).map((b) => [b.name, b]));
  const seen = new Set([name.name]);
  for (let source: string | undefined = trigger.branch; source !== undefined;) {
    if (seen.has(source)) throw invalidInput('triggers cannot form a loop');
    seen.add(source);
    source = branches.get(source)?.trigger?.branch;
  }
}

/**
 * Moves every branch whose trigger fires for a commit that is now finished, sources before the
 * branches that follow them, and schedules the moved ones for propagation.
 */
export async function fireTriggers(scope: Scope, commit: CommitRecord): Promise<void> {
  const branches = await scope.branchesOf(commit.repo);
  const sources = new Set(branches.filter((b) => b.head === commit.id).map((b) => b.name));
  if (commit.branch !== undefined) sources.add(commit.branch);
  for (const branch of sourcesFirst(branches)) {
    const { trigger } = branch;
    if (!trigger || !sources.has(trigger.branch) || branch.head === commit.id) continue;
    if (!(await fires(scope, branch, trigger, commit))) continue;
    scope.putBranch({
      ...branch,
      head: commit.id,
      ...(branch.name === SIZE_BRANCH ? { size: commit.size ?? 0 } : {}),
    });
    scope.touch(branch, 'move');
    sources.add(branch.name);
  }
}

/** Bytes of a size such as `100`, `1K`, `20MB`: decimal units; an `i` is accepted and ignored. */
export function parseSize(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmgtpe]?)i?b?$/i.exec(text.trim());
  if (!match) throw invalidInput(`invalid trigger size: ${text}`);
  const unit = 'kmgtpe'.indexOf((match[2] ?? '').toLowerCase());
  return Math.round(Number(match[1]) * (match[2] ? 1000 ** (unit + 1) : 1));
}

function checkCron(spec: string): void {
  try {
    parseCron(spec);
  } catch (error) {
    throw wrap('invalid trigger cron spec', error);
  }
}

/** A time of the schedule has passed since the branch last moved; the first move is always due. */
function isDue(spec: string, old: CommitRecord | undefined, commit: CommitRecord): boolean {
  if (old?.finished === undefined) return true;
  const next = parseCron(spec).next(old.finished);
  return next !== undefined && next < (commit.finished ?? 0);
}

async function fires(
  scope: Scope,
  branch: BranchRecord,
  trigger: TriggerRecord,
  commit: CommitRecord,
): Promise<boolean> {
  const results: boolean[] = [];
  const old =
    branch.head === undefined
      ? undefined
      : await scope.commit({ repo: branch.repo, id: branch.head });
  if (trigger.cronSpec) results.push(isDue(trigger.cronSpec, old, commit));
  if (trigger.size) {
    results.push((commit.size ?? 0) - (old?.size ?? 0) >= parseSize(trigger.size));
  }
  if (trigger.commits) {
    let count = 0;
    for await (const each of scope.ancestry(commit)) {
      if (each.id === branch.head) break;
      count += 1;
      if (count >= trigger.commits) break;
    }
    results.push(count >= trigger.commits);
  }
  return trigger.all ? results.every(Boolean) : results.some(Boolean);
}

/** Branches with triggers, each after the branch it follows. */
function sourcesFirst(branches: readonly BranchRecord[]): BranchRecord[] {
  const byName = new Map(branches.map((b) => [b.name, b]));
  const order = new Set<BranchRecord>();
  const visit = (branch: BranchRecord, depth: number): void => {
    const source = branch.trigger && byName.get(branch.trigger.branch);
    if (source && depth < branches.length) visit(source, depth + 1);
    order.add(branch);
  };
  for (const branch of branches) visit(branch, 0);
  return [...order].filter((branch) => branch.trigger !== undefined);
}
