/** A job of some seconds, to be disturbed in the middle. */
import { expect } from 'vitest';
import type { JobRecord } from '../../../coordinator/pipelines/index.js';
import { until } from '../../support/until.js';
import type { Code } from './queue-worker.js';
import { commit, copy, ended, jobs, output, type SchedulingStack } from './stack.js';

const DATUMS = 120;

/** Copies its input after a while, so that a job takes some seconds. */
export const slowly: Code = async (datum) => {
  await new Promise((resolve) => setTimeout(resolve, 50));
  return copy(datum);
};

/** What the first job of the pipeline "copy" over `/*` of "in" is to make. */
export class SlowJob {
  private constructor(
    readonly stack: SchedulingStack,
    readonly files: Readonly<Record<string, string>>,
  ) {}

  /** Fills "in". */
  static async prepare(stack: SchedulingStack): Promise<SlowJob> {
    const files: Record<string, string> = {};
    for (let i = 0; i < DATUMS; i += 1) files[`/f${i}`] = `content ${i}`;
    await commit(stack, 'in', files);
    return new SlowJob(stack, files);
  }

  async midway(): Promise<JobRecord> {
    return until('the job is midway', async () =>
      (await jobs(this.stack, 'copy')).find((job) => job.processed > DATUMS / 10),
    );
  }

  /** Every datum once, the output whole. */
  async expectWhole(timeoutMs = 60_000): Promise<JobRecord> {
    const job = await ended(this.stack, 'copy', 1, timeoutMs);
    expect(job).toMatchObject({
      state: 'SUCCESS',
      reason: '',
      ...{ total: DATUMS, processed: DATUMS, skipped: 0, failed: 0 },
    });
    expect(await output(this.stack, job)).toEqual(this.files);
    expect(await jobs(this.stack, 'copy')).toHaveLength(1);
    return job;
  }
}
