/** What a worker is told of a task. */
import type { TaskMessage } from '../../queue/messages.js';
import type { JobRecord } from '../pipelines/model.js';
import type { JobPlan } from './model.js';

export function taskMessage(
  job: JobRecord,
  plan: JobPlan,
  task: number,
  attempt: number,
): TaskMessage {
  const [segment, from, to] = plan.tasks[task] as readonly [number, number, number];
  return {
    pipeline: job.pipeline,
    job: job.id,
    version: job.version,
    task,
    attempt,
    spec: plan.spec,
    segment: (plan.segments[segment] as { ref: string }).ref,
    from,
    to,
  };
}
