/**
 * Makes a directory with its parents, one after another. Node's own recursive mkdir loops for ever
 * where the kernel answers ENOENT for a parent that exists, as below /proc.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';

/** Idempotent; throws the error of the first directory that can not be made. */
export function makeDir(path: string, mode: number): void {
  const missing: string[] = [];
  for (let at = path; !existsSync(at); at = dirname(at)) missing.unshift(at);
  for (const directory of missing) mkdirSync(directory, { mode });
}
