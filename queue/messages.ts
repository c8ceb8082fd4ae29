/**
 * What coordinator and workers say to each other about datums. Everything here is a hint or an
 * immutable object: a message may be lost or repeated, and the same step done twice gives the same
 * content. Formats are written down in docs/formats/work.md.
 *
 * Large things travel as object references (storage/refs text); messages stay near 1 KiB.
 */

/** `transform` of a pipeline as the worker needs it; names as in the pipeline spec. */
export interface WorkTransform {
  readonly image: string;
  readonly cmd: readonly string[];
  readonly stdin: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly acceptReturnCode: readonly number[];
  readonly errCmd: readonly string[];
  readonly errStdin: readonly string[];
  readonly user: string;
  readonly workingDir: string;
  /** The process stays alive and gets one datum after the other. */
  readonly warm?: boolean;
  /** Names only; workers ask a coordinator for the values. */
  readonly secrets?: readonly WorkSecret[];
}

/** Empty texts = not given. */
export interface WorkSecret {
  readonly name: string;
  readonly mountPath: string;
  readonly envVar: string;
  readonly key: string;
}

/** What a git input is a clone of. */
export interface WorkGit {
  readonly url: string;
  readonly branch: string;
}

/** One per job, immutable, JSON in a blob object. */
export interface JobSpec {
  readonly pipeline: string;
  readonly version: number;
  readonly job: string;
  /** Bytes written for this job carry this garbage-collection epoch. */
  readonly epoch: number;
  readonly transform: WorkTransform;
  /** Every input name of the pipeline, for mounts made once per slot. */
  readonly inputNames: readonly string[];
  readonly outputRepo: string;
  readonly outputBranch: string;
  readonly outputCommit: string;
  readonly specCommit: string;
  readonly datumTries: number;
  /** Git inputs by name; their datum's file is the push that names the commit. */
  readonly git?: Readonly<Record<string, WorkGit>>;
  /** 0 = none. */
  readonly datumTimeoutMs: number;
  /** Limits of one datum; absent = none. */
  readonly memoryBytesMax?: number;
  readonly diskBytesMax?: number;
  readonly cpusMax?: number;
  readonly gpus?: number;
  /** Datums of a task that a slot may hold at once, the running one included; absent = 1. */
  readonly queueSize?: number;
  /** Outputs are put into the bucket `out`; there is no /pfs/out. Operations are `set`, not `append`. */
  readonly s3Out?: boolean;
  /** Workers also write what the stats tree shall hold about each datum. */
  readonly enableStats?: boolean;
}

export interface DatumInput {
  readonly name: string;
  readonly repo: string;
  readonly branch: string;
  readonly commit: string;
  /** Absolute path of the match; `/` for the root. */
  readonly path: string;
  readonly lazy?: boolean;
  readonly emptyFiles?: boolean;
  /** A bucket of the datum's S3 endpoint; nothing of it is below /pfs. */
  readonly s3?: boolean;
  /** base64 of storage's encodeNode(): the matched file or directory, by reference. */
  readonly node: string;
}

/** One datum to run. `index` is its place in the job's enumeration and orders merged content. */
export interface WorkDatum {
  readonly index: number;
  /** 64 hex digits, user visible. */
  readonly id: string;
  /** 68 hex digits, the skip key. */
  readonly tag: string;
  readonly inputs: readonly DatumInput[];
  /** Tells equal datums of one job apart (a union may give the same file twice); absent = 0. */
  readonly twin?: number;
}

/** A slice `[from, to)` of a segment blob (a JSON array of WorkDatum, deflated). */
export interface TaskMessage {
  readonly pipeline: string;
  readonly job: string;
  readonly version: number;
  /** Position in the job's deterministic task list. */
  readonly task: number;
  /** Raised when the owner publishes a copy of a task (straggler, lost task, restart). */
  readonly attempt: number;
  /** JobSpec blob. */
  readonly spec: string;
  /** Segment blob. */
  readonly segment: string;
  readonly from: number;
  readonly to: number;
}

export interface WorkStats {
  readonly downloadMs: number;
  readonly processMs: number;
  readonly uploadMs: number;
  readonly downloadBytes: number;
  readonly uploadBytes: number;
}

export interface DatumResult {
  readonly index: number;
  readonly id: string;
  readonly tag: string;
  readonly state: 'success' | 'failed' | 'recovered';
  readonly tries: number;
  readonly stats: WorkStats;
  /** Why it failed, with exit code and the last lines it wrote; for people. */
  readonly reason?: string;
  /** Number of output ops with this datum's index in the task's run. */
  readonly outputs: number;
  /** Line range `[from, to)` in the task's log segment. */
  readonly log?: readonly [number, number];
}

