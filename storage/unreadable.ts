/** Which file can not be read when an object of the store is missing or damaged. */
import { AppError, wrap } from '../core/errors.js';
import { keyOf, objectOf } from './refs.js';
import type { TreeNode } from './types.js';

/** A file of a commit, as people write it. */
export interface FilePlace {
  readonly repo: string;
  readonly commit: string;
  /** Absolute. */
  readonly path: string;
}

/**
 * An error of reading a file with the file's name in front and what to do at the end, where stored
 * bytes are missing or damaged; any other comes back as it is.
 */
export function unreadable(error: unknown, { repo, commit, path }: FilePlace): unknown {
  // The innermost reader knows best.
  if (!isBroken(error) || typeof error.fields['path'] === 'string') return error;
  const named = wrap(`${path} in ${repo}@${commit} can not be read`, error);
  const fields = { ...error.fields, repo, commit, path };
  const advice = '`tusk fsck --data` lists everything that is hurt';
  return new AppError(named.code, `${named.message}; ${advice}`, { cause: error, fields });
}

/** True for an error of reading that is the fault of what is stored. */
export function isBroken(error: unknown): error is AppError {
  return error instanceof AppError && error.code === 'CORRUPT_DATA';
}

/** True when the file has bytes in the object (or is made of the piece) that an error names. */
export function readsBroken(node: TreeNode, error: AppError): boolean {
  const { key, piece } = error.fields;
  if (node.type !== 'file') return false;
  return node.pieces.some(({ hash, location }) => {
    if (!location || keyOf(objectOf(location)) !== key) return false;
    return piece === undefined || hash.toString('hex') === piece;
  });
}
