/** The queue against a real nats-server; test/faults/queue.test.ts troubles that server. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { openQueue, type Queue } from '../../queue/index.js';
import type { LogLine } from '../../queue/messages.js';
import { startNats, type NatsServer } from '../support/nats.js';
import {
  collect,
  numbers,
  openTestQueue,
  result,
  take,
  task,
  wait,
} from '../support/queue-tasks.js';
import { until } from '../support/until.js';

const { signal } = wait;
let nats: NatsServer;
let queue: Queue;

/** Takes tasks until `count` different ones were seen, acknowledging each. */
async function drain(q: Queue, pipeline: string, count: number): Promise<number[]> {
  const seen = new Set<number>();
  while (seen.size < count) {
    for await (const delivery of q.pull(pipeline, { signal, max: 32, expiresMs: 500 })) {
      seen.add(delivery.task.task);
      await q.publishResult(result(delivery.task), wait);
      await delivery.ack();
    }
  }
  return [...seen].sort((a, b) => a - b);
}

beforeAll(async () => {
  nats = await startNats();
  queue = await openTestQueue(nats);
  await queue.ensureStreams(wait);
});
afterAll(async () => {
  await queue[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
});

describe('tasks', () => {
  it('go to whoever asks, each once; doubles are dropped', async () => {
    await queue.ensurePipeline('p', { inFlightMax: 50 }, wait);
    const tasks = numbers(200).map((n) => task('p', 'j', n));
    await queue.publishTasks(tasks, wait);
    await queue.publishTasks(tasks, wait);
    expect(await queue.backlog('p', wait)).toMatchObject({ pending: 200, inFlight: 0 });
    expect(await drain(queue, 'p', 200)).toEqual(numbers(200));
    await until('nothing is left', async () => {
      const { pending, inFlight } = await queue.backlog('p', wait);
      return pending + inFlight === 0;
    });
    expect(await collect(queue, 'p', 'j', 200)).toEqual(numbers(200));
  });

  it('never more in flight than the limit, also after it changed', async () => {
    await queue.ensurePipeline('limit', { inFlightMax: 3 }, wait);
    await queue.publishTasks(
      numbers(10).map((n) => task('limit', 'j', n)),
      wait,
    );
    expect(await take(queue, 'limit', 10)).toHaveLength(3);
    await queue.ensurePipeline('limit', { inFlightMax: 5 }, wait);
    expect(await take(queue, 'limit', 10)).toHaveLength(2);
    expect(await queue.backlog('limit', wait)).toMatchObject({ pending: 5, inFlight: 5 });
  });

  it('come back after nak and after silence, with their count of deliveries', async () => {
    await queue.ensurePipeline('again', { inFlightMax: 5, ackWaitMs: 2_000 }, wait);
    await queue.publishTasks([task('again', 'j', 0)], wait);
    const [first] = await take(queue, 'again', 1);
    expect(first?.redeliveries).toBe(0);
    first?.nak(1);
    const [second] = await take(queue, 'again', 1);
    expect(second?.redeliveries).toBe(1);
    const started = performance.now();
    while (performance.now() - started < 3_000) {
      second?.working();
      expect(await take(queue, 'again', 1)).toHaveLength(0);
    }
    const [third] = await until('it comes again', async () => {
      const got = await take(queue, 'again', 1);
      return got.length > 0 && got;
    });
    expect(third?.redeliveries).toBe(2);
    await third?.ack();
  });

  it('tasks that arrived but were not looked at are given back at once', async () => {
    await queue.ensurePipeline('back', { inFlightMax: 5 }, wait);
    await queue.publishTasks(
      numbers(2).map((n) => task('back', 'j', n)),
      wait,
    );
    for await (const delivery of queue.pull('back', { signal, max: 2, expiresMs: 500 })) {
      await delivery.ack();
      break;
    }
    expect(await take(queue, 'back', 1)).toHaveLength(1);
  });

  it('purging a job takes nothing from the other jobs of its pipeline', async () => {
    const publish = async (job: string, from: number): Promise<void> =>
      queue.publishTasks(
        [from, from + 1].map((n) => task('gone', job, n)),
        wait,
      );
    await queue.ensurePipeline('gone', { inFlightMax: 9 }, wait);
    await publish('a', 0);
    await publish('b', 2);
    await publish('a', 4);
    await queue.purgeJob('gone', 'a', wait);
    const held = await take(queue, 'gone', 9);
    expect(held.map((d) => d.task.task)).toEqual([2, 3]);
    await publish('c', 6);
    await queue.purgeJob('gone', 'c', wait);
    // Tasks in hand still come again.
    for (const delivery of held) delivery.nak(1);
    const again = await take(queue, 'gone', 9);
    expect(again.map((d) => d.task.task).sort()).toEqual([2, 3]);
    for (const delivery of again) await delivery.ack();
    await queue.purgeJob('gone', 'b', wait);
    await publish('d', 8);
    expect((await take(queue, 'gone', 9)).map((d) => d.task.task)).toEqual([8, 9]);
  });

  it('a deleted pipeline leaves nothing', async () => {
    await queue.ensurePipeline('bye', { inFlightMax: 5 }, wait);
    await queue.publishTasks([task('bye', 'j', 0)], wait);
    await queue.deletePipeline('bye', wait);
    await queue.deletePipeline('bye', wait);
    await expect(queue.backlog('bye', wait)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await queue.ensurePipeline('bye', { inFlightMax: 5 }, wait);
    expect(await queue.backlog('bye', wait)).toMatchObject({ pending: 0, inFlight: 0 });
  });
});

describe('what is not stored', () => {
  it('live lines reach followers of the job and of the pipeline', async () => {
    const line = (job: string, message: string): LogLine => ({
      ...{ ts: 1, pipeline: 'lp', job, task: 0, attempt: 0, line: 0 },
      ...{ worker: 'w', datum: 'd', user: true, message },
    });
    const one = queue.followLogs('lp', 'j1', wait);
    const all = queue.followLogs('lp', '*', wait);
    await using other = await openTestQueue(nats);
    await other.askStatus('nobody', wait).catch(() => undefined);
    for (const job of ['j1', 'j2']) other.publishLog(line(job, `of ${job}`));
    const read = async (lines: AsyncIterable<LogLine>, count: number): Promise<string[]> => {
      const got: string[] = [];
      for await (const { message } of lines) if (got.push(message) === count) break;
      return got;
    };
    expect(await read(one, 1)).toEqual(['of j1']);
    expect((await read(all, 2)).sort()).toEqual(['of j1', 'of j2']);
  });

  it('cancellations and questions find their way', async () => {
    await using worker = await openTestQueue(nats);
    const cancelled: string[] = [];
    worker.onCancel((job) => cancelled.push(job));
    const running = [{ pipeline: 'p', job: 'j', task: 1, attempt: 0, datum: 'd', startedMs: 5 }];
    worker.serveWorker('w1', {
      status: () => ({ running }),
      restart: ({ job, filters }) => (job === 'j' ? filters.length : 0),
      lines: async ({ from }) => ({ lines: [], next: from + 1 }),
    });
    const status = await until('the worker answers', () => queue.askStatus('w1', wait));
    expect(status.running).toEqual(running);
    expect(await queue.askRestart('w1', { job: 'j', filters: ['/a'] }, wait)).toBe(1);
    const lines = { job: 'j', task: 1, attempt: 0, from: 3 };
    expect(await queue.askLines('w1', lines, wait)).toEqual({ lines: [], next: 4 });
    await queue.publishCancel('j7');
    await until('it was told', () => cancelled.includes('j7'));
    await expect(queue.askStatus('w2', wait)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  });
});

it('a server that is not there is named in the error', async () => {
  const opening = openQueue({
    ...{ servers: '127.0.0.1:1', name: 't', log: silentLog, clock: systemClock, connectMs: 300 },
  });
  await expect(opening).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  await expect(opening).rejects.toThrow('127.0.0.1:1');
});
