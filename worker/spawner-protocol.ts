/**
 * What the worker and its spawner process say to each other (IPC, JSON, arrays of these messages).
 * Only small control messages travel here: user output stays in the spawner, apart from bounded
 * batches of lines.
 */

/** How user code is kept apart, strongest first. */
export type Isolation = 'bwrap' | 'unshare' | 'plain';

/** Where a slot lives; the same for the slot's whole life. */
export interface SlotPlace {
  readonly slot: number;
  readonly isolation: Isolation;
  /** Absolute directory with `pfs/` (inputs, and the mount point `pfs/out`) and `out/`. */
  readonly dir: string;
  /** Directory of an unpacked image that is the root in place of the host's; `bwrap` only. */
  readonly rootfs?: string;
  readonly limits?: Limits;
  /** Where limits are enforced by the kernel; absent = by watching. */
  readonly cgroups?: CgroupHome;
  /** Device files that user code may open beside the usual ones. */
  readonly devices?: readonly string[];
  /** User code may stay alive between datums (docs/warm-mode.md). */
  readonly warm?: boolean;
  /** /pfs/out is a named pipe that lies in `pfs/out`, not the directory `out/`. */
  readonly pipe?: boolean;
  /** There is no /pfs/out. */
  readonly noOut?: boolean;
  /** More of the host to show inside, read-only: outside path, inside path; parents first. */
  readonly mounts?: readonly Mount[];
}

export type Mount = readonly [from: string, to: string];

/** What a datum may use; absent = as much as there is. */
export interface Limits {
  readonly memoryBytes?: number;
  readonly cpus?: number;
  readonly diskBytes?: number;
}

/** Directories in which a slot's control groups are made, per controller; absent = not there. */
export interface CgroupHome {
  readonly version: 1 | 2;
  readonly memory?: string;
  readonly cpu?: string;
}

/** One process to run. */
export interface RunCommand {
  readonly argv: readonly string[];
  /** With `own` exactly the environment of the process, apart from what a shell sets itself (PWD). */
  readonly env: Readonly<Record<string, string>>;
  /** More of it, of this run alone; it wins. */
  readonly own?: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Fed to standard input; empty = end of file at once. */
  readonly stdin: string;
  readonly user?: {
    readonly uid: number;
    readonly gid: number;
    readonly name: string;
    /** The sandbox has no `setpriv` that can change users, only `su`. */
    readonly su?: boolean;
  };
  /** 0 = none. */
  readonly timeoutMs: number;
  /**
   * The line for a process that stays alive: started with the rest of this command when it is not
   * there yet. `stdin` is not used.
   */
  readonly request?: string;
  /** Runs for ever: its output goes to `onLines` only and is kept nowhere else. */
  readonly endless?: boolean;
}

/** What one of several runs of a command has of its own. */
export interface RunOwn {
  /** Variables beside those of the command, or in their place. */
  readonly env?: Readonly<Record<string, string>>;
  readonly request?: string;
}

/** A line user code wrote: wall time in ms, text without newline. */
export type OutputLine = readonly [ts: number, message: string];

export type ToSpawner =
  | { readonly kind: 'slot'; readonly place: SlotPlace }
  | { readonly kind: 'unslot'; readonly slot: number }
  | {
      readonly kind: 'run';
      readonly run: number;
      readonly slot: number;
      /** Absent = that of the slot's run before: a long script travels once, not with each datum. */
      readonly command?: RunCommand;
      readonly own?: RunOwn;
    }
  | { readonly kind: 'kill'; readonly run: number }
  /** Makes named pipes. */
  | { readonly kind: 'pipes'; readonly id: number; readonly paths: readonly string[] }
  | { readonly kind: 'close' };

/** How a run ended. */
export type RunEnd =
  /** The process ended by itself (128 + signal when a signal ended it). */
  | { readonly why: 'exit'; readonly code: number }
  | { readonly why: 'timeout' }
  /** It used more than it may; the message says of what, with numbers. */
  | { readonly why: 'limit'; readonly message: string }
  /** A process that stays alive said that the datum failed, or ended without an answer. */
  | { readonly why: 'failed'; readonly message: string }
  | { readonly why: 'killed' }
  /** No process could be started, or the sandbox around it broke; says what to do. */
  | { readonly why: 'broken'; readonly message: string };

export type FromSpawner =
  | { readonly kind: 'ready' }
  /** `error` is empty when the named pipes are there. */
  | { readonly kind: 'pipes'; readonly id: number; readonly error: string }
  /** Lines of a run that is still going on, numbered from `from`, for followers; may leave some out. */
  | {
      readonly kind: 'lines';
      readonly run: number;
      readonly from: number;
      readonly lines: readonly OutputLine[];
    }
  | {
      readonly kind: 'done';
      readonly run: number;
      readonly end: RunEnd;
      /** Time from start to end of the process. */
      readonly ms: number;
      /** All lines of the run, unless they are in `file`. */
      readonly lines: readonly OutputLine[];
      /** JSON lines of OutputLine; the reader removes it. */
      readonly file?: string;
      /** The sandbox's root from outside, to follow links of outputs; empty without one. */
      readonly root: string;
      /** The newest few lines, cut to a length fit for a reason. */
      readonly last: readonly string[];
      /** Number of lines, in `lines` or in `file`. */
      readonly count: number;
    };

/** Lines kept in memory (and sent in `done`) before a run's output goes to a file. */
export const MEMORY_LINE_BYTES = 64 * 1024;
/** Longer lines are cut into several. */
export const LINE_BYTES_MAX = 64 * 1024;
/** Output of one run that is kept from its beginning; of what follows the end is kept. */
export const RUN_OUTPUT_BYTES_MAX = 64 * 1024 * 1024;
export const RUN_TAIL_BYTES_MAX = 1024 * 1024;
