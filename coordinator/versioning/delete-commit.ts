/**
 * Deleting a commit with everything downstream of it, closing the gaps: children get the nearest
 * surviving ancestor as parent, branches step back to it.
 */
import { stateConflict } from '../../core/errors.js';
import {
  branchKey,
  childKey,
  childrenPrefix,
  commitKey,
  openKey,
  runsPrefix,
  SIZE_BRANCH,
  SPEC_REPO,
  subvenanceKey,
  subvenancePrefix,
  type CommitName,
  type CommitRecord,
} from './model.js';
import type { Scope } from './scope.js';
import { downstreamNames } from './subvenance.js';

/**
 * Deletes the commit and its whole subvenance; returns their names. Throws STATE_CONFLICT when it
 * has upstream commits of its own (outside the spec repo).
 */
export async function deleteCommitIn(scope: Scope, target: CommitRecord): Promise<CommitName[]> {
  if (target.provenance.some((p) => p.repo !== SPEC_REPO)) {
    throw stateConflict(
      `cannot delete the commit "${target.repo}/${target.id}" because it has non-empty provenance`,
      { fields: { repo: target.repo, commit: target.id } },
    );
  }
  const doomed = await collect(scope, target);
  for (const commit of doomed.values()) removeKeys(scope, commit);
  const repos = new Set([...doomed.values()].map((commit) => commit.repo));
  for (const commit of doomed.values()) await adoptChildren(scope, commit, doomed);
  for (const repo of repos) {
    await moveBranches(scope, repo, doomed);
    scope.bumpGeneration(repo);
  }
  return [...doomed.values()].map(({ repo, id }) => ({ repo, id }));
}

/** Every doomed commit; the transaction fails when another appears downstream meanwhile. */
async function collect(scope: Scope, target: CommitRecord): Promise<Map<string, CommitRecord>> {
  const { t } = scope;
  const names = await downstreamNames((prefix) => t.keys(prefix), target);
  const records = await Promise.all([target, ...names].map((name) => scope.commitForUpdate(name)));
  const doomed = new Map<string, CommitRecord>();
  for (const record of records) if (record) doomed.set(commitKey(record), record);
  return doomed;
}

function removeKeys(scope: Scope, commit: CommitRecord): void {
  scope.dropCommit(commit);
  if (commit.finished === undefined) scope.t.delete(openKey(commit));
  scope.t.deletePrefix(runsPrefix(commit));
  scope.t.deletePrefix(subvenancePrefix(commit));
  for (const up of commit.provenance) {
    if (up.repo === commit.repo && up.id === commit.id) continue;
    scope.t.delete(subvenanceKey(up, commit));
  }
}

/** The nearest ancestor that stays, by id. */
function survivor(
  commit: CommitRecord,
  doomed: ReadonlyMap<string, CommitRecord>,
): string | undefined {
  let current: CommitRecord | undefined = commit;
  while (current?.parent !== undefined) {
    const parent = { repo: current.repo, id: current.parent };
    current = doomed.get(commitKey(parent));
    if (!current) return parent.id;
  }
  return undefined;
}

async function adoptChildren(
  scope: Scope,
  gone: CommitRecord,
  doomed: ReadonlyMap<string, CommitRecord>,
): Promise<void> {
  if (gone.parent !== undefined) scope.t.delete(childKey(gone.repo, gone.parent, gone.id));
  const parent = survivor(gone, doomed);
  for (const key of await scope.t.keys(childrenPrefix(gone))) {
    const id = key.slice(key.lastIndexOf('/') + 1);
    scope.t.delete(key);
    if (doomed.has(commitKey({ repo: gone.repo, id }))) continue;
    const child = await scope.commitForUpdate({ repo: gone.repo, id });
    if (!child) continue;
    const { parent: _parent, ...orphan } = child;
    scope.putCommit(parent === undefined ? orphan : { ...orphan, parent });
    if (parent !== undefined) scope.t.put(childKey(gone.repo, parent, id), '');
  }
}

async function moveBranches(
  scope: Scope,
  repo: string,
  doomed: ReadonlyMap<string, CommitRecord>,
): Promise<void> {
  for (const branch of await scope.branchesOf(repo)) {
    const gone =
      branch.head === undefined ? undefined : doomed.get(commitKey({ repo, id: branch.head }));
    if (!gone) continue;
    const id = survivor(gone, doomed);
    const head = id === undefined ? undefined : await scope.commit({ repo, id });
    const { head: _head, size: _size, ...rest } = branch;
    scope.putBranch({
      ...rest,
      ...(head ? { head: head.id } : {}),
      ...(branch.name === SIZE_BRANCH ? { size: head?.size ?? 0 } : {}),
    });
    if (head) scope.touch(branch, 'move');
    else scope.touched.delete(branchKey(branch));
  }
}
