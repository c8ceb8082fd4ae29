/**
 * Runs one task: its datums one after the other in one slot, then bytes, run, details and log are
 * stored, the result is published, and only then may the task be acknowledged. Nothing is visible
 * before that, so a task that breaks off anywhere is simply run again (docs/formats/work.md).
 */
import type { Log } from '../core/log.js';
import { codeOf, messageOf } from '../core/errors.js';
import type {
  DatumResult,
  JobSpec,
  TaskMessage,
  TaskResult,
  WorkDatum,
  WorkStats,
} from '../queue/messages.js';
import { refToText, type ContentWriter, type Storage } from '../storage/index.js';
import { RunWriter, runToText } from '../storage/run.js';
import type { FileContent, Wait } from '../storage/types.js';
import { unheldLimits } from './cgroups.js';
import { Commands, runDatum, type DatumDeps, type Slot } from './datum.js';
import { Attempts } from './attempts.js';
import type { BlobCache } from './blob-cache.js';
import type { EnvironmentExtras } from './environment.js';
import { gpuEnvironment } from './gpus.js';
import { ImageError, needsSu, notesOf, type Images, type RunImage } from './images.js';
import type { InputCache } from './input-cache.js';
import type { WorkQueue } from './ports.js';
import type { SlotBoxes } from './slot-box.js';
import { TaskInputs } from './task-inputs.js';
import { LiveDatums, type LiveTask } from './live-task.js';
import { TaskLog, type LiveBudget } from './task-log.js';
import type { DatumMetrics } from './metrics.js';
import { TaskStats } from './task-stats.js';
import { DatumS3 } from './s3/datum-s3.js';
import type { S3Endpoints } from './s3/endpoint.js';
import { S3Session } from './s3/session.js';
import { SecretRefused, type WorkerSecrets } from './secrets.js';
import { findUser, homeOf } from './users.js';
import type { Limits, RunCommand } from './spawner-protocol.js';

export interface TaskDeps extends Omit<DatumDeps, 'read'> {
  /** Storage that writes with the given garbage-collection epoch. */
  readonly storage: (epoch: number) => Storage;
  readonly blobs: BlobCache;
  readonly cache: InputCache;
  readonly images: Pick<Images, 'resolve'>;
  readonly boxes: SlotBoxes;
  readonly endpoints: Pick<S3Endpoints, 'of'>;
  readonly secrets: Pick<WorkerSecrets, 'of' | 'fresh'>;
  /** All GPUs of this worker. */
  readonly gpus: readonly string[];
  readonly queue: Pick<WorkQueue, 'publishResult' | 'publishLogRow' | 'publishProgress'>;
  readonly budget: LiveBudget;
  readonly metrics?: DatumMetrics;
  readonly uid: number;
  readonly log: Log;
}

export interface TaskOptions extends Wait {
  readonly slot: Slot;
  /** GPUs that are this task's while it runs. */
  readonly gpus?: readonly string[];
  /** Called once, with what others may see of the task while it runs. */
  readonly onLive: (task: LiveTask) => void;
}

/** Uploads of one task at once; slots share the machine. */
const UPLOADS = 4;
const UPLOAD_BYTES = 32 * 1024 * 1024;
/** Room for outputs of one task in memory before the run is written in parts. */
const RUN_BYTES = 8 * 1024 * 1024;

/** Runs the task and publishes its result. Throws when it should be tried elsewhere or later. */
export async function runTask(
  deps: TaskDeps,
  task: TaskMessage,
  options: TaskOptions,
): Promise<TaskResult> {
  const spec = await deps.blobs.get<JobSpec>(task.spec, options);
  const segment = await deps.blobs.get<WorkDatum[]>(task.segment, options);
  const datums = segment.slice(task.from, task.to);
  const run = new TaskRun(deps, { ...task }, spec, datums, options);
  try {
    options.onLive(run.live);
    const result = await run.run();
    await deps.queue.publishResult(result, options);
    return result;
  } finally {
    await run.close();
  }
}

class TaskRun {
  readonly #storage: Storage;
  readonly #log: TaskLog;
  readonly #inputs: TaskInputs;
  readonly #commands = new Commands();
  readonly #attempts: Attempts;
  readonly #results: DatumResult[] = [];
  readonly live: LiveDatums;
  readonly #ops: RunWriter;
  /** Only for pipelines with stats. */
  readonly #stats: TaskStats | undefined;
  #writer: ContentWriter | undefined;
  #hasMkdir = false;

