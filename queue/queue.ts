/**
 * The queue between coordinators and workers, on NATS JetStream. What it holds are hints: progress
 * and results count only once they are in etcd and the object store, so losing everything here
 * costs time and nothing else.
 */
import type { JetStreamClient } from 'nats';
import { Acks } from './acks.js';
import {
  askLines,
  askRestart,
  askStatus,
  serveWorker,
  type LinesRequest,
  type RestartRequest,
  type WorkerAnswers,
  type WorkerStatus,
} from './ask-worker.js';
import {
  followLogs,
  onCancel,
  onProgress,
  publishCancel,
  publishLog,
  publishProgress,
  type TaskProgress,
} from './broadcast.js';
import {
  CALL_MS,
  openConnection,
  type Connection,
  type QueueOptions,
  type Wait,
} from './connection.js';
import { encode } from './json.js';
import { LogSender } from './log-sender.js';
import type { LogRow } from './log-text.js';
import {
  resultSubject,
  type LinesSoFar,
  type LogLine,
  type LogSource,
  type TaskMessage,
  type TaskResult,
} from './messages.js';
import { readResults, type ResultItem } from './results.js';
import { Streams, type Backlog, type PipelineLimits } from './streams.js';
import { publishTasks, publishUntilStored, pullTasks, type TaskDelivery } from './tasks.js';

export class Queue implements AsyncDisposable {
  readonly #connection: Connection;
  readonly #streams: Streams;
  readonly #js: JetStreamClient;
  readonly #logs: LogSender;
  readonly #acks: Acks;

  /** @internal Use `openQueue`. */
  constructor(connection: Connection) {
    this.#connection = connection;
    this.#streams = new Streams(connection);
    this.#acks = new Acks(connection);
    this.#js = connection.nc.jetstream({ timeout: CALL_MS });
    this.#logs = new LogSender({
      clock: connection.options.clock,
      send: (subject, text) => publishLog(connection, subject, text),
    });
  }

  /** False while it is reconnecting. */
  get connected(): boolean {
    return this.#connection.connected;
  }

  /** Makes the streams that are missing. */
  async ensureStreams(wait: Wait): Promise<void> {
    await this.#streams.ensure(wait);
  }

  /** Makes the pipeline's consumer, or changes its limits. */
  async ensurePipeline(pipeline: string, limits: PipelineLimits, wait: Wait): Promise<void> {
    await this.#streams.ensurePipeline(pipeline, limits, wait);
  }

  /** Removes the pipeline's consumer and everything stored for it. */
  async deletePipeline(pipeline: string, wait: Wait): Promise<void> {
    await this.#streams.deletePipeline(pipeline, wait);
  }

  /** Removes the job's tasks and results. */
  async purgeJob(pipeline: string, job: string, wait: Wait): Promise<void> {
    await this.#streams.purgeJob(pipeline, job, wait);
  }

  /** Takes tasks of a running job out of the queue, also those in the hands of a dead worker. */
  async dropTasks(
    o: { readonly pipeline: string; readonly job: string; readonly tasks: ReadonlySet<number> },
    wait: Wait,
  ): Promise<void> {
    await this.#streams.dropTasks(o, wait);
  }

  /**
   * What waits in the pipeline's queue. Streams and consumer that are gone are made anew first;
   * then `streamCreated` differs from what it was.
   */
  async backlog(pipeline: string, wait: Wait): Promise<Backlog> {
    return this.#streams.backlog(pipeline, wait);
  }

  /** Returns when every task is stored; tries until the signal aborts. */
  async publishTasks(tasks: readonly TaskMessage[], wait: Wait): Promise<void> {
    await publishTasks(this.#connection, this.#streams, tasks, wait);
  }

  /** Takes up to `max` tasks within `expiresMs`; ends by itself, call it again. */
  pull(
    pipeline: string,
    o: Wait & { readonly max: number; readonly expiresMs: number },
  ): AsyncIterable<TaskDelivery> {
    return pullTasks(this.#connection, this.#acks, pipeline, o);
  }

  /** Returns when the result is stored; tries until the signal aborts. */
  async publishResult(result: TaskResult, wait: Wait): Promise<void> {
    // Who sees the result may take it that all lines before it were sent.
    this.#logs.flush();
    await publishUntilStored(
      { connection: this.#connection, streams: this.#streams, js: this.#js },
      {
        subject: resultSubject(result.pipeline, result.job),
        msgID: `${result.pipeline}/${result.job}/${result.task}/${result.attempt}/${result.worker}`,
        body: encode(result),
      },
      wait,
    );
  }

  /** Results of a job in stored order, from `fromSequence` on; endless. */
  results(
    pipeline: string,
    job: string,
    o: Wait & { readonly fromSequence?: number },
  ): AsyncIterable<ResultItem> {
    return readResults(this.#connection, this.#streams, pipeline, job, o);
  }

  /** Sends a line to whoever follows, soon. */
  publishLog(line: LogLine): void {
    this.#logs.add(line, JSON.stringify(line));
  }

  /** Sends a line as text: what it shares with those before and after it, and its own part. */
  publishLogRow(source: LogSource, row: LogRow, shared: LogRow): void {
    this.#logs.add(source, row, shared);
  }

  /** Live lines of a job, or of every job of the pipeline (`*`); subscribed when this returns. */
  followLogs(pipeline: string, job: string, wait: Wait): AsyncIterable<LogLine> {
    return followLogs(this.#connection, pipeline, job, wait);
  }

  async publishCancel(job: string, wait?: Wait): Promise<void> {
    await publishCancel(this.#connection, job, wait);
  }

  /** Calls back with every job that is cancelled; returns the function that stops it. */
  onCancel(callback: (job: string) => void): () => void {
    return onCancel(this.#connection, callback);
  }

  publishProgress(job: string, progress: TaskProgress): void {
    publishProgress(this.#connection, job, progress);
  }

  /** Calls back with how far tasks of the job are; returns the function that stops it. */
  onProgress(job: string, callback: (progress: TaskProgress) => void): () => void {
    return onProgress(this.#connection, job, callback);
  }

  /** Answers questions to this worker; returns the function that stops it. */
  serveWorker(worker: string, answers: WorkerAnswers): () => void {
    return serveWorker(this.#connection, worker, answers);
  }

  async askStatus(worker: string, wait: Wait): Promise<WorkerStatus> {
    return askStatus(this.#connection, worker, wait);
  }

  /** Cancels tries of datums on a worker; answers how many. */
  async askRestart(worker: string, request: RestartRequest, wait: Wait): Promise<number> {
    return askRestart(this.#connection, worker, request, wait);
  }

  /** The log so far of a task that a worker has; undefined when it has it no more. */
  async askLines(
    worker: string,
    request: LinesRequest,
    wait: Wait,
  ): Promise<LinesSoFar | undefined> {
    return askLines(this.#connection, worker, request, wait);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#logs.flush();
    await this.#connection[Symbol.asyncDispose]();
  }
}

/** Connects to NATS. Throws UNAVAILABLE when no server answers for 15 s. */
export async function openQueue(options: QueueOptions, wait?: Wait): Promise<Queue> {
  return new Queue(await openConnection(options, wait));
}
