/**
 * `D/stack.json`: what runs where, for `tusk down`, `tusk status` and for clients that look for a
 * local server. Written whole or not at all; removed when the stack stops in order.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';

export interface PartRecord {
  readonly name: string;
  readonly pid: number;
  /** When the kernel started the process, so that a reused pid is not taken for it. */
  readonly birth: string;
  readonly port: number | undefined;
  readonly log: string;
}

export interface StackRecord {
  readonly version: 1;
  readonly state: 'starting' | 'ready';
  readonly pid: number;
  readonly birth: string;
  readonly dataDir: string;
  /** host:port of the gRPC server, once it answers. */
  readonly address: string | undefined;
  readonly store: string;
  readonly ports: Readonly<Record<string, number>>;
  readonly parts: readonly PartRecord[];
  readonly startedMs: number;
}

/** The absolute data directory a flag names. */
export function dataDirOf(flag: string, home: string | undefined): string {
  return resolve(flag.replace(/^~(?=\/|$)/, home ?? homedir()));
}

export function stackFile(dataDir: string): string {
  return join(dataDir, 'stack.json');
}

export function readStack(dataDir: string): StackRecord | undefined {
  try {
    return JSON.parse(readFileSync(stackFile(dataDir), 'utf8')) as StackRecord;
  } catch {
    return undefined;
  }
}

export function writeStack(record: StackRecord): void {
  const file = stackFile(record.dataDir);
  writeFileSync(`${file}.tmp`, `${JSON.stringify(record, null, 2)}\n`);
  renameSync(`${file}.tmp`, file);
}

export function removeStack(dataDir: string): void {
  rmSync(stackFile(dataDir), { force: true });
}

/** Identifies a process beyond its pid; empty where the system does not tell. */
export function birthOf(pid: number): string {
  return statFields(pid)[19] ?? '';
}

/** Fields of /proc/PID/stat after the program's name, from the state on. */
function statFields(pid: number): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}

/** True while exactly this process runs (a zombie does not run). */
export function isAlive(other: { readonly pid: number; readonly birth: string }): boolean {
  try {
    process.kill(other.pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  const [state, ...rest] = statFields(other.pid);
  if (state === undefined) return process.platform !== 'linux';
  if (other.birth !== '' && rest[18] !== other.birth) return false;
  return state !== 'Z';
}
