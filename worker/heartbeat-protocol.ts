/** Messages between the worker and the thread that keeps it joined. */
import type {
  RunningDatum,
  WorkerAssignments,
  WorkerConfig,
  WorkerHello,
} from '../proto/generated/tusk.js';

export interface HeartbeatThreadData {
  readonly addresses: readonly string[];
  readonly hello: WorkerHello;
}

export type ToThread =
  /** What runs now; sent every second, so silence means that the worker is stuck. */
  | { readonly kind: 'state'; readonly running: readonly RunningDatum[] }
  | { readonly kind: 'drain' }
  | { readonly kind: 'stop' };

export type FromThread =
  | { readonly kind: 'config'; readonly config: WorkerConfig }
  | { readonly kind: 'assignments'; readonly assignments: WorkerAssignments }
  | {
      readonly kind: 'state';
      readonly joined: boolean;
      readonly address: string;
      readonly reason: string;
    };

export const STATE_MS = 1_000;
/** A worker that said nothing for so long is given up: its tasks shall go to others. */
export const STUCK_MS = 60_000;
