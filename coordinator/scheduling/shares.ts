/**
 * How slots are shared between pipelines that have running jobs. A pure function of what informers
 * hold, so every coordinator gives its workers the same answer.
 */
import type { Needs, Parallelism } from '../pipelines/model.js';
import { slotsFor, type Room } from './placement.js';

export interface Demand {
  readonly pipeline: string;
  readonly version: number;
  readonly parallelism: Parallelism;
  readonly jobs: readonly string[];
  readonly needs?: Needs;
}

export interface Offer {
  readonly worker: string;
  readonly host: string;
  readonly slots: number;
  readonly draining: boolean;
  /** Absent = as much as anybody asks for. */
  readonly room?: Room;
}

export interface Assignment {
  readonly pipeline: string;
  readonly version: number;
  /** 0 = no limit beside the worker's own slots. */
  readonly slotsMax: number;
  readonly jobs: readonly string[];
  readonly needs?: Needs;
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

/** What holds for all workers: worked out once after a change, not once for each of them. */
export interface SharePlan {
  readonly parts: readonly {
    readonly demand: Demand;
    /** Slots of the pipeline in all. */
    readonly share: number;
    /** Slots of the workers that have what it needs. */
    readonly able: number;
  }[];
}

export function planShares(offers: readonly Offer[], demands: readonly Demand[]): SharePlan {
  const live = offers.filter((offer) => !offer.draining);
  const total = sumSlots(live);
  const hosts = hostCount(live);
  const sorted = [...demands].sort((a, b) => (a.pipeline < b.pipeline ? -1 : 1));
  const shares = waterFill(
    sorted.map((demand) => slotsWanted(demand.parallelism, hosts)),
    total,
  );
  const parts = sorted.map((demand, index) => {
    const { needs } = demand;
    const able = needs ? sumSlots(live.filter((offer) => slotsFor(needs, offer) > 0)) : total;
    return { demand, share: shares[index] ?? 0, able };
  });
  return { parts };
}

/**
 * What one worker is told: every pipeline with work that it has the labels and the room for, each
 * with its part of the worker's slots.
 */
export function assignmentsOf(plan: SharePlan, mine: Offer): Assignment[] {
  if (mine.draining) return [];
  const assignments: Assignment[] = [];
  for (const { demand, share, able } of plan.parts) {
    const { pipeline, version, needs } = demand;
    if (slotsFor(needs, mine) === 0) continue;
    const part = (share * mine.slots) / Math.max(1, able);
    const slotsMax = plan.parts.length === 1 ? 0 : Math.max(1, Math.ceil(part));
    const jobs = [...demand.jobs].sort();
    assignments.push({ pipeline, version, slotsMax, jobs, ...(needs ? { needs } : {}) });
  }
  return assignments;
}

function sumSlots(offers: readonly Offer[]): number {
  return offers.reduce((sum, offer) => sum + offer.slots, 0);
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
