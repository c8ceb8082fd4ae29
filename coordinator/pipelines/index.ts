/** What the rest of the coordinator may use of pipelines. */
export { openPipelines, Pipelines, type PipelinesOptions } from './pipelines.js';
export {
  toDatumState,
  toJobInfo,
  toPipelineInfo,
  toProcessStats,
  workerSet,
  type DatumStateName,
} from './convert.js';
export { toTimestamp } from './defaults.js';
export * from './model.js';
