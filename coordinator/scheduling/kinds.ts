/**
 * What a pipeline does with its workers, and what runs it:
 *
 * - `batch`: one job per output commit, ended when its datums are done (JobRun);
 * - `service`: one job per output commit, which serves until the next one takes over;
 * - `spout`: no jobs; code that runs as long as the pipeline does, and makes commits by itself.
 */
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { JobRecord, PipelineRecord } from '../pipelines/model.js';
import type { Fence, OwnerDeps } from './deps.js';
import type { InFlight } from './in-flight.js';
import { JobRun } from './job-run.js';
import { ServiceRun } from './live/service-run.js';
import { SpoutDuty } from './live/spout-duty.js';
import type { Overlap } from './overlap.js';
import type { WorkerStatuses } from './worker-statuses.js';

export type RunKind = 'batch' | 'service' | 'spout';

export function kindOf(info: Pick<PipelineInfo, 'service' | 'spout'>): RunKind {
  if (info.spout) return 'spout';
  return info.service ? 'service' : 'batch';
}

/** One attempt at a job. */
export interface Run {
  readonly job: JobRecord;
  /** Returns when the job has ended; throws what is worth another attempt. */
  run(wait: Wait): Promise<void>;
  /** For people who debug. */
  status(): unknown;
  /** The next job of the pipeline is there: come to a good end. Batches end by themselves. */
  supersede?(): void;
  /** Why it does not get on; empty when it does. Shown on the pipeline. */
  readonly trouble?: string;
}

/** An earlier job of the pipeline that has not ended. */
export interface EarlierRun {
  readonly job: JobRecord;
  /** The attempt under way. */
  readonly run: Run;
  /** Resolves when the job has ended, however. */
  readonly ended: Promise<void>;
}

/** What the running jobs of one pipeline share. */
export interface Shared {
  readonly overlap: Overlap;
  readonly inFlight: InFlight;
  readonly statuses: WorkerStatuses;
}

export interface RunInput extends Shared {
  readonly fence: Fence;
  readonly record: PipelineRecord;
  readonly job: JobRecord;
  /** In the order of their commits. This job may end only after them. */
  readonly earlier: readonly EarlierRun[];
}

export function makeRun(deps: OwnerDeps, kind: RunKind, input: RunInput): Run {
  switch (kind) {
    case 'service':
      return new ServiceRun(deps, input);
    case 'batch':
    case 'spout':
      return new JobRun(deps, input);
  }
}

export interface DutyInput {
  readonly fence: Fence;
  /** Its spec commit names the version; the duty ends with that version. */
  readonly record: PipelineRecord;
  readonly info: PipelineInfo;
  /** To be called when `trouble` changes. */
  readonly onChange: () => void;
}

/** What runs without jobs for as long as the pipeline runs. */
export interface Duty {
  /** Runs until the signal aborts; throws what is worth another attempt. */
  run(wait: Wait): Promise<void>;
  status(): unknown;
  /** As of a Run. */
  readonly trouble: string;
}

/** The duty of a spout. */
export function makeDuty(deps: OwnerDeps, input: DutyInput): Duty {
  return new SpoutDuty(deps, input);
}

/** Why the pipeline can never run as it is specified; undefined when it can. */
export function impossible(info: Pick<PipelineInfo, 'service' | 'spout'>): string | undefined {
  if (info.service && info.spout) {
    return 'could not generate RC options: only one of pipeline.service or pipeline.spout can be set';
  }
  return undefined;
}
