/** The service tusk.Jobs: what the v1 API has no call for. */
import { DatumState, type Aggregate } from '../../proto/generated/pps.js';
import type { DatumAggregates, JobsServer } from '../../proto/generated/tusk.js';
import type { Pipelines } from '../pipelines/index.js';
import type { Scheduler, StatsSummary } from '../scheduling/index.js';
import type { Handlers } from './handler.js';

export interface TuskJobsDeps {
  readonly pipelines: Pick<Pipelines, 'job' | 'loadSpec'>;
  readonly scheduling: Pick<Scheduler, 'describeDatum' | 'aggregateDatums'>;
}

export function tuskJobsHandlers({ pipelines, scheduling }: TuskJobsDeps): Handlers<JobsServer> {
  return {
    describeDatum: async (request, { signal }) => {
      const job = await pipelines.job(request.job, { signal });
      const { pipeline, specCommit } = job;
      const info = await pipelines.loadSpec({ pipeline, specCommit }, { signal });
      const recipe = await scheduling.describeDatum(job, info, request.datum, { signal });
      return {
        datum: recipe.row.id,
        state: DatumState[recipe.row.state],
        reason: recipe.row.reason ?? '',
        jobSpec: JSON.stringify(recipe.spec),
        work: JSON.stringify(recipe.work),
      };
    },
    aggregateDatums: async (request, { signal }) => {
      const job = await pipelines.job(request.job, { signal });
      return toAggregates(await scheduling.aggregateDatums(job, { signal }));
    },
  };
}

function toAggregates(stats: StatsSummary): DatumAggregates {
  return {
    downloadTime: toAggregate(stats.downloadMs, 1 / 1000),
    processTime: toAggregate(stats.processMs, 1 / 1000),
    uploadTime: toAggregate(stats.uploadMs, 1 / 1000),
    downloadBytes: toAggregate(stats.downloadBytes, 1),
    uploadBytes: toAggregate(stats.uploadBytes, 1),
  };
}

function toAggregate(one: StatsSummary['downloadMs'], scale: number): Aggregate {
  return {
    count: one.count,
    mean: one.mean * scale,
    stddev: one.stddev * scale,
    fifthPercentile: one.p5 * scale,
    ninetyFifthPercentile: one.p95 * scale,
  };
}
