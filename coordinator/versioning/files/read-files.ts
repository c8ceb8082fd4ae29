/**
 * Reading the files of a commit: one path, listings, globs, walks, bytes. Everything is a stream,
 * so memory does not depend on the number or size of files.
 */
import { notFound, type AppError } from '../../../core/errors.js';
import { canonicalPath, compileGlob, isGlob } from '../../../storage/glob.js';
import type { FileContent, FileNode, TreeNode, Wait } from '../../../storage/types.js';
import { isBroken, readsBroken, unreadable } from '../../../storage/unreadable.js';
import { isOutputCommit, type CommitRecord } from '../model.js';
import type { CommitRef } from '../refs.js';
import type { FilesDeps } from './put-files.js';
import { historyOf } from './file-history.js';

export interface FileRef {
  readonly commit: CommitRef;
  readonly path: string;
}

/** A path in a commit. `path` is as shown to users: absolute, the root is `/`. */
export interface FileEntry {
  readonly commit: CommitRecord;
  readonly path: string;
  readonly node: TreeNode;
}

export interface OpenedCommit {
  readonly commit: CommitRecord;
  readonly root: Awaited<ReturnType<FilesDeps['versioning']['openTree']>>;
  /** Paths in it answer as those of a job's output do. */
  readonly output: boolean;
}

/** The commit and its tree; errors of resolving and of commits that can not be read yet. */
export async function openCommit(
  deps: FilesDeps,
  ref: CommitRef,
  wait: Wait,
): Promise<OpenedCommit> {
  const commit = await deps.versioning.resolveCommit(ref, wait);
  const root = await deps.versioning.openTree(commit, wait);
  return { commit, root, output: isOutputCommit(commit) };
}

/** One path, not a glob. The path comes back as it was asked for. */
export async function inspectFile(deps: FilesDeps, file: FileRef, wait: Wait): Promise<FileEntry> {
  const { commit, root } = await openCommit(deps, file.commit, wait);
  const node = await deps.storage.trees.lookup(root, canonicalPath(file.path), wait);
  // A commit without a tree (finished empty) has nothing at all, not even a root directory.
  if (!node || commit.kind === 'empty') throw fileNotFound(file.path, commit);
  return { commit, path: file.path, node };
}

/**
 * Entries of a directory, or for a glob: matching files themselves and the children of matching
 * directories, save children that the pattern matches too. `history`: versions per entry, newest
 * first; 0 = the commit's own, -1 = all.
 */
export async function* listFiles(
  deps: FilesDeps,
  request: { readonly file: FileRef; readonly history: number },
  wait: Wait,
): AsyncGenerator<FileEntry> {
  const opened = await openCommit(deps, request.file.commit, wait);
  for await (const entry of entriesOf(deps, opened, request.file.path, wait)) {
    if (request.history === 0) yield entry;
    else yield* historyOf(deps, entry, request.history, wait);
  }
}

async function* entriesOf(
  deps: FilesDeps,
  { commit, root, output }: OpenedCommit,
  path: string,
  wait: Wait,
): AsyncGenerator<FileEntry> {
  const { trees } = deps.storage;
  if (!isGlob(path)) {
    const canonical = canonicalPath(path);
    const node = await trees.lookup(root, canonical, wait);
    if (!node) {
      if (output || commit.kind === 'empty') return;
      throw notFound(`file "${shown(canonical)}" not found`, { fields: { path } });
    }
    if (node.type === 'file') yield { commit, path: canonical, node };
    else yield* childrenOf(deps, { commit, root, path: canonical }, wait);
    return;
  }
  const glob = compileGlob(path);
  for await (const match of trees.glob(root, glob.pattern, wait)) {
    if (match.node.type === 'file') {
      yield { commit, path: match.path, node: match.node };
      continue;
    }
    for await (const child of childrenOf(deps, { commit, root, path: match.path }, wait)) {
      if (!glob.match(child.path)) yield child;
    }
  }
}

async function* childrenOf(
  deps: FilesDeps,
  at: Pick<OpenedCommit, 'commit' | 'root'> & { readonly path: string },
  wait: Wait,
): AsyncGenerator<FileEntry> {
  for await (const { name, node } of deps.storage.trees.list(at.root, at.path, wait)) {
    yield { commit: at.commit, path: `${at.path}/${name}`, node };
  }
}

/** Files and directories that match; a path without match is an empty answer. */
export async function* globFiles(
  deps: FilesDeps,
  request: { readonly commit: CommitRef; readonly pattern: string },
  wait: Wait,
): AsyncGenerator<FileEntry> {
  const glob = compileGlob(request.pattern);
  const { commit, root } = await openCommit(deps, request.commit, wait);
  if (commit.kind === 'empty') return;
  for await (const { path, node } of deps.storage.trees.glob(root, glob.pattern, wait)) {
    yield { commit, path: shown(path), node };
  }
}

