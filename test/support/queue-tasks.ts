/** Tasks and results as the tests of the queue send and take them. */
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { openQueue, type Queue, type TaskDelivery } from '../../queue/index.js';
import type { TaskMessage, TaskResult } from '../../queue/messages.js';
import type { NatsServer } from './nats.js';

/** Longer than any test of a queue; `wait` is what its calls take. */
const signal = AbortSignal.timeout(280_000);
export const wait = { signal };

export const openTestQueue = async (server: NatsServer): Promise<Queue> =>
  openQueue({ servers: server.url, name: 'test', log: silentLog, clock: systemClock });

export const task = (pipeline: string, job: string, n: number, attempt = 0): TaskMessage => ({
  ...{ pipeline, job, attempt, task: n, version: 1 },
  ...{ spec: 'spec', segment: 'segment', from: n, to: n + 1 },
});
const stats = { downloadMs: 0, processMs: 0, uploadMs: 0, downloadBytes: 0, uploadBytes: 0 };
export const result = (of: TaskMessage, worker = 'w'): TaskResult => ({
  ...{ pipeline: of.pipeline, job: of.job, task: of.task, attempt: of.attempt, worker, stats },
  ...{ details: 'details', processed: 1, failed: 0, recovered: 0 },
});

/** What one pull gives. */
export async function take(q: Queue, pipeline: string, max: number): Promise<TaskDelivery[]> {
  const got: TaskDelivery[] = [];
  for await (const delivery of q.pull(pipeline, { signal, max, expiresMs: 500 })) {
    got.push(delivery);
  }
  return got;
}

/** Reads results until `count` different tasks have one. */
export async function collect(
  q: Queue,
  pipeline: string,
  job: string,
  count: number,
): Promise<number[]> {
  const seen = new Set<number>();
  for await (const item of q.results(pipeline, job, wait)) {
    seen.add(item.result.task);
    if (seen.size === count) break;
  }
  return [...seen].sort((a, b) => a - b);
}

export const numbers = (count: number): number[] => [...Array(count).keys()];
