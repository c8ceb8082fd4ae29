import { expect, it } from 'vitest';
import { NEVER } from '../core/signals.js';
import { AheadBudget, orderedAhead, type AheadJob } from './ordered-ahead.js';

/** Jobs of 10 bytes each; `begun` counts what was started. */
function* jobs(count: number, begun: { count: number }): Generator<AheadJob<number>> {
  for (let index = 0; index < count; index += 1) {
    yield {
      bytes: 10,
      run: async () => {
        begun.count += 1;
        if (index === 5) throw new Error('the sixth fails');
        return index;
      },
    };
  }
}
const read = (budget: AheadBudget, begun = { count: 0 }, count = 5) =>
  orderedAhead(jobs(count, begun), { signal: NEVER, parallel: 4, bytes: 1_000, budget });

it('readers that stopped share what they hold ahead, and every one gets on', async () => {
  const budget = new AheadBudget(50);
  const begun = { count: 0 };
  const stalled = Array.from({ length: 20 }, () => read(budget, begun));
  for (const reader of stalled) expect((await reader.next()).value).toBe(0);
  // One each, and five more.
  expect(begun.count).toBe(25);
  for (const reader of stalled) {
    const rest: number[] = [];
    for await (const value of reader) rest.push(value);
    expect(rest).toEqual([1, 2, 3, 4]);
  }
  expect(begun.count).toBe(100);
});

it('gives back what it took, however a read ends', async () => {
  const budget = new AheadBudget(30);
  for (let round = 0; round < 3; round += 1) {
    await expect(async () => {
      for await (const _each of read(budget, undefined, 9)) continue;
    }).rejects.toThrow('the sixth fails');
    const left = read(budget);
    await left.next();
    await left.return(undefined);
  }
  expect(budget.take(30)).toBe(true);
  expect(budget.take(1)).toBe(false);
});
