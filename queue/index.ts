/** The queue on NATS; the only place that speaks to it. */
export { Queue, openQueue } from './queue.js';
export type { QueueOptions } from './connection.js';
export type {
  LinesRequest,
  GivenBackTask,
  RestartRequest,
  RunningTask,
  WorkerAnswers,
  WorkerStatus,
} from './ask-worker.js';
export type { TaskProgress } from './broadcast.js';
export { LogTextReader, type LogRow } from './log-text.js';
export type { ResultItem } from './results.js';
export type { Backlog, PipelineLimits } from './streams.js';
export type { TaskDelivery } from './tasks.js';
export type {
  DatumInput,
  DatumResult,
  JobSpec,
  LinesSoFar,
  LogLine,
  LogSource,
  TaskDetails,
  TaskMessage,
  TaskResult,
  WorkDatum,
  WorkStats,
  WorkTransform,
} from './messages.js';
