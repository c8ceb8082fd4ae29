/** list, inspect, flush, stop and delete job. */
import {
  DeleteJobRequest,
  FlushJobRequest,
  InspectJobRequest,
  ListJobRequest,
  StopJobRequest,
  type APIClient,
  type JobInfo,
} from '../../proto/generated/pps.js';
import { JobsClient } from '../../proto/generated/tusk.js';
import type { Client } from '../client/client.js';
import type { Call } from '../grammar/command.js';
import { fromSlashForm, parseCommitRef, parseHistory } from '../grammar/refs.js';
import { datumStats, JOB_HEADER, jobRow } from '../render/pps.js';
import { jobPage } from '../render/pps-pages.js';
import { paged, printList, rawFormat, RawWriter, timeStyle, type RawFormat } from './output.js';
import { jobsBelow, streamWithBars, withBars, type Look } from './job-progress.js';
import { prefixed, stateFilter } from './pipeline.js';
import { ppsOf } from './pps-client.js';

const commitOf = (text: string) => {
  const ref = parseCommitRef(fromSlashForm(text));
  return { repo: { name: ref.repo }, id: ref.id };
};

export async function listJob(call: Call): Promise<void> {
  const { session, flags, hyphenated } = call;
  const pipeline = flags.text('pipeline');
  const output = flags.text('output');
  const raw = flags.bool('raw');
  const { client, pps } = await ppsOf(session);
  const request = ListJobRequest.fromPartial({
    ...(pipeline === '' ? {} : { pipeline: { name: pipeline } }),
    inputCommit: flags.list('input').map(commitOf),
    ...(output === '' ? {} : { outputCommit: commitOf(output) }),
    history: hyphenated ? -1 : parseHistory(flags.text('history')),
    // Tables need none of the fields that cost a look at the spec.
    full: raw,
    jqFilter: stateFilter(call, 'job'),
  });
  const jobs = client.stream(pps.listJobStream, request);
  if (raw) await printJobs(call, jobs, 'json');
  else await paged(call, (write) => printJobs(call, jobs, 'text', write));
}

async function printJobs(
  call: Call,
  jobs: AsyncIterable<JobInfo>,
  format: RawFormat,
  write?: (text: string) => void,
): Promise<void> {
  const time = timeStyle(call);
  await printList(call, jobs, {
    type: 'pps.JobInfo',
    header: JOB_HEADER,
    row: (info) => jobRow(info, time, call.session.paint, { bars: call.session.stdout.isTTY }),
    format,
    ...(write ? { write } : {}),
  });
}

export async function inspectJob(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const format = rawFormat(call);
  const { client, pps } = await ppsOf(session);
  const request = InspectJobRequest.fromPartial({
    job: { id: args[0] ?? '' },
    blockState: flags.bool('block'),
    full: true,
  });
  const asked = client.unary(pps.inspectJob, request).catch(prefixed('error from InspectJob'));
  const info = request.blockState
    ? await withBars(call, oneJob(client, pps, args[0]), asked)
    : await asked;
  if (flags.bool('stats')) {
    const { aggregateDatums } = client.service(JobsClient);
    const stats = await client.unary(aggregateDatums, { job: info.job?.id ?? '' });
    if (format === 'text') session.out(datumStats(stats));
    else await new RawWriter(session, 'tusk.DatumAggregates', format).write(stats);
    return;
  }
  const bars = session.stdout.isTTY;
  if (format === 'text') session.out(jobPage(info, timeStyle(call), session.paint, { bars }));
  else await new RawWriter(session, 'pps.JobInfo', format).write(info);
}

export async function flushJob(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const format = rawFormat(call);
  const { client, pps } = await ppsOf(session);
  const request = FlushJobRequest.fromPartial({
    commits: args.map(commitOf),
    toPipelines: flags.list('pipeline').map((name) => ({ name })),
  });
  const look = jobsBelow(client, pps, request.commits);
  const jobs = streamWithBars(call, look, client.stream(pps.flushJob, request));
  await printJobs(call, jobs, format);
}

function oneJob(client: Client, pps: APIClient, id = ''): Look {
  const request = InspectJobRequest.fromPartial({ job: { id } });
  return async () => [await client.unary(pps.inspectJob, request)];
}

export async function stopJob({ session, args }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const request = StopJobRequest.fromPartial({ job: { id: args[0] ?? '' } });
  await client.unary(pps.stopJob, request).catch(prefixed('error from StopJob'));
}

export async function deleteJob({ session, args }: Call): Promise<void> {
  const { client, pps } = await ppsOf(session);
  const request = DeleteJobRequest.fromPartial({ job: { id: args[0] ?? '' } });
  await client.unary(pps.deleteJob, request).catch(prefixed('error from DeleteJob'));
}