/** The node at a path and everything below it, depth first; nothing when there is none. */
export async function* walkFiles(
  deps: FilesDeps,
  file: FileRef,
  wait: Wait,
): AsyncGenerator<FileEntry> {
  const { commit, root } = await openCommit(deps, file.commit, wait);
  if (commit.kind === 'empty') return;
  for await (const entry of deps.storage.trees.walk(root, canonicalPath(file.path), wait)) {
    yield { commit, path: shown(entry.path), node: entry.node };
  }
}

export interface GetRequest {
  readonly file: FileRef;
  readonly offset: number;
  /** 0 = to the end. */
  readonly size: number;
}

/**
 * The bytes of a file, or of all matching files one after another, or a range of these. A buffer
 * is used again when the next one is asked for.
 */
export async function* getFile(
  deps: FilesDeps,
  request: GetRequest,
  wait: Wait,
): AsyncGenerator<Buffer> {
  const opened = await openCommit(deps, request.file.commit, wait);
  try {
    yield* bytesOf(deps, opened, request, wait);
  } catch (error) {
    const { path } = request.file;
    throw await naming(opened.commit, error, path, () => filesOf(deps, opened, path, wait));
  }
}

async function* bytesOf(
  deps: FilesDeps,
  opened: OpenedCommit,
  request: GetRequest,
  wait: Wait,
): AsyncGenerator<Buffer> {
  const parts = contentsOf(filesOf(deps, opened, request.file.path, wait));
  if (request.offset === 0 && request.size === 0) {
    for await (const item of deps.storage.passing.readMany(parts, wait)) {
      if (item.bytes) yield item.bytes;
      else if (item.chunks) yield* item.chunks;
    }
    return;
  }
  const end = request.size === 0 ? Infinity : request.offset + request.size;
  let at = 0;
  for await (const { content } of parts) {
    const from = Math.max(request.offset - at, 0);
    const length = Math.min(end - at, content.size) - from;
    if (length > 0) {
      yield* deps.storage.passing.read(content, { signal: wait.signal, offset: from, length });
    }
    at += content.size;
    if (at >= end) return;
  }
}

interface FoundFile {
  readonly path: string;
  readonly node: FileNode;
}

/**
 * An error of reading that says which file of which commit can not be read, where stored bytes are
 * damaged; any other comes back as it is. `files`: those that were to be read.
 */
export async function naming(
  { repo, id }: Pick<CommitRecord, 'repo' | 'id'>,
  error: unknown,
  asked: string,
  files: () => AsyncIterable<{ readonly path: string; readonly node: TreeNode }>,
): Promise<unknown> {
  if (!isBroken(error)) return error;
  const path = await firstBroken(files(), error).catch(() => undefined);
  return unreadable(error, { repo, commit: id, path: shown(path ?? asked) });
}

async function firstBroken(
  files: AsyncIterable<{ readonly path: string; readonly node: TreeNode }>,
  error: AppError,
): Promise<string | undefined> {
  for await (const { path, node } of files) if (readsBroken(node, error)) return path;
  return undefined;
}

/**
 * What of the files is sent: neighbours in a directory that has a header share one header and one
 * footer. The first of them tells whether there are any.
 */
async function* contentsOf(
  files: AsyncIterable<FoundFile>,
): AsyncGenerator<{ key: string; content: FileContent }> {
  let dir: { readonly path: string; readonly edges: FileNode['edges'] } | undefined;
  for await (const { path: key, node } of files) {
    const path = key.slice(0, key.lastIndexOf('/'));
    if (dir?.path !== path) {
      if (dir?.edges) yield { key, content: dir.edges.footer };
      dir = { path, edges: node.edges };
      if (dir.edges) yield { key, content: dir.edges.header };
    }
    yield { key, content: node.edges?.body ?? node };
  }
  if (dir?.edges) yield { key: dir.path, content: dir.edges.footer };
}

/** The files that a get names, in tree order. Throws when there is nothing to get. */
async function* filesOf(
  deps: FilesDeps,
  { commit, root, output }: OpenedCommit,
  path: string,
  wait: Wait,
): AsyncGenerator<FoundFile> {
  const { trees } = deps.storage;
  if (!isGlob(path)) {
    const canonical = canonicalPath(path);
    const node = await trees.lookup(root, canonical, wait);
    if (node?.type === 'file') yield { path: canonical, node };
    else if (output || commit.kind === 'empty') throw fileNotFound(path, commit);
    else if (!node) throw notFound(`file "${shown(canonical)}" not found`, { fields: { path } });
    return;
  }
  let matches = 0;
  for await (const match of trees.glob(root, compileGlob(path).pattern, wait)) {
    matches += 1;
    if (match.node.type === 'file') yield { path: match.path, node: match.node };
  }
  if (matches === 0) throw fileNotFound(path, commit);
}

/** How a canonical path is shown. */
export function shown(path: string): string {
  return path === '' ? '/' : path;
}

function fileNotFound(path: string, commit: CommitRecord): Error {
  return notFound(`file ${path} not found in repo ${commit.repo} at commit ${commit.id}`, {
    fields: { path, repo: commit.repo, commit: commit.id },
  });
}
