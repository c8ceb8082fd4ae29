/** Versioning, pipelines and scheduling on real servers, with test workers. */
import { afterAll, afterEach, beforeAll, beforeEach } from 'vitest';
import { systemClock } from '../../../core/clock.js';
import { silentLog, type Log } from '../../../core/log.js';
import { ResourceStack } from '../../../core/resource-stack.js';
import { NEVER } from '../../../core/signals.js';
import {
  isTerminal,
  jobsOf,
  openPipelines,
  type JobRecord,
  type Pipelines,
} from '../../../coordinator/pipelines/index.js';
import {
  openScheduler,
  type Beside,
  type DatumRow,
  type Egress,
  type LogQuery,
  type Scheduler,
} from '../../../coordinator/scheduling/index.js';
import type { CommitRecord } from '../../../coordinator/versioning/index.js';
import { CreatePipelineRequest, type Input } from '../../../proto/generated/pps.js';
import { openQueue, type Queue } from '../../../queue/index.js';
import type { Storage } from '../../../storage/index.js';
import { startEtcd, type EtcdServer } from '../../support/etcd.js';
import { startNats, type NatsServer } from '../../support/nats.js';
import { until } from '../../support/until.js';
import { openVersioningStack, type VersioningStack } from '../../support/versioning.js';
import { QueueWorker, type Code, type QueueWorkerOptions } from './queue-worker.js';

const wait = { signal: NEVER };

export interface Coordinator extends AsyncDisposable {
  readonly scheduler: Scheduler;
  readonly pipelines: Pipelines;
  readonly queue: Queue;
}

export interface CoordinatorOptions {
  readonly replica?: string;
  readonly egress?: Egress;
  /** How long a silent worker keeps its place. */
  readonly leaseMs?: number;
  /** What runs beside jobs. */
  readonly beside?: (pipelines: Pipelines) => readonly Beside[];
  /** The store as this coordinator sees it. */
  readonly storage?: Storage;
  /** Datums from which on there is a partial plan. */
  readonly earlyFrom?: number;
  /** Datums that a job beside others may have to run. */
  readonly besideMax?: number;
}

export interface WorkerOptions {
  readonly slots: number;
  readonly code: Code;
  readonly id?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly at?: QueueWorkerOptions['at'];
}

export interface SchedulingStack extends AsyncDisposable {
  readonly base: VersioningStack;
  coordinator(o?: CoordinatorOptions): Promise<Coordinator>;
  worker(at: Coordinator, o: WorkerOptions): Promise<QueueWorker>;
}

let names = 0;

export async function openSchedulingStack(
  etcd: EtcdServer,
  nats: NatsServer,
  log: Log = silentLog,
): Promise<SchedulingStack> {
  const stack = new ResourceStack();
  const base = stack.use(await openVersioningStack(etcd));
  const { meta, storage, versioning } = base;
  const clock = systemClock;
  return {
    base,
    async coordinator(o = {}) {
      const { replica = 'coordinator', beside, egress, leaseMs = 15_000, earlyFrom, besideMax } = o;
      const own = new ResourceStack();
      const queue = own.use(await openQueue({ servers: nats.url, name: replica, log, clock }));
      const pipelines = own.use(
        await openPipelines({ meta, storage, versioning, clock, log }, wait),
      );
      const workerConfig = {
        ...{ clusterId: 'test', natsUrl: nats.url, storeUrl: '' },
        ...{ s3AccessKey: '', s3SecretKey: '', leaseMs },
      };
      const more = {
        ...(egress ? { egress } : {}),
        ...(earlyFrom === undefined ? {} : { earlyFrom }),
        ...(besideMax === undefined ? {} : { besideMax }),
        storage: o.storage ?? storage,
      };
      const deps = { meta, versioning, queue, clock, log, ...more };
      const scheduler = own.use(
        await openScheduler(
          {
            ...deps,
            replica,
            loadSpec: pipelines.loadSpec,
            workerConfig,
            ...(beside ? { beside: beside(pipelines) } : {}),
          },
          wait,
        ),
      );
      const close = (): Promise<void> => own[Symbol.asyncDispose]();
      stack.defer(close);
      return { scheduler, pipelines, queue, [Symbol.asyncDispose]: close };
    },
    async worker(at, { id = `worker${(names += 1)}`, ...more }) {
      const options = { ...more, id, nats: nats.url, storage };
      return stack.use(await QueueWorker.start(options, at.scheduler));
    },
    [Symbol.asyncDispose]: () => stack[Symbol.asyncDispose](),
  };
}

/** What the tests of a file share. */
export interface SchedulingServers {
  readonly etcd: EtcdServer;
  readonly nats: NatsServer;
  /** A stack with an empty repo "in", closed when the test has ended. */
  stack(): Promise<SchedulingStack>;
}

