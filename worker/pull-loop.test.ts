import { describe, expect, it } from 'vitest';
import type { Clock } from '../core/clock.js';
import { unavailable } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { addAbortListener } from '../core/signals.js';
import type { TaskMessage } from '../queue/messages.js';
import type { Slot } from './datum.js';
import type { TaskDelivery } from './ports.js';
import { PullLoop, type PullLoopDeps } from './pull-loop.js';
import { Room } from './room.js';
import type { SlotFiles } from './slot-files.js';

/** A queue in memory that records what becomes of each task. */
class Tasks {
  readonly waiting = new Map<string, TaskMessage[]>();
  readonly fate = new Map<string, string>();
  readonly questions = new Map<string, number>();
  askedMax = 0;
  asked = 0;

  add(pipeline: string, job: string, count: number): void {
    const list = this.waiting.get(pipeline) ?? [];
    for (let task = 0; task < count; task += 1) {
      const base = { pipeline, job, task, attempt: 1, version: 1, from: 0, to: 1 };
      list.push({ ...base, spec: '', segment: '' });
    }
    this.waiting.set(pipeline, list);
  }

  async *pull(
    pipeline: string,
    { max, signal, expiresMs }: { max: number; signal: AbortSignal; expiresMs: number },
  ): AsyncGenerator<TaskDelivery> {
    this.asked += max;
    this.questions.set(pipeline, (this.questions.get(pipeline) ?? 0) + 1);
    this.askedMax = Math.max(this.askedMax, this.asked);
    let left = max;
    try {
      for (let turn = 0; turn < expiresMs / 250 && left > 0; turn += 1) {
        for (; left > 0; left -= 1) {
          const task = this.waiting.get(pipeline)?.shift();
          if (!task) break;
          this.asked -= 1;
          yield this.#delivery(task);
        }
        await new Promise((resolve) => setImmediate(resolve));
        signal.throwIfAborted();
      }
    } finally {
      this.asked -= left;
    }
  }

  #delivery(task: TaskMessage): TaskDelivery {
    const key = `${task.pipeline}/${task.job}/${task.task}`;
    const set = (fate: string): void => void this.fate.set(key, fate);
    return {
      task,
      redeliveries: 0,
      ack: () => Promise.resolve(set('ack')),
      nak: (delay) => set(`nak ${delay}`),
      working: () => undefined,
    };
  }
}

class TestClock implements Clock {
  now = 0;
  wallMs = (): number => this.now;
  monotonicMs = (): number => this.now;
  sleep = (_ms: number, { signal }: { signal: AbortSignal }): Promise<void> =>
    new Promise((resolve, reject) => {
      setImmediate(resolve);
      addAbortListener(signal, () => reject(signal.reason as Error));
    });
}

const room = new Room({
  ...{ cpus: 2, memoryBytes: 1000, diskBytes: 0, gpus: ['0', '1'], gpuShare: 1 },
});

function setUp(slots: number, run?: PullLoopDeps['run']) {
  const tasks = new Tasks();
  const clock = new TestClock();
  const counts = { now: 0, max: 0 };
  const used = new Set<Slot>();
  const loop = new PullLoop({
    queue: tasks,
    clock,
    log: silentLog,
    room,
    slots: Array.from({ length: slots }, (_, index) => ({ index, files: {} as SlotFiles })),
    run:
      run ??
      (async (_task, { slot }) => {
        expect(used.has(slot)).toBe(false);
        used.add(slot);
        counts.now += 1;
        counts.max = Math.max(counts.max, counts.now);
        for (let turn = 0; turn < 3; turn += 1) await new Promise((next) => setImmediate(next));
        counts.now -= 1;
        used.delete(slot);
      }),
  });
  loop.setPaused(false);
  return { tasks, clock, loop, counts };
}

