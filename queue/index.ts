/** The queue on NATS; the only place that speaks to it. */
export { Queue, openQueue } from './queue.js';
export type { QueueOptions } from './connection.js';
export type { RunningTask, WorkerStatus } from './broadcast.js';
export type { ResultItem } from './results.js';
export type { Backlog, PipelineLimits } from './streams.js';
export type { TaskDelivery } from './tasks.js';
export type {
  DatumInput,
  DatumResult,
  JobSpec,
  LogLine,
  TaskDetails,
  TaskMessage,
  TaskResult,
  WorkDatum,
  WorkStats,
  WorkTransform,
} from './messages.js';
