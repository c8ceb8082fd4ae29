/** Who runs the process of a service, for people that look at its job. */
import type { RunningTask } from '../../../queue/index.js';
import type { JobRecord } from '../../pipelines/model.js';
import type { Views } from '../views.js';
import { liveKey } from './model.js';

/** The worker that serves this job; undefined for other jobs, and while no worker does. */
export function servedBy(
  { lives }: Pick<Views, 'lives'>,
  { id, pipeline, startedMs }: Pick<JobRecord, 'id' | 'pipeline' | 'startedMs'>,
): (RunningTask & { readonly worker: string }) | undefined {
  const live = lives.get(liveKey(pipeline));
  if (live?.job !== id) return undefined;
  return { pipeline, job: id, worker: live.worker, task: 0, attempt: 0, datum: '', startedMs };
}
