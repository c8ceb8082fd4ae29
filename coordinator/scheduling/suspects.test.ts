import { describe, expect, it } from 'vitest';
import { FAILED_AT, Suspects } from './suspects.js';

const never = (): boolean => false;

describe('Suspects', () => {
  it('gives a task another chance, then cuts it', () => {
    const suspects = new Suspects();
    expect(suspects.strike([4], () => 8)).toEqual({ again: [4], cut: [], failed: [] });
    expect(suspects.strike([4], () => 8)).toEqual({ again: [], cut: [4], failed: [] });
  });

  it('lets suspects run one at a time, and fails the one that goes on killing', () => {
    const suspects = new Suspects();
    suspects.suspect([1, 2]);
    const done = new Set<number>();
    const isDone = (task: number): boolean => done.has(task);
    let lives = 2;
    let guilty: readonly number[] = [];
    for (let i = 0; i < 20 && guilty.length === 0; i += 1) {
      const task = suspects.next(isDone);
      if (task === undefined) break;
      expect(suspects.next(isDone)).toBeUndefined();
      if (task === 2) done.add(task);
      else {
        lives += 1;
        guilty = suspects.strike([task], () => 1).failed;
      }
    }
    expect(guilty).toEqual([1]);
    expect(done).toEqual(new Set([2]));
    expect(lives).toBe(FAILED_AT);
  });

  it('knows what an earlier owner knew', () => {
    const before = new Suspects();
    before.strike([7], () => 1);
    before.strike([7], () => 1);
    const after = new Suspects();
    after.restore(before.strikes(), never);
    expect(after.withheld).toEqual(new Set([7]));
    expect(after.countOf(7)).toBe(2);
    expect(after.next(never)).toBe(7);
  });

  it('does not accuse who waits', () => {
    const suspects = new Suspects();
    suspects.suspect([1, 2]);
    suspects.next(never);
    suspects.strike([1, 2], () => 1);
    expect(suspects.countOf(2)).toBe(2);
  });
});
