/**
 * Paths as user code sees them, looked at from outside its sandbox: /pfs and /pfs/out are the
 * slot's directories, everything else is below the sandbox's root as the kernel shows it.
 */
import { lstatSync, readlinkSync, type Stats } from 'node:fs';
import { posix } from 'node:path';
import type { SlotFiles } from './slot-files.js';

const HOPS_MAX = 40;

export interface Resolved {
  /** As user code would see it, without links. */
  readonly path: string;
  /** The same file from outside. */
  readonly host: string;
  readonly stat: Stats;
}

/** Absolute path inside → path on the host. `root` is `/proc/<pid>/root`, or empty without one. */
export function hostPath(path: string, files: SlotFiles, root: string): string {
  if (path === '/pfs/out' || path.startsWith('/pfs/out/')) return files.out + path.slice(8);
  if (path === '/pfs' || path.startsWith('/pfs/')) return files.pfs + path.slice(4);
  return root + path;
}

/** Follows every link in a path as user code would. Throws ENOENT, ELOOP … of the file system. */
export function resolveInside(path: string, files: SlotFiles, root: string): Resolved {
  let rest = posix.normalize(path).split('/').filter(Boolean);
  let done = '';
  let stat = lstatSync(hostPath('/', files, root) || '/');
  for (let hops = 0; rest.length > 0;) {
    const [name, ...after] = rest;
    if (name === '..') {
      done = posix.dirname(done || '/').replace(/\/$/, '');
      rest = after;
      continue;
    }
    const here = `${done}/${name}`;
    const host = hostPath(here, files, root);
    stat = lstatSync(host);
    if (!stat.isSymbolicLink()) {
      done = here;
      rest = after;
      continue;
    }
    hops += 1;
    if (hops > HOPS_MAX) throw new Error(`too many levels of symbolic links: ${path}`);
    const link = readlinkSync(host);
    const parts = link.split('/').filter((part) => part !== '' && part !== '.');
    if (link.startsWith('/')) done = '';
    rest = [...parts, ...after];
  }
  const host = hostPath(done || '/', files, root) || '/';
  return { path: done || '/', host, stat: lstatSync(host) };
}
