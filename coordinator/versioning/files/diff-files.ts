/** Comparing two paths, of one commit or of two. Cost follows the number of differences. */
import { canonicalPath } from '../../../storage/glob.js';
import type { FileNode, TreeNode, Wait } from '../../../storage/types.js';
import type { CommitRecord } from '../model.js';
import type { FilesDeps } from './put-files.js';
import { openCommit, type FileEntry, type FileRef } from './read-files.js';

/** Differences between two paths: files only, or with `shallow` the immediate children. */
export async function diffFiles(
  deps: FilesDeps,
  request: {
    readonly newFile: FileRef;
    readonly oldFile: FileRef | undefined;
    readonly shallow: boolean;
  },
  wait: Wait,
): Promise<{ newFiles: FileEntry[]; oldFiles: FileEntry[] }> {
  const { newFile, oldFile } = request;
  const fresh = await sideOf(deps, newFile, wait);
  const old = oldFile
    ? await sideOf(deps, oldFile, wait)
    : await parentSide(deps, fresh.commit, newFile.path, wait);
  const newFiles: FileEntry[] = [];
  const oldFiles: FileEntry[] = [];
  const differences = request.shallow
    ? shallowDiff(deps, fresh.node, old?.node, wait)
    : deepDiff(deps, fresh.node, old?.node, wait);
  const oldPath = oldFile?.path ?? newFile.path;
  for await (const { path, a, b } of differences) {
    if (a)
      newFiles.push({ commit: fresh.commit, path: newFile.path + joined(newFile, path), node: a });
    if (b && old) {
      oldFiles.push({
        commit: old.commit,
        path: oldPath + joined({ path: oldPath }, path),
        node: b,
      });
    }
  }
  return { newFiles, oldFiles };
}

interface Side {
  readonly commit: CommitRecord;
  readonly node: TreeNode | undefined;
}

async function sideOf(deps: FilesDeps, file: FileRef, wait: Wait): Promise<Side> {
  const { commit, root } = await openCommit(deps, file.commit, wait);
  const node = await deps.storage.trees.lookup(root, canonicalPath(file.path), wait);
  return { commit, node };
}

async function parentSide(
  deps: FilesDeps,
  commit: CommitRecord,
  path: string,
  wait: Wait,
): Promise<Side | undefined> {
  if (commit.parent === undefined) return undefined;
  return sideOf(deps, { commit: { repo: commit.repo, id: commit.parent }, path }, wait);
}

interface Difference {
  readonly path: string;
  readonly a?: TreeNode | undefined;
  readonly b?: TreeNode | undefined;
}

async function* deepDiff(
  deps: FilesDeps,
  a: TreeNode | undefined,
  b: TreeNode | undefined,
  wait: Wait,
): AsyncGenerator<Difference> {
  const isDir = (node: TreeNode | undefined): boolean => node?.type === 'dir';
  if (isDir(a) || isDir(b)) {
    const dirOf = (node: TreeNode | undefined) => (node?.type === 'dir' ? node : undefined);
    for await (const entry of deps.storage.trees.diff(dirOf(a), dirOf(b), wait)) {
      const file = (node: TreeNode | undefined): FileNode | undefined =>
        node?.type === 'file' ? node : undefined;
      const [inA, inB] = [file(entry.a), file(entry.b)];
      if (inA || inB) yield { path: entry.path, a: inA, b: inB };
    }
  }
  const [fileA, fileB] = [isDir(a) ? undefined : a, isDir(b) ? undefined : b];
  if ((fileA || fileB) && !(fileA && fileB && sameContent(fileA, fileB))) {
    yield { path: '', a: fileA, b: fileB };
  }
}

async function* shallowDiff(
  deps: FilesDeps,
  a: TreeNode | undefined,
  b: TreeNode | undefined,
  wait: Wait,
): AsyncGenerator<Difference> {
  if (a?.type !== 'dir' && b?.type !== 'dir') {
    yield* deepDiff(deps, a, b, wait);
    return;
  }
  const children = async function* (
    node: TreeNode | undefined,
  ): AsyncGenerator<{ name: string; node: TreeNode }> {
    if (node?.type === 'dir') yield* deps.storage.trees.list(node, '', wait);
  };
  const [left, right] = [children(a), children(b)];
  let [x, y] = [await left.next(), await right.next()];
  while (!x.done || !y.done) {
    const order = x.done ? 1 : y.done ? -1 : compareNames(x.value.name, y.value.name);
    const inA = order <= 0 && !x.done ? x.value : undefined;
    const inB = order >= 0 && !y.done ? y.value : undefined;
    if (!(inA && inB && sameContent(inA.node, inB.node))) {
      yield { path: `/${(inA ?? inB)?.name}`, a: inA?.node, b: inB?.node };
    }
    if (inA) x = await left.next();
    if (inB) y = await right.next();
  }
}

function compareNames(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

function sameContent(a: TreeNode, b: TreeNode): boolean {
  return a.type === b.type && a.size === b.size && a.hash.equals(b.hash);
}

/** Differences are shown below the path as it was asked for: `` gives `foo`, `/` gives `/foo`. */
function joined(asked: { readonly path: string }, relative: string): string {
  if (relative === '') return '';
  return asked.path === '' || asked.path.endsWith('/') ? relative.slice(1) : relative;
}
