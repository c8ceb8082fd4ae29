/**
 * What etcd holds about services and spouts (docs/formats/etcd.md).
 *
 * P1  `live/<pipeline>` says which worker runs the process and with what; only the owner writes it,
 *     under its fence. A worker that is not named there, or with another `run`, has to end it.
 * P2  What a worker reports counts only while `live/` names it with the same `run`.
 */
import type { LivePorts } from '../../../queue/messages.js';

/** `live/<pipeline>` */
export interface LiveRecord {
  readonly pipeline: string;
  readonly kind: 'service' | 'spout';
  /** Random; another one for every placement. */
  readonly run: string;
  readonly worker: string;
  readonly host: string;
  /** LiveSpec blob. */
  readonly spec: string;
  /** Which spec that is; the blob's reference depends on when it was stored. */
  readonly specId: string;
  /** Of a service. */
  readonly job?: string;
  readonly ports?: LivePorts;
}

/** `ls/<pipeline>`: what the worker said last. */
export interface LiveState {
  readonly run: string;
  readonly worker: string;
  /** `starting`, `running`, `waiting`, `blocked`, `impossible`. */
  readonly state: string;
  readonly reason: string;
  /** Where this coordinator's side reaches the worker. */
  readonly address: string;
  readonly internalPort: number;
  readonly externalPort: number;
  readonly restarts: number;
}

/** `ll/<pipeline>`: log segments, oldest first, at most SEGMENTS_KEPT. */
export interface LiveLogRecord {
  readonly segments: readonly {
    readonly run: string;
    readonly number: number;
    readonly job: string;
    readonly log: string;
  }[];
}

/** `lc/<pipeline>`: the last write of a spout that became a commit. */
export interface LiveCommit {
  readonly run: string;
  readonly number: number;
  readonly commit: string;
}

/** About 1 MiB of text each. */
export const SEGMENTS_KEPT = 64;

export const LIVES = 'live/';
export const LIVE_STATES = 'ls/';
export const liveKey = (pipeline: string): string => `${LIVES}${pipeline}`;
export const liveStateKey = (pipeline: string): string => `${LIVE_STATES}${pipeline}`;
export const liveLogKey = (pipeline: string): string => `ll/${pipeline}`;
export const liveCommitKey = (pipeline: string): string => `lc/${pipeline}`;
/** Everything that goes with the pipeline. */
export const liveKeys = (pipeline: string): string[] => [
  liveKey(pipeline),
  liveStateKey(pipeline),
  liveLogKey(pipeline),
  liveCommitKey(pipeline),
];
