import { describe, expect, it } from 'vitest';
import { Aggregate } from './aggregate.js';

function summaryOf(values: Iterable<number>) {
  const aggregate = new Aggregate();
  for (const value of values) aggregate.add(value);
  return aggregate.summary();
}

describe('an aggregate', () => {
  it('of nothing is zero', () => {
    expect(summaryOf([])).toEqual({ count: 0, mean: 0, stddev: 0, p5: 0, p95: 0 });
  });

  it('has the exact mean and deviation, and percentiles to 1%', () => {
    const values = Array.from({ length: 1000 }, (_, n) => n + 1).reverse();
    const { count, mean, stddev, p5, p95 } = summaryOf(values);
    expect(count).toBe(1000);
    expect(mean).toBeCloseTo(500.5, 9);
    expect(stddev).toBeCloseTo(Math.sqrt((1000 ** 2 - 1) / 12), 6);
    expect(Math.abs(p5 / 50 - 1)).toBeLessThan(0.011);
    expect(Math.abs(p95 / 950 - 1)).toBeLessThan(0.011);
  });

  it('counts zeros as the smallest', () => {
    expect(summaryOf([0, 0, 0, 8])).toMatchObject({ count: 4, mean: 2, p5: 0 });
    expect(summaryOf([0, 0, 0, 8]).p95).toBeCloseTo(8, 0);
  });
});
