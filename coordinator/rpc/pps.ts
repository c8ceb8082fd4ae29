/** pps.API: pipelines and jobs. Handlers only take requests apart; the rules live in pipelines/. */
import { alreadyExists, codeOf, invalidInput, unimplemented } from '../../core/errors.js';
import type { Empty } from '../../proto/generated/google/protobuf/empty.js';
import type { Commit } from '../../proto/generated/pfs.js';
import {
  InspectJobRequest,
  JobState,
  PipelineState,
  type APIServer,
  type Job,
  type JobInfo,
  type Pipeline,
  type PipelineInfo,
} from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { GarbageCollector } from '../gc/collector.js';
import type { Pipelines } from '../pipelines/index.js';
import { needsOf, type Needs } from '../pipelines/index.js';
import { hostCount, slotsWanted, whyNowhere } from '../scheduling/index.js';
import type { Secrets } from '../secrets/index.js';
import { secretHandlers } from './pps-secrets.js';
import { datumHandlers, whyOthersRun, workerStatus, type DatumDeps } from './pps-datums.js';
import type { Handlers } from './handler.js';

const EMPTY: Empty = {};

export interface PpsDeps extends DatumDeps {
  readonly pipelines: Pipelines;
  readonly secrets: Secrets;
  readonly collector: GarbageCollector;
}

export function ppsHandlers(deps: PpsDeps): Handlers<APIServer> {
  return {
    ...pipelineHandlers(deps),
    ...jobHandlers(deps),
    ...datumHandlers(deps),
    ...secretHandlers(deps.secrets),
    garbageCollect: async (_request, { signal }) => {
      await deps.collector.collect({ dryRun: false, signal });
      return {};
    },
    ...notYet(),
  };
}

function pipelineHandlers(deps: PpsDeps): Handlers<APIServer> {
  const { pipelines } = deps;
  return {
    createPipeline: async (request, { signal }) => {
      await pipelines.create(request, { signal });
      return EMPTY;
    },
    inspectPipeline: async (request, { signal }) =>
      withUnclaimed(
        deps,
        withWorkers(deps, await pipelines.inspect(nameOf(request.pipeline), { signal })),
        { signal },
      ),
    listPipeline: async (request, { signal }) => {
      const pipelineInfo = [];
      for await (const info of pipelines.list(request, { signal })) {
        pipelineInfo.push(withWorkers(deps, info));
      }
      return { pipelineInfo };
    },
    deletePipeline: async (request, { signal }) => {
      await pipelines.delete(request, { signal });
      return EMPTY;
    },
    startPipeline: async (request, { signal }) => {
      await pipelines.start(nameOf(request.pipeline), { signal });
      return EMPTY;
    },
    stopPipeline: async (request, { signal }) => {
      await pipelines.stop(nameOf(request.pipeline), { signal });
      return EMPTY;
    },
    runCron: async (request, { signal }) => {
      await pipelines.runCron(nameOf(request.pipeline), { signal });
      return EMPTY;
    },
    runPipeline: async (request, { signal }) => {
      await pipelines.run(request, { signal });
      return EMPTY;
    },
    deleteAll: async (_request, { signal }) => {
      await pipelines.deleteAll({ signal });
      await deps.secrets.deleteAll({ signal });
      return EMPTY;
    },
  };
}

function jobHandlers(deps: PpsDeps): Handlers<APIServer> {
  const { pipelines } = deps;
  return {
    inspectJob: async (request, { signal }) => {
      const info = await pipelines.inspectJob(request, { signal });
      if (info.state !== JobState.JOB_RUNNING) return info;
      const needs = deps.scheduling.needs(info.pipeline?.name ?? '');
      const reason = info.reason || whyNobodyWorks(deps, needs);
      if (!request.full) return { ...info, reason };
      const status = await workerStatus(deps, info.job?.id ?? '', { signal });
      if (reason !== '' || status.length > 0 || isAllDone(info)) {
        return { ...info, reason, workerStatus: status };
      }
      const given = await deps.scheduling.whyGivenBack(info.job?.id ?? '', { signal });
      return { ...info, reason: given || (await whyOthersRun(deps, { signal })) };
    },
    listJob: async (request, { signal }) => {
      const jobInfo = [];
      for await (const info of pipelines.listJobs(request, { signal })) jobInfo.push(info);
      return { jobInfo };
    },
    listJobStream: (request, { signal }) => pipelines.listJobs(request, { signal }),
    flushJob: (request, { signal }) => pipelines.flushJobs(request, { signal }),
    createJob: async ({ outputCommit }, { signal }) => refuseJob(deps, outputCommit, { signal }),
    updateJobState: async (request, { signal }) => {
      await pipelines.updateJobState(request, { signal });
      return EMPTY;
    },
    stopJob: async (request, { signal }) => {
      await pipelines.stopJob(jobOf(request.job), { signal });
      return EMPTY;
    },
    deleteJob: async (request, { signal }) => {
      await pipelines.deleteJob(jobOf(request.job), { signal });
      return EMPTY;
    },
  };
}

