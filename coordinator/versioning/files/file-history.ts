/**
 * Versions of a path through a commit's ancestors. Every node carries the ordinal of the commit
 * that last changed it, so each version is one jump, not a walk over all commits in between.
 */
import { ordinalOf } from '../../../core/ids.js';
import { canonicalPath } from '../../../storage/glob.js';
import type { TreeNode, Wait } from '../../../storage/types.js';
import type { CommitRecord } from '../model.js';
import type { FilesDeps } from './put-files.js';
import type { FileEntry } from './read-files.js';

/**
 * Up to `count` versions of an entry (-1 = all), newest first, each at the commit where it was
 * introduced. Stops at the first ancestor that lacks the path.
 */
export async function* historyOf(
  deps: FilesDeps,
  entry: FileEntry,
  count: number,
  wait: Wait,
): AsyncGenerator<FileEntry> {
  const ancestors = deps.versioning.ancestry(entry.commit, wait)[Symbol.asyncIterator]();
  let node: TreeNode | undefined = entry.node;
  let next = await ancestors.next();
  for (let found = 0; node && !next.done && (count < 0 || found < count); found += 1) {
    const version: TreeNode = node;
    // Skip commits that did not touch it; the ordinal says so without opening their trees.
    while (!next.done && ordinalOf(next.value.id) > version.changed) next = await ancestors.next();
    if (next.done) return;
    let introduced: CommitRecord = next.value;
    node = undefined;
    for (next = await ancestors.next(); !next.done; next = await ancestors.next()) {
      const before = await nodeIn(deps, next.value, entry.path, wait);
      if (!before || !before.hash.equals(version.hash) || before.type !== version.type) {
        node = before;
        break;
      }
      introduced = next.value;
    }
    yield { commit: introduced, path: entry.path, node: version };
  }
}

async function nodeIn(
  deps: FilesDeps,
  commit: CommitRecord,
  path: string,
  wait: Wait,
): Promise<TreeNode | undefined> {
  if (commit.finished === undefined) return undefined;
  const root = await deps.versioning.openTree(commit, wait);
  return deps.storage.trees.lookup(root, canonicalPath(path), wait);
}
