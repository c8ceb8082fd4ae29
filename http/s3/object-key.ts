/** Keys of objects and the paths of files they stand for. */
import { canonicalPath, writablePath } from '../../storage/glob.js';
import { codeOf, messageOf } from '../../core/errors.js';
import { invalidFilePath, S3Error } from './s3-error.js';

const KEY_BYTES_MAX = 1024;

export interface KeyPath {
  /** Canonical path of the file or directory. */
  readonly path: string;
  /** The key ends in a slash: it means an empty directory. */
  readonly marker: boolean;
}

/** Throws KeyTooLongError. */
export function checkKeyLength(key: string): void {
  if (Buffer.byteLength(key) > KEY_BYTES_MAX) {
    throw new S3Error('KeyTooLongError', 400, 'Your key is too long', {
      details: { Size: String(Buffer.byteLength(key)), MaxSizeAllowed: String(KEY_BYTES_MAX) },
    });
  }
}

/** The path a key reads; undefined when no file can be behind it (`a//b`, `../a`). */
export function readPath(key: string): KeyPath | undefined {
  const marker = key.endsWith('/');
  const path = `/${marker ? key.slice(0, -1) : key}`;
  return path !== '/' && canonicalPath(path) === path ? { path, marker } : undefined;
}

/** The path a key writes. Throws InvalidFilePath. */
export function writePath(key: string): KeyPath {
  const at = readPath(key);
  if (!at) {
    throw invalidFilePath(key, 'a key must be a path without empty, "." and ".." parts');
  }
  try {
    return { ...at, path: writablePath(at.path) };
  } catch (error) {
    if (codeOf(error) !== 'INVALID_INPUT') throw error;
    throw invalidFilePath(key, messageOf(error));
  }
}

/** A key in a listing with `encoding-type=url`. */
export function encodeKey(key: string): string {
  return encodeURIComponent(key)
    .replaceAll('%2F', '/')
    .replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}
