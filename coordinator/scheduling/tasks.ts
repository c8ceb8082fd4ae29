/**
 * The rule that cuts a job's datums into tasks (guided self-scheduling). It is a pure function of
 * what the plan records, so every owner of the job gets the same list.
 */

/** Datums `[from, to)` of a segment. */
export interface TaskSlice {
  readonly segment: number;
  readonly from: number;
  readonly to: number;
}

export interface CutRule {
  /** Datums in each segment. */
  readonly segments: readonly number[];
  /** Tasks that may be in flight at once. */
  readonly slots: number;
  /** Mean time of a datum in the pipeline's last job, when known. */
  readonly meanDatumMs?: number;
  /** `chunk_spec.number`: datums per task, 0 = automatic. */
  readonly number?: number;
  /** `max_queue_size`: datums that a slot wants to have at hand; tasks have room for them. */
  readonly queueSize?: number;
  /** `chunk_spec.size_bytes`: a task is closed when its inputs reach this, 0 = no limit. */
  readonly sizeBytes?: number;
  /** Input bytes of a datum; needed with `sizeBytes`. */
  readonly bytesOf?: (segment: number, index: number) => number;
}

/** No task is larger, so that a lost worker costs little and progress is seen. */
export const TASK_DATUMS_MAX = 64;
/** Used while nothing is known about how long datums take. */
const TASK_DATUMS_UNKNOWN = 32;
/** What a task should take when the mean is known. */
const TASK_TARGET_MS = 3_000;

/** Into so many tasks at least goes what a slot has to do, where that is many datums. */
const TASKS_PER_SLOT = 32;

/**
 * Sizes: never more than an eighth of what is left per slot, so the tail shrinks to single datums and
 * long datums behind each other in one task cost little (a quarter cost up to 40 % with skewed times);
 * while the mean is unknown tasks start at one datum and double every `slots` tasks. Of very many
 * datums the last tasks have several: a task costs as much as a small datum, and a 32nd of a slot's
 * work makes no tail.
 */
export function cutTasks(rule: CutRule): TaskSlice[] {
  const tasks: TaskSlice[] = [];
  const slots = Math.max(1, rule.slots);
  const total = rule.segments.reduce((sum, count) => sum + count, 0);
  const least = Math.floor(total / (TASKS_PER_SLOT * slots));
  let left = total;
  for (const [segment, count] of rule.segments.entries()) {
    let from = 0;
    while (from < count) {
      const want = sizeOf(rule, { left, slots, least, made: tasks.length });
      const to = closeAt(rule, segment, from, Math.min(count, from + want));
      tasks.push({ segment, from, to });
      left -= to - from;
      from = to;
    }
  }
  return tasks;
}

interface CutPlace {
  readonly left: number;
  readonly slots: number;
  readonly least: number;
  readonly made: number;
}

function sizeOf(rule: CutRule, at: CutPlace): number {
  if (rule.number && rule.number > 0) return rule.number;
  const guided = Math.max(at.least, Math.ceil(at.left / (8 * at.slots)));
  const known = rule.meanDatumMs;
  const max =
    known === undefined
      ? Math.min(TASK_DATUMS_UNKNOWN, 2 ** Math.min(20, Math.floor(at.made / at.slots)))
      : Math.min(TASK_DATUMS_MAX, Math.floor(TASK_TARGET_MS / Math.max(1, known)));
  const queue = Math.min(TASK_DATUMS_MAX, rule.queueSize ?? 1);
  return Math.max(1, Math.min(guided, Math.max(max, queue)));
}

function closeAt(rule: CutRule, segment: number, from: number, to: number): number {
  if (!rule.sizeBytes || rule.sizeBytes <= 0 || !rule.bytesOf) return to;
  let bytes = 0;
  for (let index = from; index < to; index += 1) {
    bytes += rule.bytesOf(segment, index);
    if (bytes >= rule.sizeBytes) return index + 1;
  }
  return to;
}
