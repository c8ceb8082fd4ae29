/**
 * What travels without being stored: live log lines, cancellations, questions about what a worker
 * is doing. Lost when nobody listens or the connection is away.
 */
import type { Subscription } from 'nats';
import { BoundedQueue } from '../core/bounded-queue.js';
import { messageOf, unavailable } from '../core/errors.js';
import { addAbortListener } from '../core/signals.js';
import type { Connection, Wait } from './connection.js';
import { decode, encode } from './json.js';
import { cancelSubject, logSubject, statusSubject, type LogLine } from './messages.js';

/** A task that a worker has in its hands. */
export interface RunningTask {
  readonly pipeline: string;
  readonly job: string;
  readonly task: number;
  readonly attempt: number;
  /** Datum at work; empty between datums. */
  readonly datum: string;
  /** Wall time. */
  readonly startedMs: number;
}

export interface WorkerStatus {
  readonly running: readonly RunningTask[];
}

const LINES_MAX = 10_000;
const ASK_MS = 2_000;

/** Sends a line to whoever follows; drops it while there is no connection. */
export function publishLog(connection: Connection, line: LogLine): void {
  if (!connection.connected) return;
  connection.nc.publish(logSubject(line.pipeline, line.job), encode(line));
}

/**
 * Live lines of a job (`*` = of every job of the pipeline). Subscribed when this returns; a reader
 * that falls 10,000 lines behind loses lines. Ends with the signal's reason.
 */
export function followLogs(
  connection: Connection,
  pipeline: string,
  job: string,
  wait: Wait,
): AsyncIterable<LogLine> {
  const { log } = connection.options;
  const lines = new BoundedQueue<LogLine>({ items: LINES_MAX });
  const subscription = connection.nc.subscribe(logSubject(pipeline, job), {
    callback: (error, message) => {
      if (error || lines.length >= LINES_MAX) return;
      try {
        void lines.push(decode<LogLine>(message.data), wait).catch(() => undefined);
      } catch (reason) {
        log.debug({ reason: messageOf(reason) }, 'bad log line');
      }
    },
  });
  const stop = addAbortListener(wait.signal, () => subscription.unsubscribe());
  return (async function* () {
    try {
      for (;;) {
        const line = await lines.shift(wait);
        if (!line) return;
        yield line;
      }
    } finally {
      stop();
      unsubscribe(connection, subscription);
    }
  })();
}

/** Tells every worker to drop the job. */
export async function publishCancel(
  connection: Connection,
  job: string,
  wait?: Wait,
): Promise<void> {
  if (!connection.connected) return;
  const signal = wait?.signal ?? AbortSignal.timeout(ASK_MS);
  connection.nc.publish(cancelSubject(job), encode({ job }));
  await connection.call(() => connection.nc.flush(), { signal }).catch(() => undefined);
}

/** Calls back with the id of every job that is cancelled; returns the function that stops it. */
export function onCancel(connection: Connection, callback: (job: string) => void): () => void {
  const subscription = connection.nc.subscribe(cancelSubject('*'), {
    callback: (error, message) => {
      if (!error) callback(message.subject.slice(cancelSubject('').length));
    },
  });
  return () => unsubscribe(connection, subscription);
}

/** Answers questions about this worker; returns the function that stops it. */
export function serveStatus(
  connection: Connection,
  worker: string,
  status: () => WorkerStatus,
): () => void {
  const subscription = connection.nc.subscribe(statusSubject(worker), {
    callback: (error, message) => {
      if (!error) message.respond(encode(status()));
    },
  });
  return () => unsubscribe(connection, subscription);
}

/** Asks a worker what it is doing; UNAVAILABLE when it does not answer within 2 s. */
export async function askStatus(
  connection: Connection,
  worker: string,
  wait: Wait,
): Promise<WorkerStatus> {
  if (!connection.connected) throw unavailable('no connection to NATS');
  const answer = await connection.call(
    () => connection.nc.request(statusSubject(worker), undefined, { timeout: ASK_MS }),
    wait,
  );
  return decode<WorkerStatus>(answer.data);
}

function unsubscribe(connection: Connection, subscription: Subscription): void {
  if (!connection.nc.isClosed() && !subscription.isClosed()) subscription.unsubscribe();
}
