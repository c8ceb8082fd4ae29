import { describe, expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import { sortedOrder } from './file-columns.js';

const wait = { signal: NEVER };

describe('sortedOrder', () => {
  it.each([0, 1, 5, 16_384, 50_001])('sorts %i numbers, keeping equal ones in place', async (n) => {
    const values = Array.from({ length: n }, (_, i) => (i * 7_919) % 1_000);
    const compare = (a: number, b: number): number => (values[a] ?? 0) - (values[b] ?? 0);
    const expected = [...values.keys()].sort((a, b) => compare(a, b) || a - b);
    expect([...(await sortedOrder(n, compare, wait))]).toEqual(expected);
  });

  it('lets other work run and stops with its signal', async () => {
    const stop = new AbortController();
    const sorting = sortedOrder(200_000, (a, b) => b - a, stop);
    setImmediate(() => stop.abort(new Error('enough')));
    await expect(sorting).rejects.toThrow('enough');
  });
});
