/**
 * What travels without being stored: live log lines, cancellations, news of progress. Lost when nobody listens or the connection is away.
 */
import type { Subscription } from 'nats';
import { BoundedQueue } from '../core/bounded-queue.js';
import { messageOf } from '../core/errors.js';
import { addAbortListener } from '../core/signals.js';
import type { Connection, Wait } from './connection.js';
import { decode, decodeText, encode, encodeText } from './json.js';
import { linesOf } from './log-text.js';
import { cancelSubject, logSubject, progressSubject, type LogLine } from './messages.js';

/** How far a worker is with a task of several datums. */
export interface TaskProgress {
  readonly task: number;
  readonly processed: number;
  readonly failed: number;
  readonly recovered: number;
}

const LINES_MAX = 10_000;
const ASK_MS = 2_000;

/** Sends lines of a job to whoever follows; drops them while there is no connection. */
export function publishLog(connection: Connection, subject: string, lines: string): void {
  if (connection.connected) connection.nc.publish(subject, encodeText(lines));
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
        for (const line of linesOf(decodeText(message.data))) {
          void lines.push(line, wait).catch(() => undefined);
        }
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

/** Tells the owner of the job how far a task is; lost when nobody listens. */
export function publishProgress(connection: Connection, job: string, progress: TaskProgress): void {
  if (connection.connected) connection.nc.publish(progressSubject(job), encode(progress));
}

/** Calls back with every news of the job's tasks; returns the function that stops it. */
export function onProgress(
  connection: Connection,
  job: string,
  callback: (progress: TaskProgress) => void,
): () => void {
  const subscription = connection.nc.subscribe(progressSubject(job), {
    callback: (error, message) => {
      if (!error) callback(decode<TaskProgress>(message.data));
    },
  });
  return () => unsubscribe(connection, subscription);
}

function unsubscribe(connection: Connection, subscription: Subscription): void {
  if (!connection.nc.isClosed() && !subscription.isClosed()) subscription.unsubscribe();
}
