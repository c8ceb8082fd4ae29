/**
 * What a datum puts into the bucket `out`. Bytes go to the object store as they come; which objects
 * there are is known here alone until the datum has succeeded.
 */
import type { FileContent, RunOp } from '../../storage/types.js';
import { writePath } from '../../http/s3/object-key.js';
import { invalidFilePath, S3Error } from '../../http/s3/s3-error.js';

export const OUT = 'out';

export class OutBucket {
  /** By path; undefined: an empty directory. */
  readonly #objects = new Map<string, FileContent | undefined>();
  /** Number of objects below a directory. */
  readonly #dirs = new Map<string, number>();

  /** Throws when the key can not be one beside the others: a file can not be a directory too. */
  check(key: string): void {
    const { path, marker } = writePath(key);
    if (!marker && this.#dirs.has(path)) {
      throw invalidFilePath(key, 'there are files below this path');
    }
    for (const dir of parents(path)) {
      if (this.#objects.get(dir) === undefined) continue;
      throw new S3Error('InvalidFileParent', 400, `There is a file at ${dir.slice(1)}`, {
        details: { Key: key },
      });
    }
    if (marker && this.#objects.get(path) !== undefined) {
      throw new S3Error('InvalidFileParent', 400, 'There is a file at this path', {
        details: { Key: key },
      });
    }
  }

  /** Throws what `check` does, and when bytes are put where a directory is meant. */
  put(key: string, content: FileContent): void {
    this.check(key);
    const { path, marker } = writePath(key);
    if (marker && content.size > 0) {
      throw invalidFilePath(
        key,
        'a key that ends in a slash is a directory and can not hold bytes',
      );
    }
    if (!this.#objects.has(path)) this.#count(path, 1);
    this.#objects.set(path, marker ? undefined : content);
  }

  /** What is not there is deleted already. */
  delete(key: string): void {
    const path = `/${key.replace(/\/$/, '')}`;
    if (!this.#objects.has(path)) return;
    if ((this.#objects.get(path) === undefined) !== key.endsWith('/')) return;
    this.#objects.delete(path);
    this.#count(path, -1);
  }

  /** The changes that make the objects. */
  ops(seq: number): { ops: RunOp[]; hasMkdir: boolean; bytes: number } {
    let hasMkdir = false;
    let bytes = 0;
    const ops = [...this.#objects].map(([path, content]): RunOp => {
      bytes += content?.size ?? 0;
      hasMkdir ||= content === undefined;
      return content ? { op: 'set', path, seq, content } : { op: 'mkdir', path, seq };
    });
    return { ops, hasMkdir, bytes };
  }

  #count(path: string, by: 1 | -1): void {
    for (const dir of parents(path)) {
      const count = (this.#dirs.get(dir) ?? 0) + by;
      if (count > 0) this.#dirs.set(dir, count);
      else this.#dirs.delete(dir);
    }
  }
}

function* parents(path: string): Generator<string> {
  for (let at = path.lastIndexOf('/'); at > 0; at = path.lastIndexOf('/', at - 1)) {
    yield path.slice(0, at);
  }
}
