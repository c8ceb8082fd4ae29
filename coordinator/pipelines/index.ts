/** What the rest of the coordinator may use of pipelines. */
export { openPipelines, Pipelines, type PipelinesOptions } from './pipelines.js';
export { requestOf, toJobInfo, toPipelineInfo, toProcessStats, workerSet } from './convert.js';
export { toTimestamp } from './defaults.js';
export { lostOutput } from './lost-output.js';
export { needsOf } from './needs.js';
export * from './model.js';
export { openStatsCommitIn, STATS_BRANCH, statsCommitIn } from './stats-commit.js';
