/**
 * A worker that speaks the real protocol (Join, tasks, runs, details, log segments, results) but
 * runs a function instead of user code, so that scheduling can be tested without sandboxes.
 */
import { promisify } from 'node:util';
import { deflateRaw } from 'node:zlib';
import { systemClock } from '../../../core/clock.js';
import { silentLog } from '../../../core/log.js';
import { abortable } from '../../../core/signals.js';
import type { Scheduler } from '../../../coordinator/scheduling/index.js';
import type { JoinRequest } from '../../../proto/generated/tusk.js';
import type {
  DatumResult,
  JobSpec,
  LogLine,
  TaskMessage,
  TaskResult,
  WorkDatum,
  WorkStats,
} from '../../../queue/messages.js';
import { openQueue, type Queue, type TaskDelivery } from '../../../queue/index.js';
import {
  decodeNode,
  refToText,
  runToText,
  writeRun,
  type ContentWriter,
  type Storage,
} from '../../../storage/index.js';
import type { FileNode, RunOp } from '../../../storage/types.js';

export interface CodeInput {
  readonly spec: JobSpec;
  readonly datum: WorkDatum;
  /** Content of the datum's files by `input:path`; directories are left out. */
  readonly files: ReadonlyMap<string, string>;
  readonly signal: AbortSignal;
  readonly log: (message: string) => void;
}

/** Output files by absolute path. Throwing fails the datum; a RecoveredError recovers it. */
export type Code = (input: CodeInput) => Promise<Record<string, string>> | Record<string, string>;

export class RecoveredError extends Error {}

/** No datum of the pipeline can run anywhere. */
export class UnrunnableError extends Error {}

export interface QueueWorkerOptions {
  readonly id: string;
  readonly slots: number;
  readonly nats: string;
  readonly storage: Storage;
  readonly code: Code;
  readonly labels?: Readonly<Record<string, string>>;
  /** Awaited when a task is stored but not told of, and when it is told of but not acknowledged. */
  readonly at?: (point: 'stored' | 'told', task: TaskMessage) => Promise<void> | void;
}

const deflate = promisify(deflateRaw);
const NO_STATS: WorkStats = {
  downloadMs: 0,
  processMs: 1,
  uploadMs: 0,
  downloadBytes: 0,
  uploadBytes: 0,
};

export class QueueWorker implements AsyncDisposable {
  readonly #stop = new AbortController();
  readonly #pulls = new Map<string, AbortController>();
  readonly #jobs = new Set<string>();
  readonly #running = new Map<string, TaskMessage>();
  readonly ran: string[] = [];
  #unrunnable: string | undefined;
  #work: Promise<unknown>[] = [];

  private constructor(
    readonly options: QueueWorkerOptions,
    readonly queue: Queue,
  ) {}

  static async start(options: QueueWorkerOptions, scheduler: Scheduler): Promise<QueueWorker> {
    const queue = await openQueue({
      servers: options.nats,
      name: options.id,
      log: silentLog,
      clock: systemClock,
    });
    const worker = new QueueWorker(options, queue);
    worker.#work.push(worker.#serveStatus(), worker.#join(scheduler));
    return worker;
  }