  constructor(
    readonly deps: TaskDeps,
    readonly task: TaskMessage,
    readonly spec: JobSpec,
    readonly datums: readonly WorkDatum[],
    readonly options: TaskOptions,
  ) {
    const { signal } = options;
    this.#attempts = new Attempts(signal);
    this.#storage = deps.storage(spec.epoch);
    const { clock, identity, budget, queue } = deps;
    this.#log = new TaskLog({
      task,
      worker: identity.worker,
      wallMs: () => clock.wallMs(),
      publish: (row, shared) => queue.publishLogRow(task, row, shared),
      budget,
      store: async (bytes) => refToText(await this.#storage.putObject('blob', bytes, options)),
    });
    this.live = new LiveDatums({ task, count: datums.length, log: this.#log, clock, queue });
    const inputDeps = { storage: this.#storage, trees: deps.trees, cache: deps.cache };
    this.#inputs = new TaskInputs(inputDeps, datums, { signal }, spec.queueSize);
    this.#ops = new RunWriter(this.#storage, {
      signal,
      partBytes: RUN_BYTES,
      flush: async () => this.#writer?.flush({ signal }),
    });
    const writer = (): ContentWriter => this.#content();
    const statsDeps = { signal, storage: this.#storage, job: task.job, writer };
    this.#stats = spec.enableStats ? new TaskStats(statsDeps) : undefined;
  }

  async run(): Promise<TaskResult> {
    const ready = await this.#prepare();
    // What a process that stays alive wrote after its last answer is nobody's.
    await this.options.slot.files.clear();
    for (const [at, datum] of this.datums.entries()) {
      this.options.signal.throwIfAborted();
      this.live.begin(datum);
      if ('error' in ready) await this.#refuse(datum, ready.error);
      else await this.#datum(at, datum, ready);
    }
    this.live.end();
    return this.#finish('final' in ready && ready.final ? ready.error : undefined);
  }

  /** Image, user and sandbox; an error when no datum of this task can run. */
  async #prepare(): Promise<Ready | { readonly error: string; readonly final: boolean }> {
    const { spec, deps, options } = this;
    try {
      const image = await deps.images.resolve(spec.transform.image, options);
      const secrets = await deps.secrets.of(spec, options);
      const { rootfs } = image;
      const limits = limitsOf(spec);
      const passwd = rootfs === undefined ? undefined : `${rootfs}/etc/passwd`;
      const found = findUser(spec.transform.user || image.user, { uid: deps.uid, passwd });
      const user =
        found && rootfs !== undefined && needsSu(rootfs) ? { ...found, su: true } : found;
      deps.boxes.prepare(options.slot, {
        rootfs,
        limits,
        gpu: (spec.gpus ?? 0) > 0,
        warm: spec.transform.warm === true,
        mounts: [...(image.mounts ?? []), ...secrets.mounts],
        noOut: spec.s3Out === true,
      });
      const gpu = gpuEnvironment(options.gpus ?? [], deps.gpus);
      const root =
        passwd === undefined
          ? { host: image.env }
          : { image: image.env, home: homeOf(passwd, user) };
      const notes = notesOf(image, unheldLimits(deps.boxes.deps.cgroups, limits));
      return { user, image, notes, extras: { ...root, gpu, secrets: secrets.env } };
    } catch (error) {
      options.signal.throwIfAborted();
      const refused = error instanceof ImageError || error instanceof SecretRefused;
      const known = refused || codeOf(error) === 'INVALID_INPUT';
      if (!known) throw error;
      return { error: messageOf(error), final: error instanceof ImageError && error.final };
    }
  }

  async close(): Promise<void> {
    this.live.close();
    this.#attempts[Symbol.dispose]();
    this.#writer?.abort();
    await this.#inputs.finish();
  }

