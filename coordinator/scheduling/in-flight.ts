/** The consumer that a pipeline's workers pull from, with the tasks they may hold at once. */
import type { Wait } from '../../storage/types.js';
import type { PipelineRecord } from '../pipelines/model.js';
import type { OwnerDeps } from './deps.js';
import { slotsWanted } from './shares.js';

/** A task is handed out again when nobody speaks of it for so long. */
const ACK_WAIT_MS = 30_000;

/** How long a consumer is taken to be there; who finds it gone meanwhile makes it anew (backlog). */
const GIVEN_MS = 5_000;

export class InFlight {
  /** The limit that the consumer was given last. */
  #given: { readonly inFlightMax: number; readonly atMs: number } | undefined;
  /** Slots added while lost tasks still count as in flight. */
  #widened: { readonly atMs: number; readonly slots: number }[] = [];

  constructor(readonly deps: Pick<OwnerDeps, 'queue' | 'views' | 'clock'>) {}

  /** Makes the consumer, or gives it the limit it should have now, unless that was just done. */
  async ensure({ name, parallelism }: PipelineRecord, wait: Wait): Promise<void> {
    const { queue, views } = this.deps;
    const extra = this.#widened.reduce((sum, { slots }) => sum + slots, 0);
    const inFlightMax = slotsWanted(parallelism, views.hosts()) + extra;
    const nowMs = this.deps.clock.monotonicMs();
    const given = this.#given;
    if (given?.inFlightMax === inFlightMax && nowMs - given.atMs < GIVEN_MS) return;
    await queue.ensurePipeline(name, { inFlightMax, ackWaitMs: ACK_WAIT_MS }, wait);
    this.#given = { inFlightMax, atMs: nowMs };
  }

  /** Makes room for copies of tasks that workers took with them. */
  async widen(record: PipelineRecord, slots: number, wait: Wait): Promise<void> {
    this.#widened.push({ atMs: this.deps.clock.monotonicMs(), slots });
    await this.ensure(record, wait);
  }

  /** Takes back the room made for copies once the queue no longer counts the lost originals. */
  async narrow(record: PipelineRecord, wait: Wait): Promise<void> {
    const since = this.deps.clock.monotonicMs() - ACK_WAIT_MS;
    if (!this.#widened.some(({ atMs }) => atMs < since)) return;
    this.#widened = this.#widened.filter(({ atMs }) => atMs >= since);
    await this.ensure(record, wait);
  }
}