  /** Goes away at once, as if killed: nothing is acknowledged or published any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(new Error('the test worker stops'));
    await Promise.allSettled(this.#work);
    await this.queue[Symbol.asyncDispose]();
  }

  async #serveStatus(): Promise<void> {
    const status = () => ({
      running: [...this.#running.values()].map((task) => ({
        pipeline: task.pipeline,
        job: task.job,
        task: task.task,
        attempt: task.attempt,
        datum: '',
        startedMs: 0,
      })),
    });
    const lines = () => Promise.resolve(undefined);
    this.queue.serveWorker(this.options.id, { status, restart: () => 0, lines });
  }

  async #join(scheduler: Scheduler): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        for await (const event of scheduler.join(this.#requests(), { signal })) {
          if (event.assignments) this.#assign(event.assignments.pipelines);
        }
      } catch {
        await systemClock.sleep(100, { signal }).catch(() => undefined);
      }
    }
  }

  async *#requests(): AsyncGenerator<JoinRequest> {
    const { id, slots } = this.options;
    yield {
      hello: {
        workerId: id,
        host: 'here',
        slots,
        cpus: 1,
        memoryBytes: 1,
        gpus: [],
        gpuShare: 1,
        limits: '',
        engine: '',
        diskBytes: 0,
        labels: { ...this.options.labels },
        isolation: 'plain',
        version: '0',
      },
    };
    for (;;) {
      await systemClock.sleep(1_000, this.#stop);
      yield { heartbeat: { busySlots: this.#running.size, running: [] } };
    }
  }

  #assign(pipelines: readonly { pipeline: string; jobs: string[] }[]): void {
    this.#jobs.clear();
    for (const { pipeline, jobs } of pipelines) {
      for (const job of jobs) this.#jobs.add(job);
      if (this.#pulls.has(pipeline)) continue;
      const pull = new AbortController();
      this.#pulls.set(pipeline, pull);
      for (let slot = 0; slot < this.options.slots; slot += 1) {
        this.#work.push(this.#pull(pipeline, pull.signal));
      }
    }
    const wanted = new Set(pipelines.map(({ pipeline }) => pipeline));
    for (const [pipeline, pull] of this.#pulls) {
      if (wanted.has(pipeline)) continue;
      pull.abort(new Error('no longer assigned'));
      this.#pulls.delete(pipeline);
    }
  }

  /** One slot. */
  async #pull(pipeline: string, assigned: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([assigned, this.#stop.signal]);
    while (!signal.aborted) {
      try {
        const wait = { signal, max: 1, expiresMs: 1_000 };
        for await (const delivery of this.queue.pull(pipeline, wait)) {
          await this.#deliver(delivery);
        }
      } catch {
        await systemClock.sleep(50, { signal }).catch(() => undefined);
      }
    }
  }

  async #deliver(delivery: TaskDelivery): Promise<void> {
    const { task } = delivery;
    if (!this.#jobs.has(task.job)) {
      delivery.nak(200);
      return;
    }
    const key = `${task.job}/${task.task}/${task.attempt}`;
    this.#running.set(key, task);
    try {
      await this.#run(task);
      await delivery.ack();
    } catch {
      // Killed or unlucky: the task comes again after its acknowledgement is overdue.
    } finally {
      this.#running.delete(key);
    }
  }

  async #run(task: TaskMessage): Promise<void> {
    const { storage, id } = this.options;
    const { signal } = this.#stop;
    const wait = { signal };
    const spec = await storage.getJson<JobSpec>(task.spec, wait);
    const segment = await storage.getJson<WorkDatum[]>(task.segment, wait);
    const writer = storage.newWriter(wait);
    const ops: RunOp[] = [];
    const lines: LogLine[] = [];
    const datums: DatumResult[] = [];
    for (const datum of segment.slice(task.from, task.to)) {
      datums.push(await this.#datum(task, spec, datum, writer, ops, lines));
    }
    await writer.flush(wait);
    const run = ops.length > 0 ? await writeRun(storage, ops, wait) : undefined;
    const details = await storage.putJson({ datums }, wait);
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join('');
    const log = await storage.putObject('blob', await deflate(text), wait);
    const count = (state: string): number => datums.filter((d) => d.state === state).length;
    const failure = datums.find((d) => d.state === 'failed');
    const unrunnable = this.#unrunnable;
    const result: TaskResult = {
      ...(unrunnable === undefined ? {} : { unrunnable }),
      pipeline: task.pipeline,
      job: task.job,
      task: task.task,
      attempt: task.attempt,
      worker: id,
      details,
      ...(run ? { run: runToText(run) } : {}),
      log: refToText(log),
      processed: count('success'),
      failed: count('failed'),
      recovered: count('recovered'),
      stats: { ...NO_STATS, processMs: datums.length },
      ...(failure
        ? { firstFailure: { datum: failure.id, reason: failure.reason ?? 'unknown' } }
        : {}),
    };
    await this.#pass('stored', task);
    await this.queue.publishResult(result, wait);
    await this.#pass('told', task);
  }

  async #pass(point: 'stored' | 'told', task: TaskMessage): Promise<void> {
    const { signal } = this.#stop;
    signal.throwIfAborted();
    const passed = this.options.at?.(point, task);
    if (passed) await abortable(passed, signal);
  }

  async #datum(
    task: TaskMessage,
    spec: JobSpec,
    datum: WorkDatum,
    writer: ContentWriter,
    ops: RunOp[],
    lines: LogLine[],
  ): Promise<DatumResult> {
    const { pipeline, job, attempt } = task;
    const log = (message: string): void => {
      const at = { ts: Date.now(), pipeline, job, task: task.task, attempt, line: lines.length };
      const line = { ...at, worker: this.options.id, datum: datum.id, user: true, message };
      lines.push(line);
      this.queue.publishLog(line);
    };
    const { index, id, tag } = datum;
    const base = { index, id, tag, tries: 1, stats: NO_STATS };
    this.ran.push(datum.inputs.map((input) => input.path).join('+'));
    try {
      const { signal } = this.#stop;
      const files = await this.#inputs(datum);
      const outputs = Object.entries(await this.options.code({ spec, datum, files, signal, log }));
      signal.throwIfAborted();
      for (const [path, text] of outputs) {
        const content = await writer.writeBytes(Buffer.from(text));
        ops.push({ op: 'append', path, seq: index, content });
      }
      return { ...base, state: 'success', outputs: outputs.length };
    } catch (error) {
      this.#stop.signal.throwIfAborted();
      if (error instanceof UnrunnableError) this.#unrunnable = error.message;
      if (error instanceof RecoveredError) return { ...base, state: 'recovered', outputs: 0 };
      return { ...base, state: 'failed', outputs: 0, reason: (error as Error).message };
    }
  }

  async #inputs(datum: WorkDatum): Promise<Map<string, string>> {
    const files = new Map<string, string>();
    for (const input of datum.inputs) {
      const node = decodeNode(Buffer.from(input.node, 'base64'));
      if (node.type !== 'file') continue;
      files.set(`${input.name}:${input.path}`, await this.#read(node));
    }
    return files;
  }

  async #read(node: FileNode): Promise<string> {
    const parts: Buffer[] = [];
    for await (const part of this.options.storage.read(node, this.#stop)) parts.push(part);
    return Buffer.concat(parts).toString();
  }
}
