/**
 * Reading the results of a job in the order they were stored, for as long as the reader likes.
 *
 * S1  Resumes after the last sequence it yielded, through reconnects and restarts of the server:
 *     nothing is skipped while the stream lives; an item may come twice only across a call with an
 *     older `fromSequence`.
 * S2  A stream that was made anew (other creation time) is read from its first message; every item
 *     names the stream it came from.
 */
import { randomUUID } from 'node:crypto';
import { AckPolicy, DeliverPolicy, nanos, type StreamInfo } from 'nats';
import { messageOf } from '../core/errors.js';
import { streamMissing, type Connection, type Wait } from './connection.js';
import { decode } from './json.js';
import { resultSubject, STREAM_RESULTS, type TaskResult } from './messages.js';
import { pull } from './pull.js';
import type { Streams } from './streams.js';

export interface ResultItem {
  readonly sequence: number;
  readonly result: TaskResult;
  /** Creation time of the stream it was read from. */
  readonly streamCreated: string;
}

const BATCH = 500;
const EXPIRES_MS = 10_000;
/** The server forgets a reader that has not asked for so long. */
const INACTIVE_MS = 60_000;

/** Endless; ends with the signal's reason. */
export async function* readResults(
  connection: Connection,
  streams: Streams,
  pipeline: string,
  job: string,
  o: Wait & { readonly fromSequence?: number },
): AsyncGenerator<ResultItem> {
  const { log } = connection.options;
  let next = o.fromSequence ?? 1;
  let created: string | undefined;
  for (;;) {
    const info = await connection.retry(() => streamInfo(streams, o), o);
    const anew = created !== undefined && created !== info.created;
    if (anew || next > info.state.last_seq + 1) next = 1;
    created = info.created;
    const consumer = await connection.retry(
      () => openConsumer(streams, resultSubject(pipeline, job), next),
      o,
    );
    let expected = 1;
    for (let alive = true; alive;) {
      const batch = pull(connection, {
        stream: STREAM_RESULTS,
        consumer,
        max: BATCH,
        expiresMs: EXPIRES_MS,
        signal: o.signal,
      });
      for (;;) {
        const item = await batch.next();
        if (item.done) {
          alive = item.value === 'full' || item.value === 'expired';
          break;
        }
        if (item.value.consumerSequence !== expected) {
          // Something in between was lost on the way: read again from there.
          alive = false;
          await batch.return('gone');
          break;
        }
        expected += 1;
        const sequence = item.value.streamSequence;
        next = sequence + 1;
        try {
          const result = decode<TaskResult>(item.value.message.data);
          yield { sequence, result, streamCreated: created };
        } catch (error) {
          if (!(error instanceof SyntaxError)) throw error;
          log.error(
            { job, sequence, reason: messageOf(error) },
            'a result can not be read; dropped',
          );
        }
      }
    }
  }
}

async function streamInfo(streams: Streams, wait: Wait): Promise<StreamInfo> {
  const jsm = await streams.manager();
  try {
    return await jsm.streams.info(STREAM_RESULTS);
  } catch (error) {
    if (!streamMissing(error)) throw error;
    await streams.ensure(wait);
    return jsm.streams.info(STREAM_RESULTS);
  }
}

/** A short-lived consumer in the server's memory; its name. */
async function openConsumer(streams: Streams, subject: string, from: number): Promise<string> {
  const jsm = await streams.manager();
  const info = await jsm.consumers.add(STREAM_RESULTS, {
    name: `results_${randomUUID()}`,
    filter_subject: subject,
    ack_policy: AckPolicy.None,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: from,
    inactive_threshold: nanos(INACTIVE_MS),
    mem_storage: true,
    num_replicas: 1,
    max_waiting: 4,
  });
  return info.name;
}
