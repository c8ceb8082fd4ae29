/** pps.API: datums and logs of jobs. */
import type { Clock } from '../../core/clock.js';
import { codeOf, invalidInput, notFound, stateConflict, wrap } from '../../core/errors.js';
import type { RecentLines } from '../../core/recent-lines.js';
import { FileType, type FileInfo } from '../../proto/generated/pfs.js';
import {
  DatumState,
  type APIServer,
  type DatumInfo,
  type GetLogsRequest,
  type ListDatumRequest,
  type ListDatumStreamResponse,
  LogMessage,
  type WorkerStatus,
} from '../../proto/generated/pps.js';
import type { LogLine } from '../../queue/messages.js';
import type { Wait } from '../../storage/types.js';
import {
  isTerminal,
  toProcessStats,
  toTimestamp,
  type JobRecord,
  type Pipelines,
} from '../pipelines/index.js';
import {
  MASTER_TASK,
  type DatumListOptions,
  type DatumRow,
  type DatumRowFile,
  type LogQuery,
  type Scheduler,
} from '../scheduling/index.js';
import type { Handlers } from './handler.js';

export interface DatumDeps {
  /** This coordinator's own log. */
  readonly recent: RecentLines;
  readonly clock: Clock;
  readonly pipelines: Pipelines;
  readonly scheduling: Pick<
    Scheduler,
    | 'listDatums'
    | 'findDatum'
    | 'previewDatums'
    | 'readLogs'
    | 'running'
    | 'runningAll'
    | 'restartDatums'
    | 'whyGivenBack'
    | 'workers'
    | 'offers'
    | 'needs'
    | 'unclaimed'
  >;
}

export function datumHandlers(deps: DatumDeps): Handlers<APIServer> {
  return {
    listDatum: async (request, { signal }) => {
      const response = { datumInfos: [] as DatumInfo[], totalPages: 0, page: 0 };
      for await (const { datumInfo, totalPages, page } of listDatum(deps, request, { signal })) {
        if (datumInfo) response.datumInfos.push(datumInfo);
        if (totalPages > 0) Object.assign(response, { totalPages, page });
      }
      return response;
    },
    listDatumStream: (request, { signal }) => listDatum(deps, request, { signal }),
    inspectDatum: async (request, { signal }) => {
      const id = request.datum?.id ?? '';
      const job = await deps.pipelines.job(request.datum?.job?.id ?? '', { signal });
      if (job.statsCommit === undefined) {
        throw stateConflict(`stats not enabled on ${job.pipeline}`, { fields: { job: job.id } });
      }
      if (!isTerminal(job.state)) {
        throw stateConflict('job not finished, no stats output yet', { fields: { job: job.id } });
      }
      const row = await deps.scheduling.findDatum(job, id, await options(deps, job, { signal }));
      if (!row) throw notFound(`couldn't find job file for ${id}`, { fields: { job: job.id, id } });
      return toDatumInfo(row, job);
    },
    restartDatum: async (request, { signal }) => {
      const job = await deps.pipelines.job(request.job?.id ?? '', { signal });
      const filters = request.dataFilters;
      if ((await deps.scheduling.restartDatums(job, filters, { signal })) > 0) return {};
      throw notFound(
        `datum matching filter [${filters.join(' ')}] could not be found for jobID ${job.id}`,
        { fields: { job: job.id } },
      );
    },
    getLogs: (request, { signal }) => getLogs(deps, request, { signal }),
  };
}

async function options(deps: DatumDeps, job: JobRecord, wait: Wait): Promise<DatumListOptions> {
  const spec = { pipeline: job.pipeline, specCommit: job.specCommit };
  const { input } = await deps.pipelines.loadSpec(spec, wait);
  return { ...wait, input };
}