/** Details of a finished task, deflated JSON in a blob object. */
export interface TaskDetails {
  readonly datums: readonly DatumResult[];
}

/** What a worker publishes when a task is done; the first one per task wins. */
export interface TaskResult {
  readonly pipeline: string;
  readonly job: string;
  readonly task: number;
  readonly attempt: number;
  readonly worker: string;
  /** TaskDetails blob. */
  readonly details: string;
  /** Run of outputs: ops `append`, `mkdir`, `graft` with seq = datum index. Absent = no output. */
  readonly run?: string;
  /** Some output op is a mkdir (empty directory). */
  readonly hasMkdir?: boolean;
  /** Run with the datums' directories in the stats tree. Absent = no stats, or nobody wrote them. */
  readonly statsRun?: string;
  /** Log segment blob: deflated rows of LogLine (log-text.ts). */
  readonly log?: string;
  /** Segments after the first, of a long log. */
  readonly moreLogs?: readonly string[];
  readonly processed: number;
  readonly failed: number;
  readonly recovered: number;
  /** Of every datum of the task. */
  readonly stats: WorkStats;
  /** Of those that succeeded; absent = of all. */
  readonly statsOfSuccess?: WorkStats;
  readonly firstFailure?: { readonly datum: string; readonly reason: string };
  /** No datum of this pipeline can run anywhere: its image does not exist, or is refused here. */
  readonly unrunnable?: string;
}

/** What a worker has of the log of a task in its hands: one answer. */
export type LinesSoFar =
  /** Lines in order; without `next` there are no more yet. */
  | { readonly lines: readonly LogLine[]; readonly next?: number }
  /** They are in a segment that is stored already; `next` is the number of the line after it. */
  | { readonly segment: string; readonly next: number };

/** What says who hears of a line at once. */
export type LogSource = Pick<LogLine, 'pipeline' | 'job' | 'task'>;

/** One line of a datum's or worker's log. */
export interface LogLine {
  /** Milliseconds since the epoch. */
  readonly ts: number;
  readonly pipeline: string;
  readonly job: string;
  readonly task: number;
  readonly attempt: number;
  /** Line number within (task, attempt); followers drop duplicates by it. */
  readonly line: number;
  readonly worker: string;
  readonly datum: string;
  /** Written by user code (true) or by the worker about it. */
  readonly user: boolean;
  readonly message: string;
  /** `path` and base64 hash of the datum's input files. */
  readonly data?: readonly { readonly path: string; readonly hash: string }[];
}

/**
 * A service or spout as its worker needs it: JSON in a blob object. Immutable; another commit or spec
 * gives another one, and the process is started again with it.
 */
export interface LiveSpec {
  readonly kind: 'service' | 'spout';
  /** `job` is the service's job, or `spout`. */
  readonly job: JobSpec;
  /** What lies in /pfs; absent = nothing. */
  readonly datum?: WorkDatum;
  readonly ports?: LivePorts;
  readonly spout?: {
    /** Files replace those of the same path; otherwise they are appended to them. */
    readonly overwrite: boolean;
    /** Names that begin with it go to the branch `marker`; empty = none. */
    readonly marker: string;
  };
}

export interface LivePorts {
  /** Where user code listens. */
  readonly internal: number;
  /** Opened on the worker's host; 0 = any free one, absent = none (ClusterIP). */
  readonly external?: number;
}

/** The datum of a process that has no inputs. */
export const EMPTY_DATUM: WorkDatum = { index: 0, id: '', tag: '', inputs: [] };

/** Stands for the job id of a spout, which has no jobs. */
export const SPOUT_JOB = 'spout';

/** Subject and stream names. Pipeline and job names are legal NATS tokens by their own rules. */
export const STREAM_TASKS = 'TASKS';
export const STREAM_RESULTS = 'RESULTS';
export const taskSubject = (pipeline: string, job: string): string => `t.${pipeline}.${job}`;
export const resultSubject = (pipeline: string, job: string): string => `r.${pipeline}.${job}`;
export const logSubject = (pipeline: string, job: string): string => `log.${pipeline}.${job}`;
export const cancelSubject = (job: string): string => `cancel.${job}`;
export const progressSubject = (job: string): string => `progress.${job}`;
export const restartSubject = (worker: string): string => `restart.${worker}`;
export const linesSubject = (worker: string): string => `lines.${worker}`;
export const statusSubject = (worker: string): string => `status.${worker}`;
