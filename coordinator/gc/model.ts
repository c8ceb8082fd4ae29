/** Keys of garbage collection in etcd (docs/formats/etcd.md, "Garbage collection"). */

/** Key `gc/epoch`. */
export interface EpochRecord {
  /** That new objects carry. Each collection begins by raising it. */
  readonly epoch: number;
  /** Unreferenced objects of epochs below may be gone: nothing older may become visible. */
  readonly floor?: number;
  /** What was read before this epoch may be gone. */
  readonly barrier?: number;
}

/** Key `gc/sess/<id>`, under a lease: one coordinator, and what it still needs. */
export interface SessionRecord {
  /** The oldest epoch its holds may have written to. */
  readonly epoch: number;
  /** The oldest epoch in which its holds may have read what they will refer to. */
  readonly refs: number;
  /** For people: `host:port`. */
  readonly name: string;
}

/** Key `gc/run`, under a lease: the one collection that runs. */
export interface RunRecord {
  readonly id: string;
  readonly name: string;
  /** Wall milliseconds. */
  readonly started: number;
}

export const EPOCH_KEY = 'gc/epoch';
export const RUN_KEY = 'gc/run';
export const SESSIONS = 'gc/sess/';
export const sessionKey = (id: string): string => `${SESSIONS}${id}`;
export const FIRST_EPOCH = 1;
