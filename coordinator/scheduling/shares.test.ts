import { describe, expect, it } from 'vitest';
import {
  assignmentsOf,
  planShares,
  slotsWanted,
  waterFill,
  type Assignment,
  type Demand,
  type Offer,
} from './shares.js';

const offer = (worker: string, slots: number): Offer => ({
  worker,
  host: worker,
  slots,
  draining: false,
});
const demand = (pipeline: string, constant: number): Demand => ({
  pipeline,
  version: 1,
  parallelism: { constant, coefficient: 0 },
  jobs: [`${pipeline}-job`],
});

function assignmentsFor(worker: string, offers: Offer[], demands: Demand[]): Assignment[] {
  const mine = offers.find((each) => each.worker === worker) as Offer;
  return assignmentsOf(planShares(offers, demands), mine);
}

describe('shares', () => {
  it('wants the constant, or coefficient × hosts, and at least one', () => {
    expect(slotsWanted({ constant: 5, coefficient: 0 }, 3)).toBe(5);
    expect(slotsWanted({ constant: 0, coefficient: 2 }, 3)).toBe(6);
    expect(slotsWanted({ constant: 0, coefficient: 0.1 }, 3)).toBe(1);
    expect(slotsWanted({ constant: 0, coefficient: 0 }, 3)).toBe(1);
  });

  it('fills small wishes and shares the rest evenly', () => {
    expect(waterFill([1, 20, 20], 21)).toEqual([1, 10, 10]);
    expect(waterFill([2, 3], 20)).toEqual([2, 3]);
  });

  it('sets no limit for a pipeline alone', () => {
    const [only] = assignmentsFor('w', [offer('w', 20)], [demand('p', 20)]);
    expect(only).toMatchObject({ pipeline: 'p', slotsMax: 0, jobs: ['p-job'] });
  });

  it('divides a worker between pipelines in proportion', () => {
    const offers = [offer('w', 10), offer('v', 10)];
    const list = assignmentsFor('w', offers, [demand('b', 20), demand('a', 2)]);
    expect(list.map((one) => [one.pipeline, one.slotsMax])).toEqual([
      ['a', 1],
      ['b', 9],
    ]);
  });

  it('gives a draining worker nothing', () => {
    const draining = { ...offer('w', 4), draining: true };
    expect(assignmentsFor('w', [draining], [demand('p', 1)])).toEqual([]);
  });
});
