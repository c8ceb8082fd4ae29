import { describe, expect, it } from 'vitest';
import type { TaskResult } from '../../queue/messages.js';
import { TaskBoard } from './board.js';

function result(task: number, more: Partial<TaskResult> = {}): TaskResult {
  const stats = { downloadMs: 1, processMs: 2, uploadMs: 3, downloadBytes: 4, uploadBytes: 5 };
  const base = { pipeline: 'p', job: 'j', task, attempt: 0, worker: 'w', details: 'd' };
  return { ...base, processed: 2, failed: 1, recovered: 0, stats, ...more };
}

describe('TaskBoard', () => {
  it('counts the first result of a task only', () => {
    const board = new TaskBoard('j', 2);
    expect(board.add(result(0))).toBe(true);
    expect(board.add(result(0, { attempt: 1, processed: 9 }))).toBe(false);
    expect(board.counts).toMatchObject({ processed: 2, failed: 1 });
    expect(board.missing()).toEqual([1]);
    expect(board.complete).toBe(false);
    board.add(result(1));
    expect(board.complete).toBe(true);
    expect(board.counts.stats.downloadBytes).toBe(8);
  });

  it('ignores results of other jobs and unknown tasks', () => {
    const board = new TaskBoard('j', 1);
    expect(board.add(result(0, { job: 'other' }))).toBe(false);
    expect(board.add(result(5))).toBe(false);
    expect(board.done).toBe(0);
  });
});
