/**
 * What scheduling keeps: etcd keys of ownership and membership, and the JSON of its blobs. All of it
 * is written down in docs/formats/work.md.
 */
import type { LogLine, TaskResult } from '../../queue/messages.js';

/** `own/<pipeline>` under its owner's lease. Its create revision is the fencing token. */
export interface OwnerRecord {
  readonly replica: string;
  /** Random per process start: tells a restarted coordinator from the one it replaces. */
  readonly instance: string;
}

/** `co/<replica>` under the coordinator's lease. */
export type CoordinatorRecord = OwnerRecord;

/** `wk/<worker>` under the lease of the coordinator that holds its Join stream. */
export interface WorkerRecord {
  readonly worker: string;
  readonly replica: string;
  readonly host: string;
  readonly slots: number;
  readonly gpus: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly isolation: string;
  readonly version: string;
  readonly diskBytes?: number;
  /** Datums that may use one GPU at once; absent = 1. */
  readonly gpuShare?: number;
  /** Which limits are enforced, for people. */
  readonly limits?: string;
  /** What runs images; absent = commands run on the host. */
  readonly engine?: string;
  /** Takes no new tasks. */
  readonly draining: boolean;
}

/** `mh/<pipeline>`: manifests that later jobs may reuse datums from, newest first, at most 8. */
export interface ManifestHistory {
  readonly salt: string;
  readonly manifests: readonly { readonly ref: string; readonly job: string }[];
}

export const MANIFESTS_KEPT = 8;

export const OWNERS = 'own/';
export const COORDINATORS = 'co/';
export const WORKERS = 'wk/';
export const ownerKey = (pipeline: string): string => `${OWNERS}${pipeline}`;
export const coordinatorKey = (replica: string): string => `${COORDINATORS}${replica}`;
export const workerKey = (worker: string): string => `${WORKERS}${worker}`;
export const historyKey = (pipeline: string): string => `mh/${pipeline}`;

/** A blob of datums (WorkDatum[]) and how many they are. */
export interface SegmentRef {
  readonly ref: string;
  readonly count: number;
}

/**
 * How a job's datums were cut into tasks; `JobRecord.plan`. Every owner reads the same. A later plan
 * of the same job adds tasks at the end and cuts others smaller; nothing else.
 */
export interface JobPlan {
  readonly format: 1;
  /** JobSpec blob. */
  readonly spec: string;
  /** Manifest whose datums were carried over, with the output they make. */
  readonly base?: string;
  /** SortedMap of the datums that need no run in this job. */
  readonly carried: string;
  readonly segments: readonly SegmentRef[];
  /** `[segment, from, to]`; the position is the task's number. */
  readonly tasks: readonly (readonly [number, number, number])[];
  /**
   * The datums after these segments are not in tasks yet: the owner still writes them, while the
   * first ones run, or they are withheld. The number is the slots that the list of tasks is cut for.
   */
  readonly partial?: number;
  /**
   * Only of a partial plan that was made while earlier jobs ran (plan-beside.ts): datums which those
   * have too. Which of them run in this job is known when they have ended.
   */
  readonly withheld?: readonly SegmentRef[];
  /** Segments number their datums each in its own way: `index` is no order across them. */
  readonly renumbered?: true;
  /**
   * Tasks that were cut after workers were lost over them, with the attempt from which on results
   * are about what they are now. The rest of their datums are in tasks further down.
   */
  readonly since?: readonly (readonly [number, number])[];
  readonly total: number;
  readonly skipped: number;
  readonly input?: PlannedInput;
}

/** The only input of a pipeline without composites, and its tree: the next job looks at changes. */
export interface PlannedInput {
  readonly name: string;
  readonly glob: string;
  /** base64 of the root that was enumerated. */
  readonly root: string;
}

/** Results gathered so far or all of them; `JobRecord.results`. */
export interface ResultsIndex {
  readonly format: 1;
  /** Results since the checkpoint `previous`. */
  readonly results: readonly TaskResult[];
  readonly previous?: string;
  /** How many indexes stand before this one. */
  readonly depth: number;
  /** Last sequence read from the results stream, and the stream's creation time. */
  readonly sequence: number;
  readonly stream: string;
  /** Highest attempt number published. */
  readonly attempt: number;
  /** `[task, workers lost while they had it]`. */
  readonly strikes?: readonly (readonly [number, number])[];
  /** Lines by the owner of the job about the whole job (the v1 API calls them master lines). */
  readonly master: readonly LogLine[];
}

/** `JobRecord.manifest`: the datums of a finished job. */
export interface ManifestHeader {
  readonly format: 1;
  readonly pipeline: string;
  readonly salt: string;
  readonly job: string;
  readonly commit: string;
  /** SortedMap: datum key → datum record. */
  readonly map: string;
  readonly total: number;
  /** base64 of the output's root; absent when the job did not succeed. */
  readonly output?: string;
  /** base64 of the root of the job's stats tree; absent without stats. */
  readonly stats?: string;
  /** Datums that did not succeed and so have to run again. */
  readonly unsuccessful: number;
  readonly input?: PlannedInput;
  /** Some live output makes an empty directory: removals then need a full merge. */
  readonly hasMkdir: boolean;
  readonly meanDatumMs?: number;
}

/** The task number of lines that the owner writes. */
export const MASTER_TASK = -1;
