/** What the worker needs of the queue and of trees; the real ones satisfy these. */
import type { LogRow, TaskProgress } from '../queue/index.js';
import type { LogSource, TaskMessage, TaskResult } from '../queue/messages.js';
import type { TreeReader } from '../storage/tree-types.js';
import type { Wait } from '../storage/types.js';

export interface TaskDelivery {
  readonly task: TaskMessage;
  /** How often the task was delivered before this time. */
  readonly redeliveries: number;
  /** The task is done (or needs not be done); it will not come again. */
  ack(): Promise<void>;
  /** Somebody else (or this worker, later) shall try. */
  nak(delayMs: number): void;
  /** The task is still being worked on. */
  working(): void;
}

export interface WorkQueue {
  pull(
    pipeline: string,
    options: Wait & { readonly max: number; readonly expiresMs: number },
  ): AsyncIterable<TaskDelivery>;
  publishResult(result: TaskResult, wait: Wait): Promise<void>;
  /** A line as text: what it shares with its neighbours (queue/log-text), and its own part. */
  publishLogRow(source: LogSource, row: LogRow, shared: LogRow): void;
  publishProgress(job: string, progress: TaskProgress): void;
}

export type InputTrees = Pick<TreeReader, 'walk' | 'lookup'>;