/** Servers for a file of tests, or for each of its tests where these break them. */
export function schedulingServers(how: 'the file' | 'each test' = 'the file'): SchedulingServers {
  let etcd: EtcdServer;
  let nats: NatsServer;
  const open: SchedulingStack[] = [];
  const start = async (): Promise<void> => {
    [etcd, nats] = await Promise.all([startEtcd({ fsync: false }), startNats()]);
  };
  const stop = async (): Promise<void> => {
    await Promise.all([etcd[Symbol.asyncDispose](), nats[Symbol.asyncDispose]()]);
  };
  if (how === 'the file') beforeAll(start);
  else beforeEach(start);
  afterEach(async () => {
    for (const stack of open.splice(0)) await stack[Symbol.asyncDispose]();
    if (how === 'each test') await stop();
  });
  if (how === 'the file') afterAll(stop);
  return {
    get etcd() {
      return etcd;
    },
    get nats() {
      return nats;
    },
    async stack() {
      const stack = await openSchedulingStack(etcd, nats);
      open.push(stack);
      await stack.base.versioning.createRepo({ name: 'in' }, wait);
      return stack;
    },
  };
}

/** Writes each input file under its own path. */
export const copy: Code = ({ files }) =>
  Object.fromEntries([...files].map(([name, text]) => [name.slice(name.indexOf(':') + 1), text]));

export function none(): Input {
  return { cross: [], union: [], join: [], group: [] };
}

export function pfs(repo: string, glob: string): Input {
  const flags = { lazy: false, emptyFiles: false, joinOn: '', s3: false, groupBy: '' };
  const pfsInput = { name: repo, repo, branch: 'master', commit: '', glob, ...flags };
  return { ...none(), pfs: { ...pfsInput, outerJoin: false } };
}

/** Creates (or updates) a pipeline. */
export async function pipeline(
  at: Coordinator,
  name: string,
  input: Input,
  more: Partial<CreatePipelineRequest> = {},
): Promise<void> {
  const request = CreatePipelineRequest.fromPartial({
    pipeline: { name },
    transform: { cmd: ['code'] },
    parallelismSpec: { constant: 4, coefficient: 0 },
    input,
    ...more,
  });
  await at.pipelines.create(request, wait);
}

/** One finished commit with whole files. */
export async function commit(
  stack: SchedulingStack,
  repo: string,
  files: Readonly<Record<string, string>>,
): Promise<CommitRecord> {
  const run = await stack.base.put(files);
  return stack.base.versioning.oneShot({ repo, name: 'master' }, [run], wait);
}

export async function remove(
  stack: SchedulingStack,
  repo: string,
  path: string,
): Promise<CommitRecord> {
  const run = await stack.base.run([{ op: 'delete', path, seq: 0 }]);
  return stack.base.versioning.oneShot({ repo, name: 'master' }, [run], wait);
}

/** Jobs of a pipeline, oldest first. */
export async function jobs(stack: SchedulingStack, name: string): Promise<JobRecord[]> {
  const { kvs } = await stack.base.meta.range(jobsOf(name), wait);
  return kvs.map((kv) => JSON.parse(kv.value.toString()) as JobRecord);
}

/** The `count`-th job (from 1), once it has ended. */
export async function ended(
  stack: SchedulingStack,
  name: string,
  count: number,
  timeoutMs = 30_000,
): Promise<JobRecord> {
  return until(
    `job ${count} of ${name} to end`,
    async () => {
      const job = (await jobs(stack, name))[count - 1];
      return job && isTerminal(job.state) ? job : undefined;
    },
    timeoutMs,
  );
}

/** Path → text of every file in the output of a job. */
export async function output(
  stack: SchedulingStack,
  job: JobRecord,
): Promise<Record<string, string>> {
  const { storage, versioning } = stack.base;
  const record = await versioning.commit({ repo: job.outputRepo, id: job.outputCommit }, wait);
  if (!record) throw new Error('the output commit is gone');
  const root = await versioning.openTree(record, wait);
  const files: Record<string, string> = {};
  for await (const { path, node } of storage.trees.walk(root, '', wait)) {
    if (node.type !== 'file') continue;
    const parts: Buffer[] = [];
    for await (const part of storage.read(node, wait)) parts.push(part);
    files[path] = Buffer.concat(parts).toString();
  }
  return files;
}

export async function datums(at: Coordinator, job: JobRecord): Promise<DatumRow[]> {
  const spec = { pipeline: job.pipeline, specCommit: job.specCommit };
  const { input } = await at.pipelines.loadSpec(spec, wait);
  const rows: DatumRow[] = [];
  for await (const row of at.scheduler.listDatums(job, { ...wait, input })) rows.push(row);
  return rows;
}

export async function logs(at: Coordinator, query: Partial<LogQuery>): Promise<string[]> {
  const all = { filters: [], master: false, follow: false, tail: 0, sinceMs: 0, pipeline: '' };
  const lines: string[] = [];
  for await (const line of at.scheduler.readLogs({ ...all, ...query }, wait)) {
    lines.push(line.message);
  }
  return lines;
}
