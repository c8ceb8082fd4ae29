/** The pages of `inspect pipeline` and `inspect job`. */
import type { Duration } from '../../proto/generated/google/protobuf/duration.js';
import {
  JobState,
  type JobInfo,
  type ParallelismSpec,
  type PipelineInfo,
  type ResourceSpec,
  type WorkerStatus,
} from '../../proto/generated/pps.js';
import { escapeAngles, READABLE, toJson } from '../wire/to-json.js';
import type { Paint } from './colour.js';
import { formatBetween, formatTime, goDuration, type TimeStyle } from './duration.js';
import { formatSize } from './size.js';
import { bar, doneOf, isUnderWay } from './progress.js';
import { jobState, pipelineState } from './states.js';
import { formatTable, WIDE } from './table.js';

function parallelism(spec: ParallelismSpec | undefined): string {
  if (!spec) return '';
  if (spec.coefficient > 0) return `coefficient:${spec.coefficient} `;
  return spec.constant > 0 ? `constant:${spec.constant} ` : '';
}

function timeout(duration: Duration | undefined): string {
  return duration ? goDuration(duration) : 'none';
}

/** An absent block leaves one empty line. */
function resources(title: string, spec: ResourceSpec | undefined): string {
  if (!spec) return '\n';
  let text = `${title}:\n  CPU: ${spec.cpu}\n  Memory: ${spec.memory} \n`;
  if (spec.gpu) text += `  GPU:\n    Type: ${spec.gpu.type} \n    Number: ${spec.gpu.number} \n`;
  return text;
}

function json(message: object | undefined, type: string): string {
  return message ? JSON.stringify(toJson(message, type, READABLE), null, 2) : '{}';
}

export function pipelinePage(info: PipelineInfo, time: TimeStyle, paint: Paint): string {
  const described = info.description === '' ? '' : `Description: ${info.description}\n`;
  const counts = [
    JobState.JOB_STARTING,
    JobState.JOB_RUNNING,
    JobState.JOB_FAILURE,
    JobState.JOB_SUCCESS,
  ].map((state) => `${jobState(state, paint)}: ${info.jobCounts[state] ?? 0}\t`);
  return (
    `Name: ${info.pipeline?.name ?? ''}\n${described}` +
    `Created: ${formatTime(info.createdAt, time)} \n` +
    `State: ${pipelineState(info.state, paint)}\n` +
    `Reason: ${info.reason}\n` +
    `Workers Available: ${info.workersAvailable}/${info.workersRequested}\n` +
    `Stopped: ${String(info.stopped)}\n` +
    `Parallelism Spec: ${parallelism(info.parallelismSpec)}\n` +
    resources('ResourceRequests', info.resourceRequests) +
    resources('ResourceLimits', info.resourceLimits) +
    `Datum Timeout: ${timeout(info.datumTimeout)}\n` +
    `Job Timeout: ${timeout(info.jobTimeout)}\n` +
    `Input:\n${escapeAngles(json(info.input, 'pps.Input'))}\n\n` +
    `${info.githookUrl === '' ? '' : `Githook URL: ${info.githookUrl} `}\n` +
    `Output Branch: ${info.outputBranch}\n` +
    `Transform:\n${json(info.transform, 'pps.Transform')}\n` +
    `${info.egress ? `Egress: ${info.egress.URL} ` : ''}\n` +
    `${info.recentError === '' ? '' : ` Recent Error: ${info.recentError} `}\n` +
    `Job Counts:\n${counts.join('')}\n`
  );
}

/** `bars`: a job that is under way has one, for terminals. */
export function jobPage(
  info: JobInfo,
  time: TimeStyle,
  paint: Paint,
  { bars = false }: { readonly bars?: boolean } = {},
): string {
  const { stats } = info;
  const started = formatTime(info.started, time);
  const optional = (condition: unknown, text: string): string => (condition ? text : '');
  return (
    `ID: ${info.job?.id ?? ''} \n` +
    `Pipeline: ${info.pipeline?.name ?? ''}  \n` +
    optional(info.parentJob, `Parent: ${info.parentJob?.id ?? ''} \n`) +
    `Started: ${started}${time.full ? '' : ' '}\n` +
    optional(info.finished, `Duration: ${formatBetween(info.started, info.finished)} \n`) +
    `State: ${jobState(info.state, paint)}\n` +
    `Reason: ${info.reason}\n` +
    optional(bars && isUnderWay(info), `Progress: ${bar(doneOf([info]), paint)}\n`) +
    `Processed: ${info.dataProcessed}\n` +
    `Failed: ${info.dataFailed}\n` +
    `Skipped: ${info.dataSkipped}\n` +
    `Recovered: ${info.dataRecovered}\n` +
    `Total: ${info.dataTotal}\n` +
    `Data Downloaded: ${formatSize(stats?.downloadBytes ?? 0)}\n` +
    `Data Uploaded: ${formatSize(stats?.uploadBytes ?? 0)}\n` +
    `Download Time: ${goDuration(stats?.downloadTime)}\n` +
    `Process Time: ${goDuration(stats?.processTime)}\n` +
    `Upload Time: ${goDuration(stats?.uploadTime)}\n` +
    `Datum Timeout: ${timeout(info.datumTimeout)}\n` +
    `Job Timeout: ${timeout(info.jobTimeout)}\n` +
    `Worker Status:\n${workerTable(info.workerStatus, time)}` +
    `Restarts: ${info.restart}\n` +
    `ParallelismSpec: ${parallelism(info.parallelismSpec)}\n` +
    resources('ResourceRequests', info.resourceRequests) +
    resources('ResourceLimits', info.resourceLimits) +
    optional(
      info.sidecarResourceLimits,
      resources('SidecarResourceLimits', info.sidecarResourceLimits),
    ) +
    optional(
      info.service,
      `Service:\n\tInternal Port: ${info.service?.internalPort ?? 0}\n\tExternal Port: ${info.service?.externalPort ?? 0}\n`,
    ) +
    `Input:\n${escapeAngles(json(info.input, 'pps.Input'))}\n\n` +
    `Transform:\n${json(info.transform, 'pps.Transform')} \n` +
    optional(info.outputCommit?.id, `Output Commit: ${info.outputCommit?.id ?? ''}  \n`) +
    optional(info.statsCommit?.id, `Stats Commit: ${info.statsCommit?.id ?? ''}  \n`) +
    optional(info.egress, `Egress: ${info.egress?.URL ?? ''} \n`)
  );
}

function workerTable(workers: readonly WorkerStatus[], time: TimeStyle): string {
  const rows = workers.map((worker) => [
    worker.workerId,
    worker.jobId,
    worker.data.map((file) => file.path).join(', '),
    formatTime(worker.started, time),
    String(worker.queueSize),
  ]);
  return formatTable(['WORKER', 'JOB', 'DATUM', 'STARTED', 'QUEUE'], rows, { geometry: WIDE });
}
