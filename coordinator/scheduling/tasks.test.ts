import { describe, expect, it } from 'vitest';
import { cutTasks, TASK_DATUMS_MAX, type CutRule } from './tasks.js';

function sizes(rule: CutRule): number[] {
  return cutTasks(rule).map((task) => task.to - task.from);
}

const sum = (list: readonly number[]): number => list.reduce((a, b) => a + b, 0);

describe('cutTasks', () => {
  it('is a function of its rule alone', () => {
    const rule = { segments: [512, 512, 77], slots: 7, meanDatumMs: 12 };
    expect(cutTasks(rule)).toEqual(cutTasks(rule));
  });

  it('covers every datum once, in order, within segments', () => {
    const segments = [512, 512, 300];
    const tasks = cutTasks({ segments, slots: 20 });
    let at = { segment: 0, index: 0 };
    for (const { segment, from, to } of tasks) {
      if (segment !== at.segment) {
        expect(at.index).toBe(segments[at.segment]);
        at = { segment, index: 0 };
      }
      expect(from).toBe(at.index);
      expect(to).toBeGreaterThan(from);
      at.index = to;
    }
    expect(at).toEqual({ segment: 2, index: 300 });
  });

  it('gives every slot a datum of its own when there are few', () => {
    expect(sizes({ segments: [20], slots: 20 })).toEqual(new Array(20).fill(1));
  });

  it('starts small while nothing is known, and shrinks towards the end', () => {
    const list = sizes({ segments: [512, 488], slots: 20 });
    expect(list.slice(0, 20)).toEqual(new Array(20).fill(1));
    expect(Math.max(...list)).toBeLessThanOrEqual(32);
    expect(list.at(-1)).toBe(1);
    expect(sum(list)).toBe(1000);
  });

  it('aims at seconds per task when the mean is known', () => {
    const slow = sizes({ segments: [500], slots: 2, meanDatumMs: 60_000 });
    expect(Math.max(...slow)).toBe(1);
    const fast = sizes({ segments: [512, 512], slots: 1, meanDatumMs: 1 });
    expect(fast[0]).toBe(TASK_DATUMS_MAX);
  });

  it('has room for the queue of a slot, never for more than is left for it', () => {
    const rule = { segments: [100], slots: 2, meanDatumMs: 60_000, queueSize: 4 };
    const list = sizes(rule);
    expect(list.slice(0, 3)).toEqual([4, 4, 4]);
    expect(list.at(-1)).toBe(1);
    expect(sum(list)).toBe(100);
  });

  it('obeys chunk_spec', () => {
    expect(sizes({ segments: [10], slots: 1, number: 4 })).toEqual([4, 4, 2]);
    const bySize = { segments: [6], slots: 1, number: 6, sizeBytes: 10, bytesOf: () => 4 };
    expect(sizes(bySize)).toEqual([3, 3]);
  });

  it.each([1, 2, 3, 4, 5])(
    'keeps slots busy when few datums take most of the time (%i)',
    (seed) => {
      const slots = 20;
      const durations = shuffled(600, seed).map((rank) => 8 / rank ** 0.7);
      const each = durations.map((_, index) => ({ from: index, to: index + 1 }));
      const tasks = cutTasks({ segments: [512, 88], slots }).map(({ segment, from, to }) => {
        return { from: segment * 512 + from, to: segment * 512 + to };
      });
      expect(makespan(tasks, durations, slots)).toBeLessThan(
        1.15 * makespan(each, durations, slots),
      );
    },
  );

  it('makes the last tasks of very many datums no single ones, and no tail of them', () => {
    const slots = 20;
    const count = 10_000;
    const segments = new Array<number>(20).fill(500);
    const tasks = cutTasks({ segments, slots });
    expect(tasks.length).toBeLessThan(700);
    const durations = shuffled(count, 7).map((rank) => 8 / rank ** 0.7);
    const each = durations.map((_, index) => ({ from: index, to: index + 1 }));
    const cut = tasks.map(({ segment, from, to }) => {
      return { from: segment * 500 + from, to: segment * 500 + to };
    });
    expect(makespan(cut, durations, slots)).toBeLessThan(1.05 * makespan(each, durations, slots));
  });

  it('has no tasks without datums', () => {
    expect(cutTasks({ segments: [], slots: 3 })).toEqual([]);
  });
});

/** The numbers 1 … n in an order of its own for each seed. */
function shuffled(n: number, seed: number): number[] {
  const list = Array.from({ length: n }, (_, i) => i + 1);
  let state = seed;
  for (let i = n - 1; i > 0; i -= 1) {
    state = (state * 48_271) % 2_147_483_647;
    const j = state % (i + 1);
    [list[i], list[j]] = [list[j] as number, list[i] as number];
  }
  return list;
}

/** When all is done if each free slot takes the next task. */
function makespan(
  tasks: readonly { readonly from: number; readonly to: number }[],
  durations: readonly number[],
  slots: number,
): number {
  const free = new Array<number>(slots).fill(0);
  for (const { from, to } of tasks) {
    const slot = free.indexOf(Math.min(...free));
    free[slot] = (free[slot] as number) + sum(durations.slice(from, to));
  }
  return Math.max(...free);
}
