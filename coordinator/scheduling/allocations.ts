/**
 * What joined workers are told. Changes come in bursts, and a thousand workers hear of each: shares
 * are worked out once per burst, the message once for all workers of the same kind, and only those
 * whose message is another one are woken.
 */
import { setImmediate } from 'node:timers/promises';
import type { Clock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import type { PipelineAssignment, WorkerAssignments } from '../../proto/generated/tusk.js';
import {
  assignmentsOf,
  planShares,
  type Assignment,
  type Offer,
  type SharePlan,
} from './shares.js';
import type { Views } from './views.js';

/** One burst; longer with very many workers, because each message to all of them costs more. */
const BURST_MS = 10;
const WORKERS_PER_MS = 20;
/** Workers looked at between two turns of the event loop. */
const TURN = 200;

export interface Told {
  readonly message: WorkerAssignments;
  /** The same for the same message. */
  readonly text: string;
}

interface Watcher {
  readonly offer: () => Offer;
  readonly onChange: () => void;
  last: string;
}

type Seen = Pick<Views, 'offers' | 'demands' | 'workers' | 'running' | 'pipelines' | 'lives'>;

export class Allocations {
  readonly #watchers = new Set<Watcher>();
  #stops: (() => void)[] = [];
  #pending = false;
  #plan: SharePlan | undefined;
  /** By the kind of worker. */
  readonly #lists = new Map<string, { list: PipelineAssignment[]; text: string }>();
  #duties: Map<string, WorkerAssignments['duties']> | undefined;

  constructor(readonly deps: { readonly views: Seen; readonly clock: Clock }) {}

  /** What a worker is told now. */
  of(offer: Offer): Told {
    const { list, text } = this.#listOf(offer);
    const duties = this.#dutiesOf(offer.worker);
    return {
      message: { pipelines: list, duties },
      text: duties.length === 0 ? text : text + JSON.stringify(duties),
    };
  }

  /** Calls back whenever `of` gives another answer than before; returns what ends that. */
  watch(offer: () => Offer, onChange: () => void): () => void {
    if (this.#watchers.size === 0) this.#begin();
    const watcher: Watcher = { offer, onChange, last: this.of(offer()).text };
    this.#watchers.add(watcher);
    return () => {
      this.#watchers.delete(watcher);
      if (this.#watchers.size === 0) for (const stop of this.#stops.splice(0)) stop();
    };
  }

  #begin(): void {
    const { workers, running, pipelines, lives } = this.deps.views;
    const look = (): void => this.#look();
    this.#stops = [workers, running, pipelines, lives].map((view) => view.subscribe(look));
    this.#forget();
  }

  #look(): void {
    if (this.#pending) return;
    this.#pending = true;
    void this.#tellSoon();
  }

  async #tellSoon(): Promise<void> {
    const waitMs = Math.max(BURST_MS, this.#watchers.size / WORKERS_PER_MS);
    await this.deps.clock.sleep(waitMs, { signal: NEVER });
    this.#pending = false;
    this.#forget();
    let count = 0;
    for (const watcher of [...this.#watchers]) {
      const { text } = this.of(watcher.offer());
      if (text !== watcher.last) {
        watcher.last = text;
        watcher.onChange();
      }
      if ((count += 1) % TURN === 0) await setImmediate();
    }
  }

  #forget(): void {
    this.#plan = undefined;
    this.#duties = undefined;
    this.#lists.clear();
  }

  #listOf(offer: Offer): { list: PipelineAssignment[]; text: string } {
    const { slots, draining, room } = offer;
    const kind = JSON.stringify([slots, draining, room]);
    let found = this.#lists.get(kind);
    if (!found) {
      const { views } = this.deps;
      this.#plan ??= planShares(views.offers(), views.demands());
      const list = assignmentsOf(this.#plan, offer).map(toMessage);
      found = { list, text: JSON.stringify(list) };
      this.#lists.set(kind, found);
    }
    return found;
  }

  #dutiesOf(worker: string): WorkerAssignments['duties'] {
    let all = this.#duties;
    if (!all) {
      all = new Map();
      for (const { worker: its, pipeline, run, spec } of this.deps.views.lives.values()) {
        if (!all.has(its)) all.set(its, []);
        all.get(its)?.push({ pipeline, run, spec });
      }
      this.#duties = all;
    }
    return all.get(worker) ?? [];
  }
}

function toMessage({ needs, ...one }: Assignment): PipelineAssignment {
  const jobs = [...one.jobs];
  if (!needs) return { ...one, jobs, needs: undefined };
  return { ...one, jobs, needs: { ...needs, nodeSelector: { ...needs.nodeSelector } } };
}
