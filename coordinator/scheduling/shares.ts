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

/**
 * What one worker is told: every pipeline with work that it has the labels and the room for, each
 * with its part of the worker's slots.
 */
export function assignmentsFor(
  worker: string,
  offers: readonly Offer[],
  demands: readonly Demand[],
): Assignment[] {
  const mine = offers.find((offer) => offer.worker === worker);
  if (!mine || mine.draining) return [];
  const live = offers.filter((offer) => !offer.draining);
  const total = sumSlots(live);
  const hosts = hostCount(live);
  const sorted = [...demands].sort((a, b) => (a.pipeline < b.pipeline ? -1 : 1));
  const shares = waterFill(
    sorted.map((demand) => slotsWanted(demand.parallelism, hosts)),
    total,
  );
  const assignments: Assignment[] = [];
  for (const [index, demand] of sorted.entries()) {
    const { pipeline, version, needs } = demand;
    if (slotsFor(needs, mine) === 0) continue;
    const able = needs ? sumSlots(live.filter((offer) => slotsFor(needs, offer) > 0)) : total;
    const part = ((shares[index] ?? 0) * mine.slots) / Math.max(1, able);
    const slotsMax = sorted.length === 1 ? 0 : Math.max(1, Math.ceil(part));
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
