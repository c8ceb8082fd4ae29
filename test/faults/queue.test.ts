/** The queue while its nats-server is killed, frozen and robbed of its store. */
import { expect, it } from 'vitest';
import type { TaskResult } from '../../queue/messages.js';
import { startNats } from '../support/nats.js';
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

it('kill -9 and restart while publishing and working: every result arrives', async () => {
  await using server = await startNats();
  await using publisher = await openTestQueue(server);
  await using worker = await openTestQueue(server);
  const count = 3_000;
  await publisher.ensureStreams(wait);
  await publisher.ensurePipeline('p', { inFlightMax: 64, ackWaitMs: 2_000 }, wait);
  const results = collect(publisher, 'p', 'j', count);
  const publishing = publisher.publishTasks(
    numbers(count).map((n) => task('p', 'j', n)),
    wait,
  );
  let taken = 0;
  const working = (async () => {
    const seen = new Set<number>();
    while (seen.size < count) {
      for await (const d of worker.pull('p', { ...wait, max: 32, expiresMs: 2_000 })) {
        await worker.publishResult(result(d.task), wait);
        seen.add(d.task.task);
        taken = seen.size;
        void d.ack();
      }
    }
  })();
  for (const at of [500, 1_500]) {
    await until(`${at} are done`, () => taken >= at, 60_000);
    await server.kill9();
    await server.restart();
  }
  await publishing;
  await working;
  expect(await results).toEqual(numbers(count));
});

it('a wiped store: streams and consumer are made anew, readers start over', async () => {
  await using server = await startNats();
  await using q = await openTestQueue(server);
  await q.ensureStreams(wait);
  await q.ensurePipeline('p', { inFlightMax: 5 }, wait);
  const first = task('p', 'j', 0);
  await q.publishTasks([first], wait);
  for (let i = 0; i < 10; i += 1) await q.publishResult(result(task('p', 'j', i)), wait);
  const before = await q.backlog('p', wait);
  const reader = q.results('p', 'j', wait)[Symbol.asyncIterator]();
  for (let i = 0; i < 10; i += 1) await reader.next();
  const next = reader.next();
  await server.kill9();
  await server.wipe();
  await server.restart();
  const after = await q.backlog('p', wait);
  expect(after.streamCreated).not.toBe(before.streamCreated);
  expect(after.pending).toBe(0);
  await q.publishTasks([task('p', 'j', 0, 1)], wait);
  expect(await take(q, 'p', 5)).toHaveLength(1);
  await q.publishResult(result(task('p', 'j', 42)), wait);
  const item = (await next).value as { sequence: number; result: TaskResult };
  expect(item.result.task).toBe(42);
  expect(item.sequence).toBe(1);
  await reader.return?.();
});

it('a frozen server: pulls end, publishing goes on when it is back', async () => {
  await using server = await startNats();
  await using q = await openTestQueue(server);
  await q.ensureStreams(wait);
  await q.ensurePipeline('p', { inFlightMax: 5 }, wait);
  server.pause();
  const pulled = take(q, 'p', 1);
  const published = q.publishTasks([task('p', 'j', 0)], wait);
  expect(await pulled).toEqual([]);
  server.resume();
  await published;
  await until('the task comes', async () => (await take(q, 'p', 1)).length === 1);
});
