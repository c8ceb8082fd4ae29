/**
 * A worker: joined to the cluster by its heartbeat thread, connected to queue and store as the
 * cluster says, running tasks in its slots. Stateless but for its caches.
 */
import { randomBytes } from 'node:crypto';
import { accessSync, constants, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../core/clock.js';
import { invalidInput, messageOf, stateConflict, unavailable } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { makeDir } from '../core/make-dir.js';
import { ResourceStack } from '../core/resource-stack.js';
import { retry } from '../core/retry.js';
import { addAbortListener } from '../core/signals.js';
import type { WorkerAssignments, WorkerConfig, WorkerHello } from '../proto/generated/tusk.js';
import { openQueue, type Queue } from '../queue/index.js';
import { openStorage, Storage } from '../storage/index.js';
import { BlobCache } from './blob-cache.js';
import { closeCgroups, limitsText, openCgroups } from './cgroups.js';
import type { WorkerConfigFile } from './config.js';
import type { Slot } from './datum.js';
import { findEngine, type ContainerEngine } from './engine.js';
import { findGpus, gpuDevices } from './gpus.js';
import { Images } from './images.js';
import { GitClones } from './git-clone.js';
import { InputCache } from './input-cache.js';
import { Duties } from './live/duties.js';
import { ClusterLink } from './live/reporter.js';
import { makeSlotFiles, probeIsolation, releasePfs } from './isolation.js';
import { askSecrets } from './join-secrets.js';
import { Membership } from './membership.js';
import { DatumMetrics } from './metrics.js';
import { serveMetrics } from './metrics-server.js';
import { WorkerSecrets } from './secrets.js';
import { PullLoop } from './pull-loop.js';
import { Room } from './room.js';
import { S3Endpoints } from './s3/endpoint.js';
import { SlotBoxes } from './slot-box.js';
import type { SpawnerClient } from './spawner-client.js';
import type { CgroupHome, Isolation } from './spawner-protocol.js';
import { LiveBudget } from './task-log.js';
import { runTask, type TaskDeps } from './task.js';

export interface WorkerDeps {
  readonly config: WorkerConfigFile;
  readonly spawner: SpawnerClient;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
}

/** Log lines a worker sends to followers per second. */
const LIVE_LINES = 2_000;
/** How long running datums may take to end after the worker was asked to leave. */
const DRAIN_MS = 24 * 3_600_000;

/**
 * Runs a worker until `signal` aborts, then drains: no new tasks, running ones end, then it leaves.
 * `abort` ends it at once. Throws when it cannot start, or when it must not go on.
 */
export async function runWorker(
  deps: WorkerDeps,
  options: { readonly signal: AbortSignal; readonly abort: AbortSignal },
): Promise<void> {
  await using stack = new ResourceStack();
  const { config, spawner, log } = deps;
  claimDataDir(config.dataDir);
  stack.defer(() => rmSync(pidFile(config.dataDir), { force: true }));
  const isolation = await probeIsolation({
    spawner,
    dataDir: config.dataDir,
    forced: config.isolation,
    path: config.inherited.PATH ?? '',
    log,
    signal: options.signal,
  });
  stack.defer(() => releasePfs(config.dataDir));
  const machine = await lookAtMachine(deps, isolation, options);
  spawner.onClosed(() => closeCgroups(machine.cgroups));
  const hello = helloOf(deps, machine);
  const { workerId, slots, limits, gpus, engine, labels } = hello;
  const cacheGib = config.cacheBytes / 2 ** 30;
  const told = { worker: workerId, slots, isolation, limits, gpus, engine, labels, cacheGib };
  log.info(told, 'worker starts');
  const metrics = new DatumMetrics();
  if (config.metricsListen !== undefined) {
    const { clock } = deps;
    const server = stack.use(
      await serveMetrics(metrics, { listen: config.metricsListen, clock, log }),
    );
    log.info({ port: server.port }, 'metrics are served at /metrics');
  }
  const node = new Node(
    { ...deps, log: log.child({ worker: hello.workerId }) },
    hello,
    machine,
    metrics,
  );
  stack.use(node);
  await node.run(options);
}

class Node implements AsyncDisposable {
  readonly #stack = new ResourceStack();
  readonly #failed = new AbortController();
  readonly #membership: Membership;
  #loop: PullLoop | undefined;
  /** Ends waits that would keep a drained worker alive. */
  readonly #over = new AbortController();
  #joined = false;
  #settings: WorkerConfig | undefined;
  #configured: (config: WorkerConfig) => void = () => undefined;
  #assignments: WorkerAssignments = { pipelines: [], duties: [] };
  #duties: Duties | undefined;
  /** Coordinator that the worker is joined to. */
  #address = '';

  constructor(
    readonly deps: WorkerDeps,
    readonly hello: WorkerHello,
    readonly machine: Machine,
    readonly metrics: DatumMetrics,
  ) {
    const { clock, log, config } = deps;
    this.#membership = this.#stack.use(
      new Membership({
        addresses: config.addresses,
        hello,
        clock,
        log,
        running: () =>
          this.#loop?.running.map(({ pipeline, job, task, datum, startedMs }) => ({
            ...{ pipeline, job, task, datum, startedMs },
          })) ?? [],
        onConfig: (next) => this.#configure(next),
        onAssignments: (assignments) => {
          this.#assignments = assignments;
          this.#loop?.assign(assignments.pipelines);
          this.#duties?.assign(assignments.duties);
        },
        onJoined: (joined, address) => this.#setJoined(joined, address),
        onFailure: (error) => this.#failed.abort(error),
      }),
    );
  }

  async run({ signal, abort }: { signal: AbortSignal; abort: AbortSignal }): Promise<void> {
    const { clock, log } = this.deps;
    const ended = AbortSignal.any([signal, abort, this.#failed.signal]);
    const config = await this.#config(ended);
    if (!config) return this.#failed.signal.throwIfAborted();
    const queue = await this.#open(config, ended);
    if (!queue) return this.#failed.signal.throwIfAborted();
    const loop = this.#loop;
    if (!loop) return;
    const closing = AbortSignal.any([abort, this.#failed.signal, this.#over.signal]);
    const tending = loop.tend({ signal: closing });
    tending.catch(() => undefined);
    loop.assign(this.#assignments.pipelines);
    loop.setPaused(!this.#joined);
    this.#duties?.assign(this.#assignments.duties);
    this.#duties?.setJoined(this.#joined);
    await new Promise<void>((resolve) => addAbortListener(ended, resolve));
    this.#failed.signal.throwIfAborted();
    log.info({ running: loop.running.length }, 'worker drains');
    this.#membership.drain();
    // Others are told to take its duties over; they need not wait for its datums.
    await this.#duties?.[Symbol.asyncDispose]();
    const stop = addAbortListener(abort, () => void loop.close());
    const drained = new AbortController();
    const signals = AbortSignal.any([abort, drained.signal]);
    const late = clock.sleep(DRAIN_MS, { signal: signals }).catch(() => undefined);
    await Promise.race([loop.drain(), late]);
    drained.abort();
    stop();
    log.info('worker leaves');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over.abort();
    await this.#stack[Symbol.asyncDispose]();
  }

  #configure(next: WorkerConfig): void {
    const now = this.#settings;
    if (now && !sameServers(now, next)) {
      // Another cluster, or its servers moved: start anew with the new addresses.
      this.#failed.abort(stateConflict('the servers of the cluster changed; the worker restarts'));
      return;
    }
    this.#settings = next;
    this.#configured(next);
  }

  #config(ended: AbortSignal): Promise<WorkerConfig | undefined> {
    if (this.#settings) return Promise.resolve(this.#settings);
    return new Promise((resolve) => {
      const stop = addAbortListener(ended, () => resolve(undefined));
      this.#configured = (config) => {
        stop();
        resolve(config);
      };
    });
  }

  #setJoined(joined: boolean, address: string): void {
    this.#joined = joined;
    this.#address = joined ? address : '';
    this.#duties?.setJoined(joined);
    if (joined) return this.#loop?.setPaused(false);
    // The lease still holds; a coordinator that restarts shall not interrupt the flow of tasks.
    const leaseMs = this.#settings?.leaseMs ?? 0;
    const { clock } = this.deps;
    const signal = AbortSignal.any([this.#failed.signal, this.#over.signal]);
    void clock.sleep(leaseMs, { signal }).then(
      () => !this.#joined && this.#loop?.setPaused(true),
      () => undefined,
    );
  }

  /** Connects to queue and store; tries until both answer. Undefined when the worker shall end. */
  async #open(config: WorkerConfig, ended: AbortSignal): Promise<Queue | undefined> {
    const { clock, log } = this.deps;
    try {
      return await retry(
        async () => {
          await using stack = new ResourceStack();
          const storage = stack.use(await openStorage(storageOptions(config, this.deps)));
          await checkStore(storage, config, ended);
          this.metrics.useStore(storage.objects);
          const name = this.hello.workerId;
          const queue = stack.use(await openQueue({ servers: config.natsUrl, name, log, clock }));
          this.#loop = this.#assemble(storage, queue);
          stack.defer(this.#listen(queue, this.#loop));
          const opened = stack.move();
          this.#stack.defer(() => opened[Symbol.asyncDispose]());
          return queue;
        },
        {
          signal: ended,
          clock,
          baseDelayMs: 500,
          retryable: () => true,
          onRetry: (error) => log.warn({ err: error }, `cannot work yet: ${messageOf(error)}`),
        },
      );
    } catch (error) {
      if (ended.aborted) return undefined;
      throw error;
    }
  }

  #listen(queue: Queue, loop: PullLoop): () => void {
    const stops = [
      queue.onCancel((job) => loop.cancel(job)),
      queue.serveWorker(this.hello.workerId, {
        status: () => ({ running: loop.running, givenBack: loop.givenBack }),
        restart: (request) => loop.restart(request) + (this.#duties?.restart(request) ?? 0),
        lines: (request) => loop.lines(request),
      }),
    ];
    return () => stops.forEach((stop) => stop());
  }

  #openDuties(task: TaskDeps, isolation: Isolation): Duties {
    const { clock, config, spawner } = this.deps;
    const link = this.#stack.use(new ClusterLink(() => this.#address));
    const { dataDir, host } = config;
    const live = { ...task, spawner, link, dataDir, isolation, host };
    const patienceMs = (): number => (this.#settings?.leaseMs ?? 0) * APART_SHARE;
    return this.#stack.use(new Duties(live, { clock, patienceMs }));
  }

  #assemble(storage: Storage, queue: Queue): PullLoop {
    const { config, clock, log, spawner } = this.deps;
    const { isolation, cgroups, gpus, engine } = this.machine;
    const boxes = new SlotBoxes({ spawner, isolation, cgroups, gpuDevices: gpuDevices() });
    const slots = Array.from({ length: this.hello.slots }, (_, index): Slot => {
      const slot = { index, files: makeSlotFiles(config.dataDir, index, isolation) };
      boxes.prepare(slot);
      return slot;
    });
    const cache = new InputCache({
      dir: join(config.dataDir, 'cache'),
      bytesMax: config.cacheBytes,
      copies: isolation === 'plain',
      read: (content, wait) => storage.read(content, wait),
    });
    const worker = this.hello.workerId;
    const secrets = new WorkerSecrets({
      isolation,
      dataDir: config.dataDir,
      ask: (of, wait) => askSecrets(config.addresses, { worker, ...of }, wait),
    });
    this.#stack.defer(() => secrets[Symbol.dispose]());
    const task: TaskDeps = {
      secrets,
      clones: new GitClones(join(config.dataDir, 'git')),
      clock,
      log,
      spawner,
      queue,
      cache,
      boxes,
      endpoints: this.#stack.use(new S3Endpoints({ clock, log })),
      gpus,
      images: new Images({
        engine,
        dir: join(config.dataDir, 'images'),
        tableFile: config.imagesFile,
        roots: isolation === 'bwrap',
        mounts: isolation !== 'plain',
        log,
        clock,
      }),
      trees: storage.trees,
      blobs: new BlobCache(storage),
      storage: storageByEpoch(storage, { log, clock }),
      identity: {
        worker: this.hello.workerId,
        namespace: 'default',
        inherited: config.inherited,
      },
      metrics: this.metrics,
      budget: new LiveBudget(LIVE_LINES, () => clock.monotonicMs()),
      uid: process.getuid?.() ?? 0,
    };
    this.#duties = this.#openDuties(task, isolation);
    return new PullLoop({
      queue,
      slots,
      clock,
      log,
      room: new Room({ ...this.hello, gpus, gpuShare: config.gpuShare }),
      run: async (message, { slot, grant, signal, onLive }) => {
        await runTask(task, message, { slot, signal, gpus: grant.gpus, onLive });
      },
    });
  }
}

/** How long processes go on without the cluster: less than others wait before they take over. */
const APART_SHARE = 2 / 3;

/** Objects of a job are written with its job's epoch; everything else is shared. */
export function storageByEpoch(
  base: Storage,
  deps: { readonly log: Log; readonly clock: Clock },
): (epoch: number) => Storage {
  const known = new Map<number, Storage>([[base.epoch, base]]);
  return (epoch) => {
    const found = known.get(epoch);
    if (found) return found;
    const made = new Storage(base.objects, { ...deps, epoch, cacheBytes: 8 * 1024 * 1024 });
    known.set(epoch, made);
    return made;
  };
}

/** Throws UNAVAILABLE when the store that opens here is not the one the coordinator uses. */
async function checkStore(
  storage: Storage,
  { clusterId, storeUrl }: WorkerConfig,
  signal: AbortSignal,
): Promise<void> {
  if (await storage.objects.head(`cluster/0/${clusterId}`, { signal })) return;
  throw unavailable(
    `${storeUrl} on this machine is not the store of the cluster; workers on other machines need ` +
      "one that all can reach: 'tusk up --s3 URL', or the same directory mounted at the same path",
  );
}

function storageOptions(config: WorkerConfig, { log, clock }: WorkerDeps) {
  const { s3AccessKey: accessKeyId, s3SecretKey: secretAccessKey } = config;
  const s3 = accessKeyId === '' ? undefined : { accessKeyId, secretAccessKey };
  return { url: config.storeUrl, epoch: 0, log, clock, ...(s3 ? { s3 } : {}) };
}

function sameServers(a: WorkerConfig, b: WorkerConfig): boolean {
  return (
    a.natsUrl === b.natsUrl &&
    a.storeUrl === b.storeUrl &&
    (a.clusterId === b.clusterId || a.clusterId === '' || b.clusterId === '')
  );
}

/** What this machine can do for datums. */
interface Machine {
  readonly isolation: Isolation;
  readonly cgroups: CgroupHome | undefined;
  readonly gpus: readonly string[];
  readonly engine: ContainerEngine | undefined;
}

async function lookAtMachine(
  { config, spawner }: WorkerDeps,
  isolation: Isolation,
  wait: { readonly signal: AbortSignal },
): Promise<Machine> {
  const own = [process.pid, process.ppid, spawner.pid ?? 0];
  return {
    isolation,
    cgroups: openCgroups({ own }),
    gpus: config.gpus ?? findGpus(),
    engine: await findEngine(config.engine, wait),
  };
}

function diskFree(dir: string): number {
  try {
    const { bavail, bsize } = statfsSync(dir);
    return bavail * bsize;
  } catch {
    return 0;
  }
}

function helloOf({ config, version }: WorkerDeps, machine: Machine): WorkerHello {
  const { isolation, cgroups, gpus, engine } = machine;
  const host = config.host.replace(/[^A-Za-z0-9_-]/g, '-');
  return {
    workerId: `${host}-${randomBytes(4).toString('hex')}`,
    host: config.host,
    // Without namespaces there is only one /pfs.
    slots: isolation === 'plain' ? 1 : config.slots,
    cpus: config.cpus,
    memoryBytes: config.memoryBytes,
    diskBytes: diskFree(config.dataDir),
    gpus: [...gpus],
    gpuShare: config.gpuShare,
    labels: { ...config.labels },
    isolation,
    limits: limitsText(cgroups),
    engine: engine?.name ?? '',
    version,
  };
}

/** One worker per data directory: two would empty each other's slots. */
function claimDataDir(dataDir: string): void {
  try {
    makeDir(dataDir, 0o755);
    accessSync(dataDir, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw invalidInput(
      `cannot use ${dataDir} as the worker's data directory: ${messageOf(error)}; ` +
        'choose another one with --data-dir',
      { cause: error },
    );
  }
  const file = pidFile(dataDir);
  let pid = 0;
  try {
    pid = Number(readFileSync(file, 'utf8'));
  } catch {
    // Nobody was here.
  }
  if (pid > 0 && pid !== process.pid && isWorker(pid)) {
    throw stateConflict(
      `another worker (process ${pid}) uses ${dataDir}; stop it or give this one another --data-dir`,
    );
  }
  writeFileSync(file, String(process.pid));
}

function isWorker(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('worker');
  } catch {
    return false;
  }
}

function pidFile(dataDir: string): string {
  return join(dataDir, 'worker.pid');
}
