/**
 * The two JetStream streams and the pipelines' consumers on the first. They hold hints only: a
 * stream that is missing (a wiped store) is made again, and its creation time tells that it is new.
 */
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  nanos,
  RetentionPolicy,
  StorageType,
  type ConsumerConfig,
  type JetStreamManager,
  type StreamConfig,
} from 'nats';
import { notFound } from '../core/errors.js';
import {
  CALL_MS,
  consumerMissing,
  streamMissing,
  type Connection,
  type Wait,
} from './connection.js';
import { resultSubject, STREAM_RESULTS, STREAM_TASKS, taskSubject } from './messages.js';
import { consumerName, deleteTasks, dropTasks, purgeTasks, Traffic } from './purge.js';

export interface PipelineLimits {
  /** Tasks of the pipeline that workers may hold at once. */
  readonly inFlightMax: number;
  /** A task is handed out again when nobody speaks of it for so long; 30 s. */
  readonly ackWaitMs?: number;
}

export interface Backlog {
  /** Tasks that nobody has. */
  readonly pending: number;
  /** Tasks handed out and not done. */
  readonly inFlight: number;
  /** Changes when the streams were made anew: what had been published is gone. */
  readonly streamCreated: string;
}

const ACK_WAIT_MS = 30_000;
const DAY_MS = 86_400_000;
/** Standing requests for tasks; the server's default refuses the 513th. */
const MAX_WAITING = 10_000;

const streamConfig = (name: string, subject: string): Partial<StreamConfig> => ({
  name,
  subjects: [subject],
  retention: RetentionPolicy.Limits,
  storage: StorageType.File,
  discard: DiscardPolicy.New,
  max_age: nanos(7 * DAY_MS),
  duplicate_window: nanos(120_000),
});

export class Streams {
  readonly #connection: Connection;
  /** Keeps publishing and purging of a pipeline apart. */
  readonly traffic = new Traffic();
  readonly #limits = new Map<string, PipelineLimits>();
  #manager: Promise<JetStreamManager> | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Makes the streams that are missing. */
  async ensure(wait: Wait): Promise<void> {
    await this.#connection.manage(() => this.#ensureStreams(), wait);
  }

  /** Makes or changes the pipeline's consumer. */
  async ensurePipeline(pipeline: string, limits: PipelineLimits, wait: Wait): Promise<void> {
    this.#limits.set(pipeline, limits);
    await this.#connection.manage(() => this.#ensureConsumer(pipeline, limits), wait);
  }

