/** What scheduling stands on, and the fence under which an owner writes. */
import type { Clock } from '../../core/clock.js';
import type { Log } from '../../core/log.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { Queue } from '../../queue/index.js';
import type { Storage } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { Meta, MetaTxn } from '../meta/index.js';
import type { JobRecord, PipelineRecord } from '../pipelines/model.js';
import type { Versioning } from '../versioning/index.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { PlanPool } from './plan-pool.js';
import type { Views } from './views.js';

/** What a pipeline wants done with an output before its job has succeeded. */
export interface Egress {
  wanted(info: PipelineInfo): boolean;
  /**
   * May be called again for the same job, by another owner too. Throws JobFailed to end the job as
   * FAILURE with that reason (its output commit stays), anything else to be tried again later.
   */
  run(
    what: {
      readonly info: PipelineInfo;
      readonly job: JobRecord;
      readonly root: DirNode;
      /** Writes a line of the job's master log. */
      readonly say: (message: string) => void;
    },
    wait: Wait,
  ): Promise<void>;
}

export interface SchedulingDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly queue: Queue;
  readonly versioning: Versioning;
  readonly log: Log;
  readonly clock: Clock;
  /** Reads a pipeline's spec as of one of its spec commits. */
  readonly loadSpec: (
    spec: { readonly pipeline: string; readonly specCommit: string },
    wait: Wait,
  ) => Promise<PipelineInfo>;
  /** Why a pipeline can not get what it needs (a secret, a source) at the moment; for CRASHING. */
  readonly troubleOf?: (
    record: PipelineRecord,
    info: PipelineInfo,
    wait: Wait,
  ) => Promise<string | undefined>;
  /** Absent = outputs only stay here. */
  readonly egress?: Egress;
  /** Absent = jobs are planned in place. */
  readonly planPool?: PlanPool;
  /** Datums from which on a job begins with a partial plan; absent = as plan.ts has it. */
  readonly earlyFrom?: number;
  /** Datums that a job beside others may have to run; absent = as plan-beside.ts has it. */
  readonly besideMax?: number;
}

/** Deps with what the scheduler adds. */
export interface OwnerDeps extends SchedulingDeps {
  readonly maps: ManifestMaps;
  readonly views: Views;
}

/**
 * Proof of owning a pipeline. Every transaction of the owner compares the lock key's revision, so a
 * paused owner that was replaced can write nothing more.
 */
export interface Fence {
  readonly pipeline: string;
  readonly key: string;
  /** The lock key is written once, so this is its create revision too. */
  readonly revision: number;
}

/** Runs an owner's transaction under its fence. */
export async function fenced<T>(
  meta: Meta,
  fence: Fence,
  work: (t: MetaTxn) => Promise<T>,
  options: Wait & { readonly label: string },
): Promise<T> {
  const label = `${options.label} of ${fence.pipeline}`;
  return meta.transact(
    async (t) => {
      t.requireUnchanged(fence.key, fence.revision);
      return work(t);
    },
    { signal: options.signal, label },
  );
}
