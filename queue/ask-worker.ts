/**
 * Questions to one worker that are answered at once: what it is doing, to try a datum again, and
 * the log so far of a task in its hands.
 */
import type { Subscription } from 'nats';
import { messageOf, unavailable } from '../core/errors.js';
import type { Connection, Wait } from './connection.js';
import { decode, encode } from './json.js';
import { linesSubject, restartSubject, statusSubject, type LinesSoFar } from './messages.js';
import type { WorkStats } from './messages.js';

/** A task that a worker has in its hands. */
export interface RunningTask {
  readonly pipeline: string;
  readonly job: string;
  readonly task: number;
  readonly attempt: number;
  /** Datum at work; empty between datums. */
  readonly datum: string;
  /** Wall time when the datum (or, before it, the task) began. */
  readonly startedMs: number;
  /** Path and base64 hash of the datum's files. */
  readonly data?: readonly { readonly path: string; readonly hash: string }[];
  /** Datums of the task that wait for this one. */
  readonly queueSize?: number;
  /** Datums of the task that are done. */
  readonly processed?: number;
  readonly recovered?: number;
  /** Of the datum so far. */
  readonly stats?: WorkStats;
}

/** A task that the worker could not do, and why; it is tried again. */
export interface GivenBackTask {
  readonly job: string;
  readonly reason: string;
}

export interface WorkerStatus {
  readonly running: readonly RunningTask[];
  /** Those of the last moments, one of each job. */
  readonly givenBack?: readonly GivenBackTask[];
}

/** Datums of a job to cancel the present try of. */
export interface RestartRequest {
  readonly job: string;
  /** Each must equal the path or the hash (base64 or hex) of one of the datum's files. */
  readonly filters: readonly string[];
}

export interface LinesRequest {
  readonly job: string;
  readonly task: number;
  readonly attempt: number;
  readonly from: number;
}

/** What a worker answers; a task it does not have is `undefined`. */
export interface WorkerAnswers {
  status(): WorkerStatus;
  /** The number of datums whose try was cancelled. */
  restart(request: RestartRequest): number;
  lines(request: LinesRequest): Promise<LinesSoFar | undefined>;
}

const ASK_MS = 2_000;

/** Answers questions to this worker; returns the function that stops it. */
export function serveWorker(
  connection: Connection,
  worker: string,
  answers: WorkerAnswers,
): () => void {
  const { log } = connection.options;
  const serve = (subject: string, answer: (body: Uint8Array) => unknown): Subscription =>
    connection.nc.subscribe(subject, {
      callback: (error, message) => {
        if (error) return;
        void (async () => {
          try {
            message.respond(encode(await answer(message.data)));
          } catch (reason) {
            log.debug({ subject, reason: messageOf(reason) }, 'a question was not answered');
          }
        })();
      },
    });
  const subscriptions = [
    serve(statusSubject(worker), () => answers.status()),
    serve(restartSubject(worker), (body) => ({
      restarted: answers.restart(decode<RestartRequest>(body)),
    })),
    serve(linesSubject(worker), async (body) => ({
      lines: await answers.lines(decode<LinesRequest>(body)),
    })),
  ];
  return () => {
    for (const one of subscriptions) {
      if (!connection.nc.isClosed() && !one.isClosed()) one.unsubscribe();
    }
  };
}

/** Asks a worker what it is doing; UNAVAILABLE when it does not answer within 2 s. */
export function askStatus(
  connection: Connection,
  worker: string,
  wait: Wait,
): Promise<WorkerStatus> {
  return ask<WorkerStatus>(connection, statusSubject(worker), undefined, wait);
}

/** Has a worker cancel tries; answers how many. */
export async function askRestart(
  connection: Connection,
  worker: string,
  request: RestartRequest,
  wait: Wait,
): Promise<number> {
  const subject = restartSubject(worker);
  return (await ask<{ restarted: number }>(connection, subject, request, wait)).restarted;
}

/** Log lines of a task in a worker's hands; undefined when it has it no more. */
export async function askLines(
  connection: Connection,
  worker: string,
  request: LinesRequest,
  wait: Wait,
): Promise<LinesSoFar | undefined> {
  const subject = linesSubject(worker);
  return (await ask<{ lines?: LinesSoFar }>(connection, subject, request, wait)).lines;
}

async function ask<T>(
  connection: Connection,
  subject: string,
  body: unknown,
  wait: Wait,
): Promise<T> {
  if (!connection.connected) throw unavailable('no connection to NATS');
  const bytes = body === undefined ? undefined : encode(body);
  const answer = await connection.call(
    () => connection.nc.request(subject, bytes, { timeout: ASK_MS }),
    wait,
  );
  return decode<T>(answer.data);
}
