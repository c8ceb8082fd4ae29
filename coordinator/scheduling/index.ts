/** What the rest of the coordinator may use of scheduling. */
export { JobFailed } from './job-watch.js';
export type { Egress } from './deps.js';
export { openScheduler, Scheduler, type RunningDatum, type SchedulerOptions } from './scheduler.js';
export type {
  DatumListOptions,
  DatumRow,
  DatumRowFile,
  DatumRowState,
  StatsSummary,
} from './datum-list.js';
export type { LogQuery } from './logs.js';
export type { Beside } from './beside.js';
export type { Joined } from './joins.js';
export { historyKey, MASTER_TASK, ownerKey, workerKey, type WorkerRecord } from './model.js';
export { hostCount, slotsWanted } from './shares.js';
export { whyNowhere } from './placement.js';
export { openPlanPool } from './plan-pool.js';
