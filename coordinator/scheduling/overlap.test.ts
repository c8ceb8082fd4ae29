/** What running jobs of one pipeline know of each other. */
import { describe, expect, it } from 'vitest';
import type { JobPlan } from './model.js';
import { BESIDE_AFTER_MS, JOBS_MAX, Overlap } from './overlap.js';
import { BESIDE_DATUMS_MAX } from './plan-beside.js';

const wait = { signal: new AbortController().signal };
const none = (): ReadonlySet<number> => new Set();

function planOf(count: number, more: Partial<JobPlan> = {}): JobPlan {
  const plan = { format: 1, spec: 's', carried: 'c', total: count, skipped: 0 } as const;
  const segments = [{ ref: `blob of ${count}`, count }];
  return { ...plan, segments, tasks: [[0, 0, count]], ...more };
}

describe('running jobs', () => {
  it('wait for all before them, and say for which', async () => {
    const overlap = new Overlap();
    for (const job of ['a', 'b', 'c']) overlap.start(job);
    expect(overlap.before('c')).toEqual(['a', 'b']);
    expect(overlap.waitsFor('a')).toBe('');
    expect(overlap.waitsFor('c')).toMatch(/^waiting for job a: /);
    let turn = false;
    const third = overlap.turn('c', wait).then(() => (turn = true));
    await overlap.turn('a', wait);
    overlap.end('b');
    await Promise.resolve();
    expect(turn).toBe(false);
    overlap.end('a');
    await third;
    expect(overlap.waitsFor('c')).toBe('');
  });

  it('have none beside them while the oldest may be done in no time', () => {
    let nowMs = 1_000;
    const overlap = new Overlap(undefined, () => nowMs);
    expect(overlap.notBeforeMs()).toBe(0);
    overlap.start('a');
    nowMs = 1_100;
    expect(overlap.notBeforeMs()).toBe(BESIDE_AFTER_MS - 100);
    // What it took to plan it tells nothing about its datums.
    overlap.published('a', [0]);
    expect(overlap.notBeforeMs()).toBe(BESIDE_AFTER_MS);
    nowMs += BESIDE_AFTER_MS;
    overlap.published('a', [0]);
    expect(overlap.notBeforeMs()).toBe(0);
    overlap.start('b');
    overlap.end('a');
    expect(overlap.notBeforeMs()).toBe(BESIDE_AFTER_MS);
  });

  it('have none beside one that is about to end, unless that takes long', () => {
    let nowMs = 0;
    const overlap = new Overlap(undefined, () => nowMs);
    const tasks = { size: 1, done: 0 };
    overlap.start('a');
    overlap.collecting('a', tasks, none);
    overlap.published('a', [0]);
    nowMs = 10_000;
    expect(overlap.notBeforeMs()).toBe(0);
    tasks.done = 1;
    expect(overlap.notBeforeMs()).toBe(BESIDE_AFTER_MS);
    nowMs += BESIDE_AFTER_MS;
    expect(overlap.notBeforeMs()).toBe(0);
    // Others run already.
    overlap.start('b');
    nowMs = 10_000;
    expect(overlap.notBeforeMs()).toBe(0);
  });

  it('stop waiting when they are stopped', async () => {
    const overlap = new Overlap();
    for (const job of ['a', 'b']) overlap.start(job);
    const control = new AbortController();
    const turn = overlap.turn('b', control);
    control.abort(new Error('enough'));
    await expect(turn).rejects.toThrow('enough');
  });

  it('know which tasks workers took, but for those of which a copy still waits', () => {
    const overlap = new Overlap();
    for (const job of ['a', 'b']) overlap.start(job);
    overlap.published('a', [0, 1, 2]);
    overlap.published('b', [0]);
    expect(overlap.handedOut('a', 2)).toEqual([0, 1]);
    expect(overlap.handedOut('b', 0)).toEqual([0]);
    // Task 1 was lost with its worker; its copy waits for a slot.
    overlap.published('a', [1]);
    expect(overlap.handedOut('a', 1)).toEqual([0, 2]);
    expect(overlap.handedOut('a', 0)).toEqual([1, 0, 1, 2]);
    // What was taken out of the queue is not what is pending.
    overlap.published('a', [3, 4]);
    overlap.dropped('a', new Set([4]));
    expect(overlap.handedOut('a', 1)).toEqual([1, 0, 1, 2]);
  });

  it('tell their datums when all are written down, those they wait for included', async () => {
    const overlap = new Overlap();
    for (const job of ['a', 'b', 'c']) overlap.start(job);
    expect(await overlap.datumsBefore('a', wait)).toBeUndefined();
    const asked = overlap.datumsBefore('c', wait);
    overlap.planned('a', planOf(1, { partial: 2 }));
    overlap.planned('b', planOf(2, { partial: 2, withheld: [{ ref: 'blob of 3', count: 3 }] }));
    overlap.planned('a', planOf(4));
    expect((await asked)?.map(({ count }) => count)).toEqual([4, 2, 3]);
  });

  it('leave room while they have fewer open tasks than slots', () => {
    let room = 0;
    const overlap = new Overlap(() => (room += 1));
    expect(overlap.hasRoom(2)).toBe(true);
    overlap.start('a');
    expect(overlap.hasRoom(2)).toBe(false);
    const tasks = { size: 2, done: 0 };
    overlap.planned('a', planOf(2));
    overlap.collecting('a', tasks, none);
    expect(overlap.hasRoom(2)).toBe(false);
    room = 0;
    overlap.noteDone();
    expect(room).toBe(0);
    tasks.done = 1;
    overlap.noteDone();
    expect(room).toBe(1);
    expect(overlap.hasRoom(2)).toBe(true);
    expect(overlap.hasRoom(1)).toBe(false);
    overlap.planned('a', planOf(BESIDE_DATUMS_MAX + 1));
    expect(overlap.hasRoom(2)).toBe(false);
  });

  it('are never more than a bound', () => {
    const overlap = new Overlap();
    for (let i = 0; i < JOBS_MAX; i += 1) {
      expect(overlap.hasRoom(1_000)).toBe(true);
      overlap.start(`job ${i}`);
      overlap.planned(`job ${i}`, planOf(1));
    }
    expect(overlap.hasRoom(1_000)).toBe(false);
  });

  it('know which of their tasks were handed out: what waits in the queue was published last', () => {
    const overlap = new Overlap();
    for (const job of ['a', 'b']) overlap.start(job);
    overlap.published('a', [0, 1, 2]);
    overlap.published('b', [0, 1]);
    overlap.published('a', [3]);
    expect(overlap.handedOut('a', 0).sort()).toEqual([0, 1, 2, 3]);
    expect(overlap.handedOut('a', 2).sort()).toEqual([0, 1, 2]);
    expect(overlap.handedOut('b', 2)).toEqual([0]);
    expect(overlap.handedOut('a', 4).sort()).toEqual([0, 1]);
    expect(overlap.handedOut('a', 99)).toEqual([]);
    overlap.forget('a');
    expect(overlap.handedOut('b', 0)).toEqual([0, 1]);
  });
});
