/** Objects of the inputs. */
import { contentTypeOf } from '../../http/content-type.js';
import { etagOf } from '../../http/s3/etag.js';
import { isEmptyDir } from '../../http/s3/key-lister.js';
import { readPath } from '../../http/s3/object-key.js';
import type { Target } from '../../http/s3/request.js';
import { noSuchKey } from '../../http/s3/s3-error.js';
import { EMPTY_CONTENT } from '../../storage/index.js';
import type { FileContent, FileNode, TreeNode } from '../../storage/types.js';
import type { FilePlace } from '../../storage/unreadable.js';
import type { S3Session } from './session.js';

/** Earlier times come from ids that tell no time. */
const EARLIEST_MS = Date.UTC(2014, 0, 1);
/** An object of an input. */
export interface InputObject {
  readonly content: FileContent | FileNode;
  readonly etag: string;
  readonly modifiedMs: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly place: FilePlace;
}

/** Throws NoSuchKey. */
export async function needInputObject(
  session: S3Session,
  bucket: string,
  key: string,
  { exchange }: Pick<Target, 'exchange'>,
): Promise<InputObject> {
  const root = session.inputs.get(bucket);
  const at = readPath(key);
  const { trees } = session.deps.storage;
  const node = root && at ? await trees.lookup(root, at.path, exchange) : undefined;
  const found =
    node && (at?.marker ? node.type === 'dir' && isEmptyDir(trees, node) : node.type === 'file');
  if (!node || !found) throw noSuchKey(key);
  const content = node.type === 'file' ? node : EMPTY_CONTENT;
  return {
    content,
    etag: etagOf(content),
    modifiedMs: modifiedOf(session, node),
    headers: {
      'content-type': node.type === 'file' ? contentTypeOf(key) : 'application/x-directory',
    },
    place: session.placeOf(bucket, key),
  };
}

/** Wall milliseconds. */
export function modifiedOf({ startMs }: S3Session, { changed }: TreeNode): number {
  return changed >= EARLIEST_MS ? Math.min(changed, startMs) : startMs;
}
