/**
 * Propagation: at the end of a transaction, every branch downstream of a touched one gets an open
 * commit for the new combination of upstream heads, if there is one.
 *
 * P1 All reads happen in three rounds (branches, their upstream branches, provenance of heads), so
 *    the time does not grow with the depth of the graph.
 * P2 Everything a decision rests on is compared: upstream branches by their records; provenance of
 *    commits never changes.
 */
import { branchOf, sortProvenance } from './commits.js';
import {
  branchKey,
  SPEC_REPO,
  type BranchName,
  type BranchRecord,
  type CommitRecord,
  type ProvenanceEntry,
} from './model.js';
import type { Scope } from './scope.js';

/** Runs propagation over all branches touched so far; returns the commits it made. */
export async function propagateIn(scope: Scope): Promise<CommitRecord[]> {
  const touched = [...scope.touched.values()];
  if (touched.length === 0) return [];
  const onlyNewCommit = scope.lastTouchWasCommit && touched.length === 1;
  scope.touched.clear();
  scope.lastTouchWasCommit = false;

  const branches = await loadDownstream(scope, touched);
  const upstream = await loadUpstream(scope, branches);
  await warmProvenance(scope, [...branches, ...upstream.values()]);
  const made: CommitRecord[] = [];
  for (const branch of branches) {
    const isCallers = onlyNewCommit && branchKey(branch) === branchKey(touched[0] as BranchName);
    const commit = isCallers ? undefined : await propagateBranch(scope, branch, upstream);
    if (commit) made.push(commit);
  }
  return made;
}

/** Touched branches and everything below, upstream first. */
async function loadDownstream(scope: Scope, touched: BranchName[]): Promise<BranchRecord[]> {
  const found = new Map<string, BranchRecord>();
  const starts = await Promise.all(touched.map((name) => scope.branch(name)));
  for (const record of starts) if (record) found.set(branchKey(record), record);
  const below = new Map<string, BranchName>();
  for (const record of found.values()) {
    for (const name of record.subvenance) below.set(branchKey(name), name);
  }
  const missing = [...below.values()].filter((name) => !found.has(branchKey(name)));
  const rest = await Promise.all(missing.map((name) => scope.branch(name)));
  for (const record of rest) if (record) found.set(branchKey(record), record);
  return [...found.values()].sort((a, b) => a.provenance.length - b.provenance.length);
}

async function loadUpstream(
  scope: Scope,
  branches: readonly BranchRecord[],
): Promise<Map<string, BranchRecord>> {
  const names = new Map<string, BranchName>();
  for (const branch of branches) {
    for (const name of branch.provenance) names.set(branchKey(name), name);
  }
  const records = await Promise.all([...names.values()].map((name) => scope.branch(name)));
  const found = new Map<string, BranchRecord>();
  for (const record of records) if (record) found.set(branchKey(record), record);
  return found;
}

async function warmProvenance(scope: Scope, branches: readonly BranchRecord[]): Promise<void> {
  await Promise.all(
    branches
      .filter((branch) => branch.head !== undefined)
      .map((branch) => scope.provenanceOf({ repo: branch.repo, id: branch.head as string })),
  );
}

async function propagateBranch(
  scope: Scope,
  stale: BranchRecord,
  upstream: ReadonlyMap<string, BranchRecord>,
): Promise<CommitRecord | undefined> {
  const wanted = new Map<string, ProvenanceEntry>();
  for (const name of stale.provenance) {
    // Read again: an earlier branch of this run may have moved it.
    const up = upstream.has(branchKey(name)) ? await scope.branch(name) : undefined;
    if (up?.head === undefined) continue;
    const entry = { repo: up.repo, id: up.head, branch: up.name };
    for (const each of [entry, ...(await scope.provenanceOf(entry))]) {
      wanted.set(entryKey(each), each);
    }
  }
  if (wanted.size === 0) return undefined;
  if ([...wanted.values()].every((entry) => entry.repo === SPEC_REPO)) return undefined;
  const branch = (await scope.branch(stale)) ?? stale;
  if (branch.head !== undefined) {
    const has = new Set(
      (await scope.provenanceOf({ repo: branch.repo, id: branch.head })).map(entryKey),
    );
    if ([...wanted.keys()].every((key) => has.has(key))) return undefined;
  }
  const record: CommitRecord = {
    repo: branch.repo,
    id: scope.propagatedId(branch),
    branch: branch.name,
    ...(branch.head === undefined ? {} : { parent: branch.head }),
    origin: 'AUTO',
    started: scope.deps.clock.wallMs(),
    provenance: sortProvenance([...wanted.values()]),
  };
  await scope.addCommit(record);
  scope.putBranch({ ...branch, head: record.id });
  return record;
}

function entryKey(entry: ProvenanceEntry): string {
  return `${branchKey(branchOf(entry))}/${entry.id}`;
}
