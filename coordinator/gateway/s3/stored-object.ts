/** An object as S3 shows it: a file of a commit with the headers that describe it. */
import type { FileContent, FileNode, TreeNode, Wait } from '../../../storage/types.js';
import { EMPTY_CONTENT } from '../../../storage/index.js';
import type { CommitRecord } from '../../versioning/model.js';
import { contentTypeOf } from '../../../http/content-type.js';
import type { GatewayDeps, View } from './bucket.js';
import { isEmptyDir } from '../../../http/s3/key-lister.js';
import { readPath } from '../../../http/s3/object-key.js';
import { etagOf } from '../../../http/s3/etag.js';
import { noSuchKey } from '../../../http/s3/s3-error.js';

export interface StoredObject {
  readonly key: string;
  readonly content: FileContent | FileNode;
  readonly etag: string;
  readonly modifiedMs: number;
  readonly contentType: string;
  readonly commit: CommitRecord | undefined;
}

export const DIRECTORY_TYPE = 'application/x-directory';

/** Earlier times, and times after the commit, come from ids that tell no time. */
const EARLIEST_MS = Date.UTC(2014, 0, 1);

/** When a file last changed, in wall time. */
export function modifiedOf(node: TreeNode, commit: CommitRecord | undefined): number {
  const end = commit?.finished ?? commit?.started ?? 0;
  const { changed } = node;
  return changed >= EARLIEST_MS && (changed <= end || commit?.finished === undefined)
    ? changed
    : end;
}

/** What is behind a key; undefined when nothing is. */
export async function findObject(
  deps: GatewayDeps,
  view: View,
  key: string,
  wait: Wait,
): Promise<StoredObject | undefined> {
  const at = readPath(key);
  if (!at) return undefined;
  const { trees } = deps.storage;
  const node = await trees.lookup(view.root, at.path, wait);
  if (!node) return undefined;
  if (at.marker ? node.type !== 'dir' || !isEmptyDir(trees, node) : node.type !== 'file') {
    return undefined;
  }
  const content = node.type === 'file' ? node : EMPTY_CONTENT;
  return {
    key,
    content,
    etag: etagOf(content),
    modifiedMs: modifiedOf(node, view.commit),
    contentType: node.type === 'file' ? contentTypeOf(key) : DIRECTORY_TYPE,
    commit: view.commit,
  };
}

/** As `findObject`; throws NoSuchKey. */
export async function needObject(
  deps: GatewayDeps,
  view: View,
  key: string,
  wait: Wait,
): Promise<StoredObject> {
  const object = await findObject(deps, view, key, wait);
  if (!object) throw noSuchKey(key);
  return object;
}

/**
 * The content as something of its own. A file that shows its directory's header and footer is joined
 * with them, so that the copy is what one upload of the same bytes would be.
 */
export async function contentToCopy(
  deps: GatewayDeps,
  { content }: StoredObject,
  wait: Wait,
): Promise<FileContent> {
  const { edges } = content as Partial<FileNode>;
  if (!edges) return content;
  return deps.storage.canonical([edges.header, edges.body, edges.footer], wait);
}

/** Headers that go with an object and with the answer to writing it. */
export function objectHeaders(object: StoredObject): Record<string, string> {
  return {
    'content-type': object.contentType,
    ...(object.commit ? { 'x-amz-version-id': object.commit.id } : {}),
  };
}
