/**
 * Provenance between branches. `directProvenance` is what people ask for; `provenance` and
 * `subvenance` are its closures, stored on every branch so that reading them costs one key.
 *
 * G1 for all branches X, Y: Y is in X.provenance exactly when X is in Y.subvenance.
 * G2 X.provenance = union over each D in X.directProvenance of {D} and D.provenance.
 * A deleted upstream branch (forced) leaves names that lead nowhere; they are kept as they are.
 */
import { invalidInput } from '../../core/errors.js';
import { branchKey, sameBranch, type BranchName, type BranchRecord } from './model.js';
import type { Scope } from './scope.js';

/** Sorted by `repo/branch`, each once. */
export function branchSet(names: Iterable<BranchName>): BranchName[] {
  const byKey = new Map<string, BranchName>();
  for (const { repo, name } of names) byKey.set(`${repo}/${name}`, { repo, name });
  return [...byKey.entries()].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, name]) => name);
}

/**
 * Gives a branch new direct provenance and brings the closures of everything downstream up to date.
 * Writes every branch that changed, the given one always. The provenance branches must exist.
 * Throws INVALID_INPUT when it would close a loop.
 */
export async function setProvenanceIn(
  scope: Scope,
  branch: BranchRecord,
  direct: readonly BranchName[],
): Promise<void> {
  const changed = { ...branch, directProvenance: branchSet(direct) };
  const records = new Map<string, BranchRecord>([[branchKey(branch), changed]]);
  const load = async (name: BranchName): Promise<BranchRecord | undefined> => {
    const known = records.get(branchKey(name));
    if (known) return known;
    const record = await scope.branch(name);
    if (record) records.set(branchKey(name), record);
    return record;
  };
  for (const up of changed.directProvenance) {
    const record = await load(up);
    if (record?.provenance.some((p) => sameBranch(p, branch))) {
      throw invalidInput(
        `provenance loop, branch ${branch.repo}/${branch.name} cannot be provenance for itself`,
      );
    }
  }
  await Promise.all(branch.subvenance.map(load));
  for (const name of upstreamFirst(changed, records)) {
    const record = records.get(branchKey(name));
    if (record) await recompute(record, records, load);
  }
  for (const record of records.values()) scope.putBranch(record);
}

async function recompute(
  record: BranchRecord,
  records: Map<string, BranchRecord>,
  load: (name: BranchName) => Promise<BranchRecord | undefined>,
): Promise<void> {
  const ups = await Promise.all(record.directProvenance.map(load));
  const next = branchSet([
    ...record.directProvenance,
    ...ups.flatMap((up) => up?.provenance ?? []),
  ]);
  const before = record.provenance;
  records.set(branchKey(record), { ...record, provenance: next });
  for (const gained of without(next, before)) {
    const up = await load(gained);
    if (!up) continue;
    const subvenance = branchSet([...up.subvenance, record]);
    records.set(branchKey(up), { ...up, subvenance });
  }
  for (const lost of without(before, next)) {
    const up = await load(lost);
    if (!up) continue;
    const subvenance = up.subvenance.filter((s) => !sameBranch(s, record));
    records.set(branchKey(up), { ...up, subvenance });
  }
}

function without(a: readonly BranchName[], b: readonly BranchName[]): BranchName[] {
  const gone = new Set(b.map(branchKey));
  return a.filter((name) => !gone.has(branchKey(name)));
}

/** The branch and all below it, each after those of them that it directly depends on. */
function upstreamFirst(
  start: BranchRecord,
  records: ReadonlyMap<string, BranchRecord>,
): BranchName[] {
  const members = new Set([start, ...start.subvenance].map(branchKey));
  const done = new Set<string>();
  const order: BranchName[] = [];
  const visit = (name: BranchName): void => {
    const key = branchKey(name);
    if (done.has(key) || !members.has(key)) return;
    done.add(key);
    for (const up of records.get(key)?.directProvenance ?? []) visit(up);
    order.push(name);
  };
  for (const name of [start, ...start.subvenance]) visit(name);
  return order;
}