/** Only the first message carries page numbers. */
async function* listDatum(
  deps: DatumDeps,
  request: ListDatumRequest,
  wait: Wait,
): AsyncGenerator<ListDatumStreamResponse> {
  // A Job without an id counts as absent: some clients always send one.
  const id = request.job?.id ?? '';
  if (id === '' && !request.input) {
    throw invalidInput('must specify either job or input to list datums from');
  }
  if (id !== '' && request.input) {
    throw invalidInput("can't specify both job and input to list datums from");
  }
  if (request.pageSize < 0 || request.page < 0) {
    throw invalidInput('page_size and page cannot be negative');
  }
  const infos = id === '' ? await ofInput(deps, request, wait) : await ofJob(deps, request, wait);
  const from = request.page * request.pageSize;
  const paged = request.pageSize > 0;
  if (paged && from > infos.total - 1) throw notFound('EOF');
  let first = paged;
  for await (const datumInfo of infos.range(from, paged ? request.pageSize : infos.total)) {
    const pages = first ? Math.ceil(infos.total / request.pageSize) : 0;
    yield { datumInfo, totalPages: pages, page: first ? request.page : 0 };
    first = false;
  }
}

interface DatumInfos {
  readonly total: number;
  /** At most `count` datums from position `from` on. */
  range(from: number, count: number): AsyncIterable<DatumInfo>;
}

async function ofJob(deps: DatumDeps, request: ListDatumRequest, wait: Wait): Promise<DatumInfos> {
  const job = await deps.pipelines.job(request.job?.id ?? '', wait);
  const list = { ...(await options(deps, job, wait)), statusOnly: request.statusOnly };
  return {
    total: job.total,
    range: async function* (from, count) {
      let left = count;
      const all = request.pageSize === 0;
      for await (const row of deps.scheduling.listDatums(job, { ...list, from })) {
        yield toDatumInfo(row, job);
        left -= 1;
        if (!all && left === 0) return;
      }
    },
  };
}

async function ofInput(
  deps: DatumDeps,
  request: ListDatumRequest,
  wait: Wait,
): Promise<DatumInfos> {
  const { input, commits } = await deps.pipelines.preview(request.input, wait);
  const rows = await deps.scheduling.previewDatums(input, commits, wait);
  return {
    total: rows.length,
    range: async function* (from, count) {
      for (let at = from; at < Math.min(rows.length, from + count); at += 1) {
        wait.signal.throwIfAborted();
        const { files } = rows.at(at);
        yield {
          datum: { id: '', job: undefined },
          state: DatumState.STARTING,
          stats: undefined,
          pfsState: undefined,
          data: files.map(toFileInfo),
          reason: '',
        };
      }
    },
  };
}

function toDatumInfo(row: DatumRow, job: JobRecord): DatumInfo {
  const commit = { repo: { name: job.outputRepo }, id: job.statsCommit ?? '' };
  return {
    datum: { id: row.id, job: { id: job.id } },
    state: DatumState[row.state],
    stats: row.stats && toProcessStats(row.stats),
    pfsState: job.statsCommit === undefined ? undefined : { commit, path: `/${row.id}/pfs` },
    data: row.files.map(toFileInfo),
    reason: row.reason ?? '',
  };
}

function toFileInfo(file: DatumRowFile): FileInfo {
  const { node } = file;
  return {
    file: { commit: { repo: { name: file.repo }, id: file.commit }, path: file.path },
    fileType: node ? (node.type === 'file' ? FileType.FILE : FileType.DIR) : FileType.RESERVED,
    sizeBytes: node?.size ?? 0,
    children: [],
    hash: node?.hash ?? Buffer.alloc(0),
    objects: [],
    blockRefs: [],
    committed: undefined,
  };
}

/** Without `since`, lines of the last day, as clients of the v1 API expect. */
const DAY_MS = 24 * 3600 * 1000;

async function* getLogs(
  deps: DatumDeps,
  request: GetLogsRequest,
  wait: Wait,
): AsyncGenerator<LogMessage> {
  const job = request.job?.id || request.datum?.job?.id || '';
  const pipeline = request.pipeline?.name ?? '';
  const datum = request.datum?.id ?? '';
  if (job === '' && pipeline === '') {
    if (request.dataFilters.length > 0 || datum !== '') {
      throw invalidInput(
        'must specify the Job or Pipeline that the datum is from to get logs for it',
      );
    }
    yield* serverLogs(deps, request, wait);
    return;
  }
  const owner = await ownerOf(deps, { job, pipeline }, wait);
  // Both given and not belonging together: every filter must hold, so there is nothing.
  if (pipeline !== '' && owner !== pipeline) return;
  const query: LogQuery = {
    pipeline: owner,
    ...(job === '' ? {} : { job }),
    ...(datum === '' ? {} : { datum }),
    filters: request.dataFilters,
    master: request.master,
    userOnly: request.userOnly,
    follow: request.follow,
    tail: Math.max(0, request.tail),
    sinceMs: sinceMs(request),
  };
  for await (const line of deps.scheduling.readLogs(query, wait)) yield toLogMessage(line);
}

