/**
 * Makes a directory with its parents, one after another. Node's own recursive mkdir loops for ever
 * where the kernel answers ENOENT for a parent that exists, as below /proc: for directories that a
 * person names.
 */
import { existsSync, mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

/** Idempotent; throws the error of the first directory that can not be made. */
export function makeDir(path: string, mode = 0o777): void {
  const missing: string[] = [];
  for (let at = path; !existsSync(at); at = dirname(at)) {
    missing.unshift(at);
    // The end, also of a working directory that is gone.
    if (dirname(at) === at) break;
  }
  if (missing.length === 0) missing.push(path);
  for (const directory of missing) {
    try {
      mkdirSync(directory, { mode });
    } catch (error) {
      // Another process may make the same one.
      if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) throw error;
    }
  }
}
