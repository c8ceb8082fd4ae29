/**
 * Running jobs write in the epoch of their plan, on workers that hold nothing themselves: as long as
 * a job runs, its record does.
 */
import type { Storage } from '../../storage/index.js';
import type { Meta, MetaTxn } from '../meta/index.js';
import { jobKey, type JobRecord, type RunningJobRecord } from '../pipelines/model.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface JobEpoch {
  readonly pipeline: string;
  readonly job: string;
  readonly epoch: number;
}

const RUNNING = 'jrun/';

export class JobEpochs {
  /** Plan → epoch. */
  readonly #known = new Map<string, number>();

  constructor(readonly deps: { readonly meta: Meta; readonly storage: Storage }) {}

  /** Reads the plans of all running jobs, so that a transaction need not wait for them. */
  async load(wait: Wait): Promise<void> {
    const { meta, storage } = this.deps;
    const jobs: JobRecord[] = [];
    for await (const kv of meta.scan(RUNNING, wait)) {
      const { pipeline, job } = JSON.parse(kv.value.toString()) as RunningJobRecord;
      const record = await meta.getJson<JobRecord>(jobKey(pipeline, job), wait);
      if (record) jobs.push(record);
    }
    for (const { plan } of jobs) {
      if (plan === undefined || this.#known.has(plan)) continue;
      const { spec } = await storage.getJson<{ spec: string }>(plan, wait);
      const { epoch } = await storage.getJson<{ epoch: number }>(spec, wait);
      this.#known.set(plan, epoch);
    }
  }

  /** The jobs that run, as of the transaction; undefined when one of them is not loaded yet. */
  async oldestIn(t: MetaTxn): Promise<JobEpoch[] | undefined> {
    const found: JobEpoch[] = [];
    for (const kv of await t.range(RUNNING, { compare: false })) {
      const { pipeline, job } = JSON.parse(kv.value.toString()) as RunningJobRecord;
      const plan = (await t.peekJson<JobRecord>(jobKey(pipeline, job)))?.plan;
      if (plan === undefined) continue;
      const epoch = this.#known.get(plan);
      if (epoch === undefined) return undefined;
      found.push({ pipeline, job, epoch });
    }
    return found;
  }
}
