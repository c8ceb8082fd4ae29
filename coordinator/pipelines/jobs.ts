/** Looking at jobs: one, many, and waiting for them to end. */
import { invalidInput, notFound } from '../../core/errors.js';
import type {
  FlushJobRequest,
  InspectJobRequest,
  JobInfo,
  ListJobRequest,
} from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { Wakeups } from '../versioning/wakeups.js';
import { toJobInfo } from './convert.js';
import { compileFilter } from './filter.js';
import { newestFirst } from './job-cursor.js';
import { getRecord, listRecords, specCommits } from './list.js';
import {
  isTerminal,
  jobByCommitKey,
  jobIdKey,
  jobKey,
  jobNotFound,
  type JobPointer,
  type JobRecord,
  type PipelineRecord,
} from './model.js';
import type { PipelineDeps } from './steps.js';

export interface JobDeps extends PipelineDeps {
  /** Woken by changes of `jrun/`; the topic is the job's id. */
  readonly wakeups: Wakeups;
}

/** The record of a job by id. Throws NOT_FOUND. */
export async function getJob(
  deps: Pick<PipelineDeps, 'meta'>,
  id: string,
  wait: Wait,
): Promise<JobRecord> {
  const pointer = id === '' ? undefined : await read<JobPointer>(deps, jobIdKey(id), wait);
  const job = pointer && (await read<JobRecord>(deps, jobKey(pointer.pipeline, pointer.job), wait));
  if (!job) throw jobNotFound(id);
  return job;
}

/** The job of an output commit, if there is one. */
export async function jobOfCommit(
  deps: Pick<PipelineDeps, 'meta'>,
  commit: { readonly repo: string; readonly id: string },
  wait: Wait,
): Promise<JobRecord | undefined> {
  const pointer = await read<JobPointer>(deps, jobByCommitKey(commit.repo, commit.id), wait);
  return pointer && read<JobRecord>(deps, jobKey(pointer.pipeline, pointer.job), wait);
}

async function read<T>(
  deps: Pick<PipelineDeps, 'meta'>,
  key: string,
  wait: Wait,
): Promise<T | undefined> {
  const kv = await deps.meta.get(key, wait);
  return kv && (JSON.parse(kv.value.toString()) as T);
}

/** InspectJob: by id or by output commit; with blockState, when it has ended. */
export async function inspectJob(
  deps: JobDeps,
  request: InspectJobRequest,
  wait: Wait,
): Promise<JobInfo> {
  const id = request.job?.id ?? '';
  const commit = request.outputCommit;
  if (id === '' && !commit) throw invalidInput('must specify either a Job or an OutputCommit');
  if (id !== '' && commit) throw invalidInput("can't set both Job and OutputCommit");
  let job: JobRecord | undefined;
  if (commit) {
    const ref = { repo: commit.repo?.name ?? '', id: commit.id };
    const resolved = await deps.versioning.resolveCommit(ref, wait);
    job = await jobOfCommit(deps, resolved, wait);
    if (!job) throw notFound(`job with output commit ${commit.id} not found`);
  } else {
    job = await getJob(deps, id, wait);
  }
  if (request.blockState) job = await waitForJob(deps, job, wait);
  return toFullInfo(deps, job, wait);
}

/** Returns the record once it is terminal. Throws NOT_FOUND when it is deleted meanwhile. */
export async function waitForJob(deps: JobDeps, job: JobRecord, wait: Wait): Promise<JobRecord> {
  if (isTerminal(job.state)) return job;
  return deps.wakeups.until(
    job.id,
    async () => {
      const now = await read<JobRecord>(deps, jobKey(job.pipeline, job.id), wait);
      if (!now) throw notFound(`job ${job.id} was deleted`, { fields: { job: job.id } });
      return isTerminal(now.state) ? now : undefined;
    },
    wait,
  );
}

async function toFullInfo(deps: JobDeps, job: JobRecord, wait: Wait): Promise<JobInfo> {
  const spec = await deps.specs.load({ pipeline: job.pipeline, specCommit: job.specCommit }, wait);
  return toJobInfo(job, spec);
}

/** ListJob: newest first. */
export async function* listJobs(
  deps: JobDeps,
  request: ListJobRequest,
  wait: Wait,
): AsyncGenerator<JobInfo> {
  const filter = compileFilter(request.jqFilter);
  const inputs = await resolveInputs(deps, request, wait);
  const full = request.full || inputs.length > 0;
  for await (const job of matching(deps, request, wait)) {
    if (!inputs.every((id) => job.inputs.some((input) => input.commit === id))) continue;
    const info = full ? await toFullInfo(deps, job, wait) : toJobInfo(job);
    if (filter(info)) yield info;
  }
}

async function resolveInputs(
  deps: JobDeps,
  request: ListJobRequest,
  wait: Wait,
): Promise<string[]> {
  return Promise.all(
    request.inputCommit.map(async ({ repo, id }) => {
      const commit = await deps.versioning.resolveCommit({ repo: repo?.name ?? '', id }, wait);
      return commit.id;
    }),
  );
}

async function* matching(
  deps: JobDeps,
  request: ListJobRequest,
  wait: Wait,
): AsyncGenerator<JobRecord> {
  const pipeline = request.pipeline?.name ?? '';
  const commit = request.outputCommit;
  if (pipeline === '' && commit) {
    const ref = { repo: commit.repo?.name ?? '', id: commit.id };
    const job = await jobOfCommit(deps, await deps.versioning.resolveCommit(ref, wait), wait);
    if (job) yield job;
    return;
  }
  const records =
    pipeline === ''
      ? (await listRecords(deps.meta, wait)).map(({ record }) => record)
      : [await getRecord(deps.meta, pipeline, wait)];
  const allowed = await allowedSpecs(deps, records, request.history, wait);
  const names = records.map((record) => record.name);
  for await (const job of newestFirst(deps.meta, names, wait)) {
    if (!allowed || allowed.has(job.specCommit)) yield job;
  }
}

/** Spec commits whose jobs are wanted; undefined = all. */
async function allowedSpecs(
  deps: JobDeps,
  records: readonly PipelineRecord[],
  history: number,
  wait: Wait,
): Promise<Set<string> | undefined> {
  if (history < 0) return undefined;
  const allowed = new Set<string>();
  for (const record of records) {
    for (const id of await specCommits(deps.meta, record, history, wait)) allowed.add(id);
  }
  return allowed;
}

/**
 * FlushJob: streams every job downstream of the commits, each when it has ended. The work of
 * finding and awaiting downstream commits is versioning's; it also covers commits whose job does
 * not exist yet.
 */
export async function* flushJobs(
  deps: JobDeps,
  request: FlushJobRequest,
  wait: Wait,
): AsyncGenerator<JobInfo> {
  const commits = request.commits.map(({ repo, id }) => ({ repo: repo?.name ?? '', id }));
  if (commits.length === 0) throw invalidInput('fromCommits cannot be empty');
  const toRepos = request.toPipelines.map(({ name }) => name);
  for (const name of toRepos) await getRecord(deps.meta, name, wait);
  for await (const commit of deps.versioning.flushCommits(commits, toRepos, wait)) {
    const job = await jobOfCommit(deps, commit, wait);
    if (job) yield await toFullInfo(deps, await waitForJob(deps, job, wait), wait);
  }
}