async function until(check: () => boolean): Promise<void> {
  for (let turn = 0; turn < 10_000 && !check(); turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(check()).toBe(true);
}

const job = (pipeline: string, slotsMax = 0) => ({ pipeline, slotsMax, jobs: ['j'] });

describe('the pull loop', () => {
  it('runs every task once and never holds more than its slots', async () => {
    const { tasks, loop, counts } = setUp(4);
    tasks.add('a', 'j', 50);
    tasks.add('b', 'j', 50);
    loop.assign([job('a'), job('b')]);
    await until(() => tasks.fate.size === 100);
    expect(new Set(tasks.fate.values())).toEqual(new Set(['ack']));
    expect(counts.max).toBe(4);
    expect(tasks.askedMax).toBeLessThanOrEqual(4);
    await loop.close();
  });

  it('holds no more than its room, and gives each task GPUs of its own', async () => {
    const using = new Map<Slot, readonly string[]>();
    const seen: string[] = [];
    const { tasks, loop } = setUp(6, async (_task, { slot, grant }) => {
      using.set(slot, grant.gpus);
      const all = [...using.values()].flat();
      seen.push(all.join(','));
      expect(new Set(all).size).toBe(all.length);
      for (let turn = 0; turn < 3; turn += 1) await new Promise((next) => setImmediate(next));
      using.delete(slot);
    });
    tasks.add('g', 'j', 20);
    tasks.add('m', 'j', 20);
    const needs = { cpus: 0, memoryBytes: 0, diskBytes: 0, gpus: 0 };
    loop.assign([
      { ...job('g'), needs: { ...needs, gpus: 1 } },
      { ...job('m'), needs: { ...needs, memoryBytes: 400 } },
    ]);
    await until(() => tasks.fate.size === 40);
    expect(new Set(tasks.fate.values())).toEqual(new Set(['ack']));
    expect(seen.some((ids) => ids.split(',').length === 2)).toBe(true);
    await loop.close();
  });

  it('keeps to a limit of slots, and shares fairly', async () => {
    const running = new Map<string, number>();
    let maxA = 0;
    let seenB = 0;
    const { tasks, loop } = setUp(6, async (task) => {
      running.set(task.pipeline, (running.get(task.pipeline) ?? 0) + 1);
      maxA = Math.max(maxA, running.get('a') ?? 0);
      if (task.pipeline === 'b') seenB = Math.max(seenB, running.get('b') ?? 0);
      for (let turn = 0; turn < 5; turn += 1) await new Promise((next) => setImmediate(next));
      running.set(task.pipeline, (running.get(task.pipeline) ?? 0) - 1);
    });
    tasks.add('a', 'j', 40);
    tasks.add('b', 'j', 40);
    loop.assign([job('a', 2), job('b')]);
    await until(() => tasks.fate.size === 80);
    expect(maxA).toBeLessThanOrEqual(2);
    expect(seenB).toBeGreaterThanOrEqual(3);
    await loop.close();
  });

  it('gives each its turn when there are more pipelines than slots', async () => {
    const order: string[] = [];
    const { tasks, loop } = setUp(1, async (task) => {
      order.push(task.pipeline);
      await new Promise((next) => setImmediate(next));
    });
    tasks.add('a', 'j', 200);
    for (const name of ['b', 'c']) tasks.add(name, 'j', 3);
    loop.assign([job('a', 1)]);
    await until(() => order.length > 10);
    const before = order.length;
    loop.assign([job('a', 1), job('b', 1), job('c', 1)]);
    await until(() => tasks.fate.size === 206);
    const turns = order.slice(before, before + 15);
    expect(turns.filter((name) => name === 'b')).toHaveLength(3);
    expect(turns.filter((name) => name === 'c')).toHaveLength(3);
    await loop.close();
  });

  it('asks in vain now and then only, while others have work', async () => {
    const { tasks, loop, clock } = setUp(1);
    tasks.add('a', 'j', 100);
    loop.assign([job('a', 1), job('b', 1)]);
    await until(() => tasks.fate.size === 50);
    expect(tasks.questions.get('b')).toBe(1);
    clock.now += 3_000;
    await until(() => tasks.fate.size === 100);
    expect(tasks.questions.get('b')).toBeLessThanOrEqual(3);
    expect(tasks.questions.get('b')).toBeGreaterThanOrEqual(2);
    tasks.add('b', 'j', 5);
    await until(() => tasks.fate.size === 105);
    await loop.close();
  });

  it('gives back what could not be run, and says when to try again', async () => {
    const { tasks, loop, clock } = setUp(1, () => Promise.reject(unavailable('store is away')));
    tasks.add('a', 'j', 1);
    loop.assign([job('a')]);
    await until(() => tasks.fate.get('a/j/0') === 'nak 1000');
    expect(loop.givenBack).toEqual([{ job: 'j', reason: 'store is away' }]);
    clock.now = 11_000;
    expect(loop.givenBack).toEqual([]);
    await loop.close();
  });

  it('waits for news of an unknown job before it drops its tasks', async () => {
    const { tasks, loop, clock } = setUp(1);
    loop.assign([job('a')]);
    tasks.add('a', 'new', 1);
    await until(() => tasks.fate.get('a/new/0') === 'nak 500');
    clock.now += 11_000;
    tasks.add('a', 'new', 1);
    await until(() => tasks.fate.get('a/new/0') === 'ack');
    await loop.close();
  });

  it('kills and drops the tasks of a cancelled job', async () => {
    const { tasks, loop } = setUp(2, (_task, { signal }) => waitFor(signal));
    tasks.add('a', 'j', 1);
    loop.assign([job('a')]);
    await until(() => loop.running.length === 1);
    loop.cancel('j');
    await until(() => tasks.fate.get('a/j/0') === 'ack');
    expect(loop.running).toEqual([]);
    await loop.close();
  });

  it('drains: running tasks end, no new ones start; closing kills and gives back', async () => {
    let finish: () => void = () => undefined;
    const gate = new Promise<void>((resolve) => (finish = resolve));
    const { tasks, loop } = setUp(1, () => gate);
    tasks.add('a', 'j', 2);
    loop.assign([job('a')]);
    await until(() => loop.running.length === 1);
    const drained = loop.drain();
    finish();
    await drained;
    expect([...tasks.fate]).toEqual([['a/j/0', 'ack']]);

    const other = setUp(1, (_task, { signal }) => waitFor(signal));
    other.tasks.add('a', 'j', 1);
    other.loop.assign([job('a')]);
    await until(() => other.loop.running.length === 1);
    await other.loop.close();
    expect([...other.tasks.fate]).toEqual([['a/j/0', 'nak 0']]);
  });
});

function waitFor(signal: AbortSignal): Promise<void> {
  return new Promise((_resolve, reject) => {
    addAbortListener(signal, () => reject(signal.reason as Error));
  });
}
