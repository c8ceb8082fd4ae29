import { expect, it } from 'vitest';
import { until } from '../../test/support/until.js';
import { WallClock } from '../../test/support/wall-clock.js';
import { Allocations } from './allocations.js';
import type { Demand, Offer } from './shares.js';

const offer = (worker: string, slots = 2): Offer => ({
  ...{ worker, host: worker, slots, draining: false },
});
const demand = (pipeline: string, jobs: string[]): Demand => ({
  ...{ pipeline, version: 1, parallelism: { constant: 100, coefficient: 0 }, jobs },
});

/** Views that a test changes by hand. */
function open() {
  let offers: Offer[] = [];
  let demands: Demand[] = [];
  let asked = 0;
  let lives: { worker: string; pipeline: string; run: string; spec: string }[] = [];
  const subscribers = new Set<() => void>();
  const view = {
    subscribe: (callback: () => void) => {
      subscribers.add(callback);
      return () => subscribers.delete(callback);
    },
    values: () => lives.values(),
  };
  const views = {
    ...{ workers: view, running: view, pipelines: view, lives: view },
    offers: () => ((asked += 1), offers),
    demands: () => demands,
  };
  const clock = new WallClock('2024-01-01T00:00:00Z');
  const allocations = new Allocations({
    views: views as unknown as ConstructorParameters<typeof Allocations>[0]['views'],
    clock,
  });
  const change = (now: { offers?: Offer[]; demands?: Demand[]; lives?: typeof lives }): void => {
    offers = now.offers ?? offers;
    demands = now.demands ?? demands;
    lives = now.lives ?? lives;
    for (const callback of subscribers) callback();
  };
  return { allocations, change, subscribers, asked: () => asked };
}

it('works out the shares of many workers once for a burst of changes', async () => {
  const { allocations, change, asked } = open();
  const workers = Array.from({ length: 500 }, (_, i) => offer(`w${i}`));
  change({ offers: workers });
  const told = new Map<string, number>();
  for (const each of workers) {
    const count = (): void => void told.set(each.worker, (told.get(each.worker) ?? 0) + 1);
    allocations.watch(() => each, count);
  }
  const before = asked();
  for (const jobs of [['1'], ['1', '2'], ['1', '2', '3']]) change({ demands: [demand('p', jobs)] });
  await until('all were told', () => told.size === 500);
  expect(asked() - before).toBe(1);
  expect(new Set(told.values())).toEqual(new Set([1]));
  const first = allocations.of(offer('w0')).message;
  expect(first.pipelines.map(({ jobs }) => jobs)).toEqual([['1', '2', '3']]);
});

it('wakes only those to whom a change matters', async () => {
  const { allocations, change, subscribers } = open();
  const [a, b] = [offer('a'), offer('b', 3)];
  change({ offers: [a, b], demands: [demand('p', ['1']), demand('q', ['2'])] });
  const woken: string[] = [];
  const stops = [a, b].map((each) =>
    allocations.watch(
      () => each,
      () => woken.push(each.worker),
    ),
  );
  change({ lives: [{ worker: 'b', pipeline: 's', run: 'r', spec: 'x' }] });
  await until('b was woken', () => woken.length > 0);
  expect(woken).toEqual(['b']);
  expect(allocations.of(b).message.duties).toEqual([{ pipeline: 's', run: 'r', spec: 'x' }]);
  change({ offers: [a, b, offer('c', 50)] });
  change({ demands: [demand('p', ['1'])] });
  await until('both were woken', () => woken.length === 3);
  expect(allocations.of({ ...a, draining: true }).message.pipelines).toEqual([]);
  for (const stop of stops) stop();
  expect(subscribers.size).toBe(0);
});
