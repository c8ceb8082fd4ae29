/** Publishing tasks and taking them: one subject per pipeline and job, one consumer per pipeline. */
import { nanos, type JetStreamClient } from 'nats';
import { messageOf } from '../core/errors.js';
import { Semaphore } from '../core/semaphore.js';
import type { Acks } from './acks.js';
import { CALL_MS, streamMissing, type Connection, type Wait } from './connection.js';
import { decode, encode } from './json.js';
import { STREAM_TASKS, taskSubject, type TaskMessage } from './messages.js';
import { pull, type Delivery } from './pull.js';
import { consumerName } from './purge.js';
import type { Streams } from './streams.js';

/** A task in this worker's hands until `ack`, `nak`, or silence for the ack wait. */
export interface TaskDelivery {
  readonly task: TaskMessage;
  /** How often it was handed out before; grows when workers die over it. */
  readonly redeliveries: number;
  /** Done: it will not come again (if the message is lost it may: that is harmless). */
  ack(): Promise<void>;
  /** Not done; hand it out again after `delayMs`. */
  nak(delayMs: number): void;
  /** Still at it: extends the ack wait. Call every third of it. */
  working(): void;
}

const IN_FLIGHT_MAX = 256;
/** Pause before asking again after the consumer was not there. */
const GONE_PAUSE_MS = 300;

/** Publishes every task, each until the server has confirmed it; doubles are dropped by message id. */
export async function publishTasks(
  connection: Connection,
  streams: Streams,
  tasks: readonly TaskMessage[],
  wait: Wait,
): Promise<void> {
  const pipelines = new Set(tasks.map((task) => task.pipeline));
  await streams.traffic.publishing(pipelines, () => publishAll(connection, streams, tasks, wait));
}

async function publishAll(
  connection: Connection,
  streams: Streams,
  tasks: readonly TaskMessage[],
  wait: Wait,
): Promise<void> {
  const js = connection.nc.jetstream({ timeout: CALL_MS });
  const room = new Semaphore(IN_FLIGHT_MAX);
  const failed = new AbortController();
  const signal = AbortSignal.any([wait.signal, failed.signal]);
  const running = new Set<Promise<void>>();
  for (const task of tasks) {
    if (signal.aborted) break;
    await room.acquire({ signal }).catch(() => undefined);
    if (signal.aborted) break;
    const msgID = `${task.pipeline}/${task.job}/${task.attempt}/${task.task}`;
    const one = publishUntilStored(
      { connection, streams, js },
      { subject: taskSubject(task.pipeline, task.job), msgID, body: encode(task) },
      { signal },
    )
      .catch((error: unknown) => failed.abort(error))
      .finally(() => {
        running.delete(one);
        room.release();
      });
    running.add(one);
  }
  await Promise.all(running);
  signal.throwIfAborted();
}

/** Publishes one message until the server has stored it; makes a missing stream anew. */
export async function publishUntilStored(
  deps: { connection: Connection; streams: Streams; js: JetStreamClient },
  message: { subject: string; msgID: string; body: Uint8Array },
  wait: Wait,
): Promise<void> {
  const { connection, streams, js } = deps;
  await connection.retry(async () => {
    try {
      await js.publish(message.subject, message.body, { msgID: message.msgID, timeout: CALL_MS });
    } catch (error) {
      if (streamMissing(error) && connection.connected) {
        await streams.ensure(wait).catch(() => undefined);
      }
      throw error;
    }
  }, wait);
}

/**
 * Takes up to `max` tasks, waiting at most `expiresMs` for them; ends by itself (also early, when
 * the connection is in doubt): call again. Never throws for a server that is away.
 */
export async function* pullTasks(
  connection: Connection,
  acks: Acks,
  pipeline: string,
  o: Wait & { readonly max: number; readonly expiresMs: number },
): AsyncGenerator<TaskDelivery> {
  const { clock, log } = connection.options;
  const deliveries = pull(connection, {
    stream: STREAM_TASKS,
    consumer: consumerName(pipeline),
    ...o,
  });
  try {
    for (;;) {
      const next = await deliveries.next();
      if (next.done) {
        if (next.value !== 'full' && next.value !== 'expired') {
          await clock.sleep(Math.min(GONE_PAUSE_MS, o.expiresMs), o);
        }
        return;
      }
      const delivery = toDelivery(connection, acks, next.value);
      if (delivery) yield delivery;
      else log.error({ pipeline }, 'a task message can not be read; dropped');
    }
  } finally {
    await deliveries.return('gone');
  }
}

function toDelivery(
  connection: Connection,
  acks: Acks,
  delivery: Delivery,
): TaskDelivery | undefined {
  const { message } = delivery;
  const { nc, options } = connection;
  const say = (word: string): void => {
    if (!nc.isClosed()) message.respond(new TextEncoder().encode(word));
  };
  let task: TaskMessage;
  try {
    task = decode<TaskMessage>(message.data);
  } catch (error) {
    options.log.debug({ reason: messageOf(error) }, 'bad task message');
    say('+TERM');
    return undefined;
  }
  return {
    task,
    redeliveries: delivery.deliveries - 1,
    ack: async () => {
      if (message.reply) await acks.acknowledge(message.reply);
    },
    nak: (delayMs) => say(`-NAK ${JSON.stringify({ delay: nanos(delayMs) })}`),
    working: () => say('+WPI'),
  };
}
