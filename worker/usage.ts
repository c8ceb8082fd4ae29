/** Looks at what the processes of a sandbox use. */
import { readFileSync, statfsSync } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { PRIVATE_DIRS } from './sandbox-args.js';

const PAGE_BYTES = 4096;
/** What the kernel calls a file system that is memory. */
const TMPFS = 0x01021994;
/** A fork bomb must not keep the watcher busy. */
const PROCESSES_MAX = 4096;

/** A process and all that descend from it. */
export function descendants(pid: number): number[] {
  const found = [pid];
  for (let at = 0; at < found.length && found.length < PROCESSES_MAX; at += 1) {
    const next = found[at] ?? 0;
    const children = read(`/proc/${next}/task/${next}/children`).trim();
    if (children !== '') found.push(...children.split(' ').map(Number));
  }
  return found;
}

/** Memory that belongs to the processes alone (without files mapped), in bytes. */
export function memoryOf(pids: readonly number[]): number {
  let pages = 0;
  for (const pid of pids) {
    const [, resident, shared] = read(`/proc/${pid}/statm`).split(' ').map(Number);
    pages += Math.max(0, (resident ?? 0) - (shared ?? 0));
  }
  return pages * PAGE_BYTES;
}

/** Bytes that files in memory take: /tmp and the like of a sandbox, by its root from outside. */
export function memoryFiles(root: string): number {
  if (root === '') return 0;
  let bytes = 0;
  for (const dir of PRIVATE_DIRS) {
    try {
      const { type, blocks, bfree, bsize } = statfsSync(root + dir);
      if (type === TMPFS) bytes += (blocks - bfree) * bsize;
    } catch {
      // Not there.
    }
  }
  return bytes;
}

/** Bytes on disk below a directory; stops counting above `enough`. */
export async function diskUsage(dir: string, enough: number): Promise<number> {
  let bytes = 0;
  const open = [dir];
  for (let next = open.pop(); next !== undefined && bytes <= enough; next = open.pop()) {
    const entries = await opendir(next).catch(() => undefined);
    if (!entries) continue;
    try {
      for await (const entry of entries) {
        const path = join(next, entry.name);
        const stat = await lstat(path).catch(() => undefined);
        if (stat) bytes += Math.min(stat.blocks * 512, Math.max(stat.size, 4096));
        if (stat?.isDirectory()) open.push(path);
      }
    } catch {
      // It went away while it was read.
    }
  }
  return bytes;
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1');
  } catch {
    return '';
  }
}
