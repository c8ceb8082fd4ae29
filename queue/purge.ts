/**
 * Removing the tasks of a job that has ended.
 *
 * A purge by subject moves every consumer whose filter covers the subject to the end of the stream
 * (nats-server 2.9.10, tried): tasks of other jobs of the pipeline that wait or are in hand would
 * never come (again). So:
 *
 * G1  A purge happens only when no other task of the pipeline is left to do: the consumer is idle
 *     (then all of the pipeline's tasks go), or the job is the only one with tasks in the stream.
 * G2  Otherwise the job's messages are deleted one by one, at most 2,000 of them.
 * G3  Within this process nothing is published for the pipeline while it is purged (Traffic);
 *     another process that does so at the same moment finds the tasks missing and publishes again.
 */
import type { JetStreamManager } from 'nats';
import { decode } from './json.js';
import { STREAM_TASKS, taskSubject, type TaskMessage } from './messages.js';

const DELETE_MAX = 2_000;

export const consumerName = (pipeline: string): string => `p_${pipeline}`;

/**
 * Removes the job's tasks where that is safe at once (G1); `alone` = nothing is being published for
 * the pipeline. False when they have to go one by one.
 */
export async function purgeTasks(
  jsm: JetStreamManager,
  o: { readonly pipeline: string; readonly job: string; readonly alone: boolean },
): Promise<boolean> {
  const own = taskSubject(o.pipeline, o.job);
  const all = taskSubject(o.pipeline, '*');
  const consumer = await jsm.consumers.info(STREAM_TASKS, consumerName(o.pipeline));
  const { state } = await jsm.streams.info(STREAM_TASKS, { subjects_filter: all });
  const subjects = Object.keys(state.subjects ?? {});
  if (!subjects.includes(own)) return true;
  const idle = consumer.num_pending === 0 && consumer.num_ack_pending === 0;
  if (!o.alone || !(idle || subjects.length === 1)) return false;
  // Only what was there when we looked.
  await jsm.streams.purge(STREAM_TASKS, { filter: all, seq: state.last_seq + 1 });
  return true;
}

/** Removes the job's tasks one by one (G2), whatever is published meanwhile. */
export async function deleteTasks(
  jsm: JetStreamManager,
  o: { readonly pipeline: string; readonly job: string },
): Promise<void> {
  const subject = taskSubject(o.pipeline, o.job);
  let from = 1;
  for (let count = 0; count < DELETE_MAX; count += 1) {
    const found = await next(jsm, subject, from);
    if (found === undefined) return;
    await jsm.streams.deleteMessage(STREAM_TASKS, found, false);
    from = found + 1;
  }
}

/**
 * Deletes the messages of some tasks of a running job, delivered or not: nobody gets them (again).
 * Looks at every message of the job.
 */
export async function dropTasks(
  jsm: JetStreamManager,
  o: { readonly pipeline: string; readonly job: string; readonly tasks: ReadonlySet<number> },
): Promise<void> {
  const subject = taskSubject(o.pipeline, o.job);
  let from = 1;
  for (;;) {
    const found = await nextMessage(jsm, subject, from);
    if (!found) return;
    const { task } = decode<TaskMessage>(found.data);
    if (o.tasks.has(task)) await jsm.streams.deleteMessage(STREAM_TASKS, found.seq, false);
    from = found.seq + 1;
  }
}

/** Sequence of the first message of the subject from `from` on. */
async function next(
  jsm: JetStreamManager,
  subject: string,
  from: number,
): Promise<number | undefined> {
  return (await nextMessage(jsm, subject, from))?.seq;
}

async function nextMessage(
  jsm: JetStreamManager,
  subject: string,
  from: number,
): Promise<{ readonly seq: number; readonly data: Uint8Array } | undefined> {
  try {
    // The server answers `next_by_subj` here too; the client's type knows it for direct gets only.
    const query = { seq: from, next_by_subj: subject };
    return await jsm.streams.getMessage(STREAM_TASKS, query);
  } catch (error) {
    const api = (error as { api_error?: { err_code?: number } }).api_error;
    if (api?.err_code === NO_MESSAGE || String((error as { code?: unknown }).code) === '404') {
      return undefined;
    }
    throw error;
  }
}

const NO_MESSAGE = 10_037;

interface Lane {
  publishing: number;
  purge: Promise<unknown> | undefined;
}

/** Who publishes for a pipeline and who purges it, in this process (G3). */
export class Traffic {
  readonly #lanes = new Map<string, Lane>();

  /** Runs `work` while no purge of the pipelines runs. */
  async publishing<T>(pipelines: ReadonlySet<string>, work: () => Promise<T>): Promise<T> {
    for (const name of pipelines) {
      for (let lane = this.#lanes.get(name); lane?.purge; lane = this.#lanes.get(name)) {
        await lane.purge.catch(() => undefined);
      }
    }
    for (const name of pipelines) this.#lane(name).publishing += 1;
    try {
      return await work();
    } finally {
      for (const name of pipelines) {
        this.#lane(name).publishing -= 1;
        this.#tidy(name);
      }
    }
  }

  /** Runs one purge of the pipeline at a time; `alone` = nothing is published meanwhile. */
  async purging<T>(pipeline: string, work: (alone: boolean) => Promise<T>): Promise<T> {
    for (let lane = this.#lanes.get(pipeline); lane?.purge; lane = this.#lanes.get(pipeline)) {
      await lane.purge.catch(() => undefined);
    }
    const lane = this.#lane(pipeline);
    const running = work(lane.publishing === 0);
    // Purges take milliseconds; publishing waits for them only in the first case.
    lane.purge = running;
    try {
      return await running;
    } finally {
      lane.purge = undefined;
      this.#tidy(pipeline);
    }
  }

  #lane(pipeline: string): Lane {
    let lane = this.#lanes.get(pipeline);
    if (!lane) {
      lane = { publishing: 0, purge: undefined };
      this.#lanes.set(pipeline, lane);
    }
    return lane;
  }

  #tidy(pipeline: string): void {
    const lane = this.#lanes.get(pipeline);
    if (lane && lane.publishing === 0 && !lane.purge) this.#lanes.delete(pipeline);
  }
}