  async #datum(at: number, datum: WorkDatum, ready: Ready): Promise<void> {
    const { signal, slot } = this.options;
    const context = {
      signal,
      slot,
      ...ready,
      spec: this.spec,
      log: this.#log,
      inputs: this.#inputs,
      commands: this.#commands,
      attempts: this.#attempts,
      writer: () => this.#content(),
      s3: await this.#s3(datum),
      onTry: (attempt: AbortController, stats: WorkStats) => {
        this.live.onTry(attempt, stats);
        this.deps.metrics?.tried(this.spec);
      },
    };
    const read = (content: FileContent, wait: Wait) => this.#storage.read(content, wait);
    const done = await runDatum({ ...this.deps, read }, context, at, datum);
    for (const op of done.ops) {
      const waiting = this.#ops.add(op);
      if (waiting) await waiting;
    }
    await this.#stats?.add(datum, done.result, done.ops);
    this.#results.push(done.result);
    this.live.done(done.result.state);
    this.deps.metrics?.done(this.spec, done.result);
    this.#hasMkdir ||= done.hasMkdir;
  }

  /** Only for datums that read or write through S3. */
  async #s3(datum: WorkDatum): Promise<DatumS3 | undefined> {
    const { clock, endpoints } = this.deps;
    const out = this.spec.s3Out === true;
    if (!out && !datum.inputs.some(({ s3 }) => s3)) return undefined;
    const endpoint = await endpoints.of(this.options.slot.index);
    const deps = { clock, storage: this.#storage, writer: () => this.#content() };
    return new DatumS3(endpoint, () => new S3Session(deps, datum, out));
  }

  /** A datum that cannot even be tried. */
  async #refuse(datum: WorkDatum, reason: string): Promise<void> {
    this.#log.enter({ datum: datum.id, data: [] });
    const first = this.#log.count;
    this.#log.say(`failed to process datum with error: ${reason}`);
    const { index, id, tag } = datum;
    const log: [number, number] = [first, this.#log.count];
    const done = { index, id, tag, log, reason, state: 'failed' as const };
    const result: DatumResult = { ...done, tries: 1, stats: NO_STATS, outputs: 0 };
    await this.#stats?.add(datum, result, []);
    this.#results.push(result);
    this.live.done(result.state);
  }

  #content(): ContentWriter {
    this.#writer ??= this.#storage.newWriter({
      signal: this.options.signal,
      parallel: UPLOADS,
      bytesInFlight: UPLOAD_BYTES,
    });
    return this.#writer;
  }

  async #finish(unrunnable: string | undefined): Promise<TaskResult> {
    const { signal } = this.options;
    const results = this.#results;
    // At once: the slot waits for the disk, which syncs several as quickly as one.
    const [[log, ...moreLogs], run, details] = await Promise.all([
      this.#log.finish(),
      this.#storeRun(),
      this.#storage.putJson({ datums: results }, { signal }),
    ]);
    const statsRun = await this.#stats?.finish(results, log ? [log, ...moreLogs] : []);
    const failed = results.find(({ state }) => state === 'failed');
    const good = results.filter(({ state }) => state === 'success');
    const { pipeline, job, task, attempt } = this.task;
    return {
      pipeline,
      job,
      task,
      attempt,
      worker: this.deps.identity.worker,
      details,
      ...(run === undefined ? {} : { run }),
      ...(this.#hasMkdir ? { hasMkdir: true } : {}),
      ...(statsRun === undefined ? {} : { statsRun }),
      ...(log === undefined ? {} : { log }),
      ...(moreLogs.length === 0 ? {} : { moreLogs }),
      processed: count(results, 'success'),
      failed: count(results, 'failed'),
      recovered: count(results, 'recovered'),
      stats: sumOf(results),
      ...(good.length === results.length ? {} : { statsOfSuccess: sumOf(good) }),
      ...(unrunnable === undefined ? {} : { unrunnable }),
      ...(failed ? { firstFailure: { datum: failed.id, reason: failed.reason ?? '' } } : {}),
    };
  }

  async #storeRun(): Promise<string | undefined> {
    await this.#writer?.flush(this.options);
    return this.#ops.count === 0 ? undefined : runToText(await this.#ops.finish());
  }
}

interface Ready {
  readonly user: RunCommand['user'];
  readonly image: RunImage;
  readonly notes: readonly string[];
  readonly extras: EnvironmentExtras;
}

export function limitsOf({ memoryBytesMax, diskBytesMax, cpusMax }: JobSpec): Limits {
  return {
    ...(memoryBytesMax === undefined ? {} : { memoryBytes: memoryBytesMax }),
    ...(diskBytesMax === undefined ? {} : { diskBytes: diskBytesMax }),
    ...(cpusMax === undefined ? {} : { cpus: cpusMax }),
  };
}

const NO_STATS: WorkStats = {
  downloadMs: 0,
  processMs: 0,
  uploadMs: 0,
  downloadBytes: 0,
  uploadBytes: 0,
};

function count(results: readonly DatumResult[], state: DatumResult['state']): number {
  return results.filter((result) => result.state === state).length;
}

function sumOf(results: readonly DatumResult[]): WorkStats {
  return results.map(({ stats }) => stats).reduce(add, NO_STATS);
}

function add(a: WorkStats, b: WorkStats): WorkStats {
  return {
    downloadMs: a.downloadMs + b.downloadMs,
    processMs: a.processMs + b.processMs,
    uploadMs: a.uploadMs + b.uploadMs,
    downloadBytes: a.downloadBytes + b.downloadBytes,
    uploadBytes: a.uploadBytes + b.uploadBytes,
  };
}