  async deletePipeline(pipeline: string, wait: Wait): Promise<void> {
    this.#limits.delete(pipeline);
    await this.#connection.manage(async () => {
      const jsm = await this.manager();
      try {
        await jsm.consumers.delete(STREAM_TASKS, consumerName(pipeline));
      } catch (error) {
        if (!consumerMissing(error) && !streamMissing(error)) throw error;
      }
      await this.#purge(jsm, STREAM_TASKS, taskSubject(pipeline, '*'));
      await this.#purge(jsm, STREAM_RESULTS, resultSubject(pipeline, '*'));
    }, wait);
  }

  /**
   * Removes the job's results, and its tasks as far as that is safe (purge.ts); what stays is
   * dropped by workers and goes with a later purge.
   */
  async purgeJob(pipeline: string, job: string, wait: Wait): Promise<void> {
    await this.#connection.manage(async () => {
      const jsm = await this.manager();
      await this.#purge(jsm, STREAM_RESULTS, resultSubject(pipeline, job));
      try {
        const gone = await this.traffic.purging(pipeline, (alone) =>
          purgeTasks(jsm, { pipeline, job, alone }),
        );
        // Other jobs of the pipeline need not wait for this.
        if (!gone) await deleteTasks(jsm, { pipeline, job });
      } catch (error) {
        if (!streamMissing(error) && !consumerMissing(error)) throw error;
      }
    }, wait);
  }

  /** Takes tasks of a running job out of the queue, also those in the hands of a dead worker. */
  async dropTasks(
    o: { readonly pipeline: string; readonly job: string; readonly tasks: ReadonlySet<number> },
    wait: Wait,
  ): Promise<void> {
    await this.#connection.manage(async () => {
      await dropTasks(await this.manager(), o).catch((error: unknown) => {
        if (!streamMissing(error)) throw error;
      });
    }, wait);
  }

  /** What waits; makes streams and consumer again if they are gone. */
  async backlog(pipeline: string, wait: Wait): Promise<Backlog> {
    return this.#connection.manage(async () => {
      const jsm = await this.manager();
      const read = async (): Promise<Backlog> => {
        const [tasks, results, consumer] = await Promise.all([
          jsm.streams.info(STREAM_TASKS),
          jsm.streams.info(STREAM_RESULTS),
          jsm.consumers.info(STREAM_TASKS, consumerName(pipeline)),
        ]);
        return {
          pending: consumer.num_pending,
          inFlight: consumer.num_ack_pending,
          streamCreated: `${tasks.created}/${results.created}`,
        };
      };
      try {
        return await read();
      } catch (error) {
        if (!streamMissing(error) && !consumerMissing(error)) throw error;
        const limits = this.#limits.get(pipeline);
        if (!limits) throw notFound(`the queue has no pipeline "${pipeline}"`, { cause: error });
        await this.#ensureConsumer(pipeline, limits);
        return read();
      }
    }, wait);
  }

  /** JetStream's management calls; each with the usual deadline. */
  async manager(): Promise<JetStreamManager> {
    this.#manager ??= this.#connection.nc
      .jetstreamManager({ timeout: CALL_MS, checkAPI: false })
      .catch((error: unknown) => {
        this.#manager = undefined;
        throw error;
      });
    return this.#manager;
  }

  async #ensureStreams(): Promise<void> {
    const jsm = await this.manager();
    for (const [name, subject] of [
      [STREAM_TASKS, 't.>'],
      [STREAM_RESULTS, 'r.>'],
    ] as const) {
      const config = streamConfig(name, subject);
      try {
        await jsm.streams.info(name);
      } catch (error) {
        if (!streamMissing(error)) throw error;
        await jsm.streams.add(config);
      }
    }
  }

  async #ensureConsumer(pipeline: string, limits: PipelineLimits): Promise<void> {
    const jsm = await this.manager();
    const name = consumerName(pipeline);
    const wanted = {
      ack_wait: nanos(limits.ackWaitMs ?? ACK_WAIT_MS),
      max_ack_pending: Math.max(1, limits.inFlightMax),
    };
    const full: Partial<ConsumerConfig> = {
      durable_name: name,
      filter_subject: taskSubject(pipeline, '*'),
      ack_policy: AckPolicy.Explicit,
      deliver_policy: DeliverPolicy.All,
      max_deliver: -1,
      max_waiting: MAX_WAITING,
      ...wanted,
    };
    for (let attempt = 1; ; attempt += 1) {
      try {
        const { config } = await jsm.consumers.info(STREAM_TASKS, name);
        const same =
          config.ack_wait === wanted.ack_wait && config.max_ack_pending === wanted.max_ack_pending;
        if (!same) await jsm.consumers.update(STREAM_TASKS, name, wanted);
        return;
      } catch (error) {
        if (attempt > 3 || !(streamMissing(error) || consumerMissing(error))) throw error;
        await this.#ensureStreams();
        // Another process may make it at the same moment: then the next round finds it.
        await jsm.consumers.add(STREAM_TASKS, full).catch((cause: unknown) => {
          if (attempt > 2) throw cause;
        });
      }
    }
  }

  async #purge(jsm: JetStreamManager, stream: string, filter: string): Promise<void> {
    try {
      await jsm.streams.purge(stream, { filter });
    } catch (error) {
      if (!streamMissing(error)) throw error;
    }
  }
}