/**
 * Workers of 1.x made the job of an output commit. Here the owner of the pipeline does, one for every
 * commit that is ready.
 */
async function refuseJob(
  { pipelines }: PpsDeps,
  outputCommit: Commit | undefined,
  wait: Wait,
): Promise<never> {
  if (!outputCommit) throw invalidInput('must specify an OutputCommit');
  const request = InspectJobRequest.fromPartial({ outputCommit });
  const { job } = await pipelines.inspectJob(request, wait).catch((error: unknown) => {
    if (codeOf(error) === 'NOT_FOUND') return { job: undefined };
    throw error;
  });
  const commit = `${outputCommit.repo?.name}/${outputCommit.id}`;
  if (job) throw alreadyExists(`multiple jobs found for commit ${commit}: ${job.id} is there`);
  throw unimplemented(
    'clients can not make jobs: every output commit gets one by itself once its inputs are ' +
      `finished, and ${commit} has none yet`,
  );
}

function isAllDone(info: JobInfo): boolean {
  const { dataProcessed, dataSkipped, dataFailed, dataRecovered, dataTotal } = info;
  return dataProcessed + dataSkipped + dataFailed + dataRecovered >= dataTotal;
}

/** With the tasks that wait for a slot; a question to the queue, so not for lists. */
async function withUnclaimed(deps: PpsDeps, info: PipelineInfo, wait: Wait): Promise<PipelineInfo> {
  if (info.stopped) return info;
  const unclaimedTasks = await deps.scheduling.unclaimed(info.pipeline?.name ?? '', wait);
  return { ...info, unclaimedTasks };
}

/** How many slots a pipeline wants and can have; while there are none, also why it stands still. */
function withWorkers(deps: PpsDeps, info: PipelineInfo): PipelineInfo {
  const { stopped, parallelismSpec } = info;
  if (stopped) return info;
  const workers = deps.scheduling.workers().filter(({ draining }) => !draining);
  const { constant = 1, coefficient = 0 } = parallelismSpec ?? {};
  const wanted = slotsWanted({ constant, coefficient }, hostCount(workers));
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const running = info.state === PipelineState.PIPELINE_RUNNING;
  return {
    ...info,
    workersRequested: wanted,
    workersAvailable: Math.min(wanted, slots),
    reason: info.reason || (running ? whyNobodyWorks(deps, needsOf(info)) : ''),
  };
}

/** What a running job waits for when there is nobody to run it; empty when there is. */
function whyNobodyWorks(deps: PpsDeps, needs: Needs | undefined): string {
  if (!deps.scheduling.workers().some(({ draining }) => !draining)) {
    return 'waiting for workers: none has joined; start one with `tusk worker --join HOST:PORT`';
  }
  const why = whyNowhere(needs, deps.scheduling.offers());
  return why === undefined ? '' : `waiting for a worker: ${why}`;
}

/** Rpcs of the v1 API that this version answers with what it is missing and what to do instead. */
function notYet(): Handlers<APIServer> {
  const not = (what: string, instead: string) => async (): Promise<never> => {
    throw unimplemented(`${what} is not built yet in this version of Tusk; ${instead}`);
  };
  return {
    activateAuth: not('ActivateAuth', 'access control is switched off'),
  };
}

function nameOf(pipeline: Pipeline | undefined): string {
  if (!pipeline) throw invalidInput('request.Pipeline cannot be nil');
  return pipeline.name;
}

function jobOf(job: Job | undefined): string {
  if (!job) throw invalidInput('request.Job cannot be nil');
  return job.id;
}