function sinceMs({ since }: GetLogsRequest): number {
  return since ? Math.max(0, since.seconds * 1000 + since.nanos / 1e6) : DAY_MS;
}

/** The newest lines of this coordinator's own log; only `message` is set, and the time. */
async function* serverLogs(
  { recent, clock }: DatumDeps,
  request: GetLogsRequest,
  wait: Wait,
): AsyncGenerator<LogMessage> {
  const { follow } = request;
  const query = { follow, tail: Math.max(0, request.tail), sinceMs: sinceMs(request) };
  for await (const { ts, text } of recent.read(query, clock, wait)) {
    yield LogMessage.fromPartial({ message: text, ts: toTimestamp(ts) });
  }
}

async function ownerOf(
  deps: DatumDeps,
  wanted: { job: string; pipeline: string },
  wait: Wait,
): Promise<string> {
  const { job, pipeline } = wanted;
  const lookUp = async <T>(what: string, work: Promise<T>): Promise<T> => {
    try {
      return await work;
    } catch (error) {
      throw codeOf(error) === 'NOT_FOUND' ? wrap(what, error) : error;
    }
  };
  if (pipeline !== '') {
    const what = `could not get pipeline information for ${pipeline}`;
    await lookUp(what, deps.pipelines.record(pipeline, wait));
  }
  if (job === '') return pipeline;
  const what = `could not get job information for "${job}"`;
  return (await lookUp(what, deps.pipelines.job(job, wait))).pipeline;
}

function toLogMessage(line: LogLine): LogMessage {
  return {
    pipelineName: line.pipeline,
    jobId: line.job,
    workerId: line.worker,
    datumId: line.datum,
    master: line.task === MASTER_TASK,
    data: (line.data ?? []).map(({ path, hash }) => ({ path, hash: Buffer.from(hash, 'base64') })),
    user: line.user,
    ts: toTimestamp(line.ts),
    message: line.message,
  };
}

/** What workers do for a running job right now. */
export async function workerStatus(
  deps: DatumDeps,
  job: string,
  wait: Wait,
): Promise<WorkerStatus[]> {
  const record = await deps.pipelines.job(job, wait);
  return (await deps.scheduling.running(record, wait)).map((running) => ({
    workerId: running.worker,
    jobId: running.job,
    data: (running.data ?? []).map(({ path, hash }) => ({
      path,
      hash: Buffer.from(hash, 'base64'),
    })),
    started: toTimestamp(running.startedMs),
    stats: running.stats && toProcessStats(running.stats),
    queueSize: running.queueSize ?? 0,
    dataProcessed: running.processed ?? 0,
    dataRecovered: running.recovered ?? 0,
  }));
}

const NAMED_MAX = 5;

/** Why no worker has a datum of a running job, when others take all there is; else empty. */
export async function whyOthersRun(deps: DatumDeps, wait: Wait): Promise<string> {
  const workers = deps.scheduling.workers().filter(({ draining }) => !draining);
  const slots = workers.reduce((sum, worker) => sum + worker.slots, 0);
  const running = await deps.scheduling.runningAll(wait);
  if (slots === 0 || running.length < slots) return '';
  const names = [...new Set(running.map(({ pipeline }) => pipeline))].sort();
  const more = names.length > NAMED_MAX ? ` and ${names.length - NAMED_MAX} more` : '';
  const all = slots === 1 ? 'the only slot is' : `all ${slots} slots are`;
  const whom = `${names.slice(0, NAMED_MAX).join(', ')}${more}`;
  return `waiting for a free slot: ${all} busy with ${whom}; more workers would help`;
}
