/** What scheduling watches: small key sets held in memory by informers, shared by every loop. */
import type { Wait } from '../../storage/types.js';
import type { Informer, Meta } from '../meta/index.js';
import {
  PIPELINES,
  RUNNING_JOBS,
  type PipelineRecord,
  type RunningJobRecord,
} from '../pipelines/model.js';
import type { OpenRecord } from '../versioning/model.js';
import { hostCount, type Demand, type Offer } from './shares.js';
import { Hints } from './hints.js';
import { LIVE_STATES, LIVES, type LiveRecord, type LiveState } from './live/model.js';
import {
  COORDINATORS,
  OWNERS,
  WORKERS,
  type CoordinatorRecord,
  type OwnerRecord,
  type WorkerRecord,
} from './model.js';

export class Views implements AsyncDisposable {
  readonly pipelines: Informer<PipelineRecord>;
  readonly open: Informer<OpenRecord>;
  readonly owners: Informer<OwnerRecord & { readonly revision: number }>;
  readonly coordinators: Informer<CoordinatorRecord>;
  readonly workers: Informer<WorkerRecord>;
  readonly running: Informer<RunningJobRecord>;
  readonly lives: Informer<LiveRecord>;
  readonly liveStates: Informer<LiveState>;
  readonly hints: Hints;
  /** Made anew after a change of workers. */
  #offers: readonly Offer[] | undefined;
  #hosts: number | undefined;

  constructor(meta: Meta) {
    const json = <T>(value: Buffer): T => JSON.parse(value.toString()) as T;
    this.pipelines = meta.informer(PIPELINES, (value) => json<PipelineRecord>(value));
    this.open = meta.informer('open/', (value) => json<OpenRecord>(value));
    this.owners = meta.informer(OWNERS, (value, { modRevision }) => ({
      ...json<OwnerRecord>(value),
      revision: modRevision,
    }));
    this.coordinators = meta.informer(COORDINATORS, (value) => json<CoordinatorRecord>(value));
    this.workers = meta.informer(WORKERS, (value) => json<WorkerRecord>(value));
    this.workers.subscribe(() => {
      this.#offers = undefined;
      this.#hosts = undefined;
    });
    this.running = meta.informer(RUNNING_JOBS, (value) => json<RunningJobRecord>(value));
    this.lives = meta.informer(LIVES, (value) => json<LiveRecord>(value));
    this.liveStates = meta.informer(LIVE_STATES, (value) => json<LiveState>(value));
    // First of all, so that whoever is called back after a change finds it in there.
    this.hints = new Hints(this);
  }

  /** Resolves when every informer has its first listing. */
  async ready(wait: Wait): Promise<void> {
    await Promise.all(this.#all().map((informer) => informer.ready(wait)));
  }

  /** Calls back after any change of any of them; returns the function that stops it. */
  subscribe(callback: () => void): () => void {
    const stops = this.#all().map((informer) => informer.subscribe(callback));
    return () => {
      for (const stop of stops) stop();
    };
  }

  /** Every joined worker as the allocator sees it. */
  offers(): readonly Offer[] {
    this.#offers ??= [...this.workers.values()].map(offerOf);
    return this.#offers;
  }

  /** Machines that have workers. */
  hosts(): number {
    this.#hosts ??= hostCount(this.offers());
    return this.#hosts;
  }

  /** Every pipeline with a running job. */
  demands(): Demand[] {
    const jobs = new Map<string, string[]>();
    for (const [, run] of this.running.entries()) {
      jobs.set(run.pipeline, [...(jobs.get(run.pipeline) ?? []), run.job]);
    }
    const demands: Demand[] = [];
    for (const [, record] of this.pipelines.entries()) {
      const running = jobs.get(record.name);
      // What lives on has no tasks to pull.
      if (!running || record.live) continue;
      const { name, version, parallelism, needs } = record;
      const demand = { pipeline: name, version, parallelism, jobs: running };
      demands.push(needs ? { ...demand, needs } : demand);
    }
    return demands;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all().map((informer) => informer[Symbol.asyncDispose]()));
  }

  #all() {
    const { pipelines, open, owners, coordinators, workers, running, lives, liveStates } = this;
    return [
      ...[pipelines, open, owners, coordinators],
      ...[workers, running, lives, liveStates],
    ] as const;
  }
}

/** A worker's record as the allocator sees it. */
export function offerOf(worker: WorkerRecord): Offer {
  const { cpus, memoryBytes, diskBytes = 0, gpus, gpuShare = 1, labels } = worker;
  return {
    worker: worker.worker,
    host: worker.host,
    slots: worker.slots,
    draining: worker.draining,
    room: { cpus, memoryBytes, diskBytes, gpus, labels, gpuShare: Math.max(1, gpuShare) },
  };
}
