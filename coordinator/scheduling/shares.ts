/**
 * How slots are shared between pipelines that have running jobs. A pure function of what informers
 * hold, so every coordinator gives its workers the same answer.
 */
import type { Parallelism } from '../pipelines/model.js';

export interface Demand {
  readonly pipeline: string;
  readonly version: number;
  readonly parallelism: Parallelism;
  readonly jobs: readonly string[];
}

export interface Offer {
  readonly worker: string;
  readonly host: string;
  readonly slots: number;
  readonly draining: boolean;
}

export interface Assignment {
  readonly pipeline: string;
  readonly version: number;
  /** 0 = no limit beside the worker's own slots. */
  readonly slotsMax: number;
  readonly jobs: readonly string[];
}

/** Slots a pipeline may use in all: `constant`, or `coefficient` × hosts, at least 1. */
export function slotsWanted(parallelism: Parallelism, hosts: number): number {
  if (parallelism.constant > 0) return parallelism.constant;
  if (parallelism.coefficient > 0) {
    return Math.max(1, Math.floor(parallelism.coefficient * Math.max(1, hosts)));
  }
  return 1;
}

export function hostCount(offers: Iterable<Offer>): number {
  return new Set([...offers].map((offer) => offer.host)).size;
}

/** What one worker is told: every pipeline with work, each with its part of the worker's slots. */
export function assignmentsFor(
  worker: string,
  offers: readonly Offer[],
  demands: readonly Demand[],
): Assignment[] {
  const mine = offers.find((offer) => offer.worker === worker);
  if (!mine || mine.draining) return [];
  const live = offers.filter((offer) => !offer.draining);
  const total = live.reduce((sum, offer) => sum + offer.slots, 0);
  const hosts = hostCount(live);
  const sorted = [...demands].sort((a, b) => (a.pipeline < b.pipeline ? -1 : 1));
  const shares = waterFill(
    sorted.map((demand) => slotsWanted(demand.parallelism, hosts)),
    total,
  );
  return sorted.map((demand, index) => ({
    pipeline: demand.pipeline,
    version: demand.version,
    slotsMax:
      sorted.length === 1
        ? 0
        : Math.max(1, Math.ceil(((shares[index] ?? 0) * mine.slots) / Math.max(1, total))),
    jobs: [...demand.jobs].sort(),
  }));
}

/** Gives each its wish where that fits; the rest is shared evenly among those who want more. */
export function waterFill(wishes: readonly number[], total: number): number[] {
  const shares = wishes.map(() => 0);
  let left = total;
  let open = wishes.map((_, index) => index);
  while (open.length > 0 && left > 0) {
    const level = left / open.length;
    const filled = open.filter((index) => (wishes[index] ?? 0) - (shares[index] ?? 0) <= level);
    if (filled.length === 0) {
      for (const index of open) shares[index] = (shares[index] ?? 0) + level;
      return shares;
    }
    for (const index of filled) {
      left -= (wishes[index] ?? 0) - (shares[index] ?? 0);
      shares[index] = wishes[index] ?? 0;
    }
    open = open.filter((index) => !filled.includes(index));
  }
  return shares;
}
