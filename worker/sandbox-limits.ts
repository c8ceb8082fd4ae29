/**
 * Holds a slot's user code to its limits: control groups where there are some, else a watcher.
 *
 * Memory: the kernel kills in the group; without one, what processes use is added up twenty times a
 * second and the whole sandbox is killed.
 * Processors: the group's quota; without one they are not limited.
 * Disk: no single file may be larger (a signal stops its writer), and what lies in /pfs/out is added
 * up from time to time and once more at the end.
 */
import type { Clock } from '../core/clock.js';
import { formatBytes } from '../core/quantity.js';
import { NEVER } from '../core/signals.js';
import { SlotCgroup } from './cgroups.js';
import type { SandboxLine } from './sandbox-args.js';
import { quote } from './shell.js';
import type { RunEnd, SlotPlace } from './spawner-protocol.js';
import { descendants, diskUsage, memoryFiles, memoryOf } from './usage.js';

const MEMORY_MS = 50;
const DISK_MS = 250;
const REMOVE_MS = 20;
const REMOVE_TRIES = 100;
/** 128 + SIGXFSZ: a file grew beyond the limit. */
const EXIT_FILE_SIZE = 153;

/** A group that is being left must not be taken for the one that follows it. */
let made = 0;

export interface Watched {
  readonly pid: number | undefined;
  /** Its root directory from outside, empty when it has none of its own. */
  readonly root: string;
  readonly kill: () => void;
}

export class SandboxLimits {
  readonly #group: SlotCgroup | undefined;
  #oomKills = 0;

  constructor(
    readonly place: SlotPlace,
    readonly clock: Clock,
  ) {
    const { limits, cgroups, slot } = place;
    if (!limits || !cgroups) return;
    made += 1;
    this.#group = new SlotCgroup(cgroups, `slot-${slot}-${made}`, limits);
  }

  /** The same command line, started inside the groups. */
  wrap({ program, args }: SandboxLine): SandboxLine {
    if (!this.#group) return { program, args };
    const joins = this.#group.joins.map((file) => `echo $$ > ${quote(file)}`);
    const script = `${joins.join(' && ')} && exec "$0" "$@"`;
    return { program: '/bin/sh', args: ['-c', script, program, ...args] };
  }

  /** Runs `work` under the limits; what it used too much of replaces how it ended. */
  async hold(watched: () => Watched, work: () => Promise<RunEnd>): Promise<RunEnd> {
    const { limits } = this.place;
    if (!limits) return work();
    this.#oomKills = this.#group?.oomKills ?? 0;
    const over = new AbortController();
    let exceeded: string | undefined;
    const exceed = (text: string): void => {
      if (over.signal.aborted) return;
      exceeded ??= text;
      watched().kill();
    };
    const watching = Promise.all([
      this.#watchMemory(watched, exceed, over.signal),
      this.#watchDisk(exceed, over.signal),
    ]);
    const end = await work();
    over.abort();
    await watching;
    exceeded ??= await this.#after(end);
    return exceeded === undefined ? end : { why: 'limit', message: exceeded };
  }

  killAll(): void {
    this.#group?.killAll();
  }

  /** The processes were killed; their groups can be removed when they are gone. */
  close(): void {
    void this.#remove();
  }

  async #remove(): Promise<void> {
    for (let attempt = 0; attempt < REMOVE_TRIES && this.#group?.remove() === false; attempt += 1) {
      await this.clock.sleep(REMOVE_MS, { signal: NEVER });
    }
  }

  /** What can only be seen when the run is over. */
  async #after(end: RunEnd): Promise<string | undefined> {
    const { memoryBytes, diskBytes } = this.place.limits ?? {};
    if ((this.#group?.oomKills ?? 0) > this.#oomKills) {
      return memoryText(memoryBytes ?? 0);
    }
    if (diskBytes === undefined) return undefined;
    const used = await diskUsage(`${this.place.dir}/out`, diskBytes);
    if (used > diskBytes) return diskText(diskBytes, used);
    if (end.why === 'exit' && end.code === EXIT_FILE_SIZE) {
      return `killed: a file grew beyond disk limit ${formatBytes(diskBytes)}`;
    }
    return undefined;
  }

  async #watchMemory(
    watched: () => Watched,
    exceed: (text: string) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const { memoryBytes } = this.place.limits ?? {};
    if (memoryBytes === undefined) return;
    const grouped = this.place.cgroups?.memory !== undefined;
    while (!signal.aborted) {
      const { pid, root } = watched();
      if (grouped) {
        // The kernel killed one process of the datum; what is left of it is no use.
        if ((this.#group?.oomKills ?? 0) > this.#oomKills) exceed(memoryText(memoryBytes));
      } else {
        const used = (pid === undefined ? 0 : memoryOf(descendants(pid))) + memoryFiles(root);
        if (used > memoryBytes) exceed(memoryText(memoryBytes, used));
      }
      await this.clock.sleep(MEMORY_MS, { signal }).catch(() => undefined);
    }
  }

  async #watchDisk(exceed: (text: string) => void, signal: AbortSignal): Promise<void> {
    const { diskBytes } = this.place.limits ?? {};
    if (diskBytes === undefined) return;
    while (!signal.aborted) {
      const start = this.clock.monotonicMs();
      const used = await diskUsage(`${this.place.dir}/out`, diskBytes);
      if (used > diskBytes && !signal.aborted) exceed(diskText(diskBytes, used));
      // Many files take long to look at; at most a tenth of the time goes into it.
      const took = this.clock.monotonicMs() - start;
      await this.clock.sleep(Math.max(DISK_MS, took * 10), { signal }).catch(() => undefined);
    }
  }
}

function memoryText(limit: number, used?: number): string {
  const seen = used === undefined ? '' : ` (${formatBytes(used)})`;
  return `killed: used more than memory limit ${formatBytes(limit)}${seen}`;
}

function diskText(limit: number, used: number): string {
  return `killed: used more than disk limit ${formatBytes(limit)} (${formatBytes(used)} in /pfs/out)`;
}
