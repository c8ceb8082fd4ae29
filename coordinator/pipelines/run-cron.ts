/** Ticks on request, beside those of the clock. */
import type { Wait } from '../../storage/types.js';
import { makeTick, noCron } from '../cron/ticks.js';
import { cronInputs } from './inputs.js';
import { getRecord } from './list.js';
import type { PipelineDeps } from './steps.js';

/** One tick, named by the present time, for every cron input of the pipeline. */
export async function runCron(deps: PipelineDeps, pipeline: string, wait: Wait): Promise<void> {
  const { specCommit } = await getRecord(deps.meta, pipeline, wait);
  const { input } = await deps.specs.load({ pipeline, specCommit }, wait);
  const crons = cronInputs(input);
  if (crons.length === 0) throw noCron();
  const nowMs = deps.clock.wallMs();
  for (const cron of crons) await makeTick(deps, cron, nowMs, wait);
  deps.log.info({ pipeline, inputs: crons.length }, 'cron ticks made on request');
}
