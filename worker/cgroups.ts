/**
 * Control groups of user code: made below the group this worker runs in, so whatever limits the
 * worker itself keeps limiting all of it. Both versions of the kernel's interface; the second needs
 * to be told to pass its controllers on (systemd: Delegate=yes).
 */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { CgroupHome, Limits } from './spawner-protocol.js';

const ROOT = '/sys/fs/cgroup';
const PERIOD_US = 100_000;

export interface CgroupSearch {
  /** Processes of this worker, which may be moved to a group beside the slots. */
  readonly own: readonly number[];
  readonly root?: string;
}

/** Where slots' groups can be made; undefined when this worker may not make any. */
export function openCgroups({ own, root = ROOT }: CgroupSearch): CgroupHome | undefined {
  const lines = read('/proc/self/cgroup').split('\n');
  const name = `tusk-${process.pid}`;
  const two = lines.find((line) => line.startsWith('0::'));
  if (two !== undefined && read(join(root, 'cgroup.controllers')).includes('memory')) {
    return openTwo(join(root, two.slice(3)), name, own);
  }
  const [memory, cpu] = ['memory', 'cpu'].map((controller) => {
    const line = lines.find((one) => one.split(':')[1]?.split(',').includes(controller));
    const path = line?.split(':').slice(2).join(':');
    return path === undefined ? undefined : makeHome(join(root, controller, path), name);
  });
  if (memory === undefined && cpu === undefined) return undefined;
  return { version: 1, ...(memory ? { memory } : {}), ...(cpu ? { cpu } : {}) };
}

/** Which limits of a pipeline hold here, and by what; for people. */
export function limitsText(home: CgroupHome | undefined): string {
  const group = `cgroup v${home?.version ?? 1}`;
  const memory = home?.memory === undefined ? 'watched' : group;
  const cpu = home?.cpu === undefined ? 'not enforced' : group;
  return `memory: ${memory}, cpu: ${cpu}, disk: watched`;
}

/** What a pipeline should be told when it has a limit that does not hold here. */
export function unheldLimits(
  home: CgroupHome | undefined,
  { cpus }: Pick<Limits, 'cpus'>,
): string | undefined {
  if (cpus === undefined || home?.cpu !== undefined) return undefined;
  return `cpu limit ${cpus} is not enforced: this worker has no control group for it`;
}

/** Removes the groups of slots; those of workers that were killed go when the next one starts. */
export function closeCgroups(home: CgroupHome | undefined): void {
  for (const dir of homes(home)) removeGroup(dir);
}

/** The groups of one sandbox. */
export class SlotCgroup {
  readonly #dirs: readonly string[];
  readonly #memory: string | undefined;

  /** Makes them and sets the limits. Throws what the file system says. */
  constructor(
    readonly home: CgroupHome,
    name: string,
    limits: Limits,
  ) {
    this.#dirs = homes(home).map((dir) => join(dir, name));
    for (const dir of this.#dirs) mkdirSync(dir, { recursive: true });
    const two = home.version === 2;
    if (home.memory !== undefined) {
      this.#memory = join(home.memory, name);
      const bytes = limits.memoryBytes;
      if (two) {
        write(this.#memory, 'memory.max', bytes === undefined ? 'max' : String(bytes));
        write(this.#memory, 'memory.oom.group', '0');
        tryTo(() =>
          write(this.#memory ?? '', 'memory.swap.max', bytes === undefined ? 'max' : '0'),
        );
      } else write(this.#memory, 'memory.limit_in_bytes', String(bytes ?? -1));
    }
    if (home.cpu !== undefined) {
      const dir = join(home.cpu, name);
      const quota = limits.cpus === undefined ? undefined : Math.ceil(limits.cpus * PERIOD_US);
      // The kernel refuses less than a millisecond.
      const us = quota === undefined ? undefined : Math.max(1_000, quota);
      if (two) write(dir, 'cpu.max', `${us ?? 'max'} ${PERIOD_US}`);
      else write(dir, 'cpu.cfs_quota_us', String(us ?? -1));
    }
  }

  /** Files to which a process writes its id to join. */
  get joins(): readonly string[] {
    return this.#dirs.map((dir) => join(dir, 'cgroup.procs'));
  }

  /** How many processes the kernel killed here for want of memory. */
  get oomKills(): number {
    if (this.#memory === undefined) return 0;
    const file = this.home.version === 2 ? 'memory.events' : 'memory.oom_control';
    return Number(/^oom_kill (\d+)$/m.exec(read(join(this.#memory, file)))?.[1] ?? 0);
  }

  /** Kills every process in the groups, also those that left their process group. */
  killAll(): void {
    for (const file of this.joins) {
      for (const pid of read(file).split('\n').filter(Boolean)) {
        tryTo(() => process.kill(Number(pid), 'SIGKILL'));
      }
    }
  }

  /** False when processes are still in it. */
  remove(): boolean {
    for (const dir of this.#dirs) removeGroup(dir);
    return this.#dirs.every((dir) => !existsSync(dir));
  }
}

function openTwo(dir: string, name: string, own: readonly number[]): CgroupHome | undefined {
  const passesOn = (at: string): boolean =>
    ['memory', 'cpu'].every((one) => read(join(at, 'cgroup.subtree_control')).includes(one));
  try {
    if (!passesOn(dir)) {
      // A group that passes controllers on may hold no processes itself.
      const inside = read(join(dir, 'cgroup.procs')).split('\n').filter(Boolean).map(Number);
      if (inside.some((pid) => !own.includes(pid))) return undefined;
      const beside = join(dir, `${name}-worker`);
      mkdirSync(beside, { recursive: true });
      for (const pid of inside) write(beside, 'cgroup.procs', String(pid));
      write(dir, 'cgroup.subtree_control', '+memory +cpu');
    }
    const home = makeHome(dir, name);
    if (home === undefined) return undefined;
    write(home, 'cgroup.subtree_control', '+memory +cpu');
    return { version: 2, memory: home, cpu: home };
  } catch {
    return undefined;
  }
}

function makeHome(parent: string, name: string): string | undefined {
  try {
    for (const old of readdirSync(parent)) {
      const pid = /^tusk-(\d+)$/.exec(old)?.[1];
      if (pid !== undefined && !isAlive(Number(pid))) removeGroup(join(parent, old));
    }
    const dir = join(parent, name);
    mkdirSync(dir, { recursive: true });
    // Making a directory may be allowed where using it is not.
    const probe = join(dir, 'probe');
    mkdirSync(probe, { recursive: true });
    rmdirSync(probe);
    return dir;
  } catch {
    return undefined;
  }
}

function homes(home: CgroupHome | undefined): string[] {
  return [...new Set([home?.memory, home?.cpu].filter((dir) => dir !== undefined))];
}

/** Removes a group and those below it; one that has processes stays. */
function removeGroup(dir: string): void {
  tryTo(() => {
    for (const entry of readdirSync(dir, { withFileTypes: true })) {
      if (entry.isDirectory()) removeGroup(join(dir, entry.name));
    }
  });
  tryTo(() => rmdirSync(dir));
}

function isAlive(pid: number): boolean {
  return read(`/proc/${pid}/stat`) !== '';
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

function write(dir: string, file: string, text: string): void {
  writeFileSync(join(dir, file), text);
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // Gone already, or still in use: whoever comes next tries again.
  }
}
