/**
 * Deleting a repo of any size in many transactions.
 *
 * D1 The first step marks the repo and takes its branches away: from then on nothing new can be
 *    made in it, and whoever asks hears that it was deleted.
 * D2 Every later step deletes a few whole commits, so that the repo shrinks and nothing half
 *    deleted is ever seen. Stopped anywhere, the next call goes on from there.
 */
import type { Log } from '../../core/log.js';
import type { Wait } from '../../storage/types.js';
import {
  childrenPrefix,
  commitsPrefix,
  openKey,
  repoKey,
  runsPrefix,
  type CommitRecord,
} from './model.js';
import { deleteBranchesIn, deleteRepoIn } from './repos.js';
import { Scope, type ScopeDeps } from './scope.js';
import { keysNaming, leadingOn } from './subvenance.js';

export interface DeleteRepoDeps extends ScopeDeps {
  readonly log: Log;
}

/** Commits deleted in one transaction. */
const BATCH = 50;

/** As deleteRepoIn, step by step. A missing repo is success. */
export async function deleteRepoPiecemeal(
  deps: DeleteRepoDeps,
  repo: string,
  options: { force: boolean },
  wait: Wait,
): Promise<void> {
  const { meta } = deps;
  const label = { ...wait, label: `repo ${repo}` };
  const there = await meta.transact(async (t) => {
    const scope = Scope.of(t, deps);
    const record = await scope.repo(repo);
    if (!record) return false;
    await deleteBranchesIn(scope, repo, options);
    if (!record.tombstone) t.putJson(repoKey(repo), { ...record, tombstone: true });
    return true;
  }, label);
  if (!there) return;

  const leadsOn = await leadingOn(meta, repo, wait);
  let deleted = 0;
  for (;;) {
    const { kvs } = await meta.range(commitsPrefix(repo), { ...wait, limit: BATCH });
    if (kvs.length === 0) break;
    const commits = kvs.map((kv) => JSON.parse(kv.value.toString()) as CommitRecord);
    const ours = await meta.transact(async (t) => {
      const scope = Scope.of(t, deps);
      const record = await scope.repo(repo);
      // Somebody else has finished the work; what is there now is not what was to be deleted.
      if (!record?.tombstone) return false;
      for (const commit of commits) removeIn(scope, commit, leadsOn);
      scope.bumpGeneration(repo);
      return true;
    }, label);
    if (!ours) return;
    deleted += commits.length;
  }
  await meta.transact(async (t) => {
    const scope = Scope.of(t, deps);
    if ((await scope.repo(repo))?.tombstone) await deleteRepoIn(scope, repo, { force: true });
  }, label);
  deps.log.info({ repo, commitCount: deleted }, 'repo deleted piece by piece');
}

function removeIn(scope: Scope, commit: CommitRecord, leadsOn: ReadonlySet<string>): void {
  scope.dropCommit(commit);
  scope.t.delete(openKey(commit));
  scope.t.deletePrefix(runsPrefix(commit));
  scope.t.deletePrefix(childrenPrefix(commit));
  for (const key of keysNaming(commit, leadsOn)) scope.t.delete(key);
}
