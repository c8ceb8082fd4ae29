/**
 * Finds sibling entry points (threads, helper processes) of the running program. Everything that
 * runs is a bundle in dist/; when code runs from source (tests), dist/ at the root is used.
 */
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Absolute path of `dist/<name>.mjs`. */
export function entryPath(name: string): string {
  const here = dirname(fileURLToPath(import.meta.url));
  const dist = basename(here) === 'dist' ? here : join(here, '..', 'dist');
  return join(dist, `${name}.mjs`);
}
