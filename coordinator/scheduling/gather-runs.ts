/**
 * Outputs that travelled inside of results, as objects. Small tasks bring their runs in the message;
 * kept with the results of a million datums those were 100 MiB of text in every checkpoint, and an
 * object for each was as many writes at the end of the job as there had been tasks. Some tasks of one
 * job that wrote little become one run instead: datums are told apart by seq (docs/formats/work.md,
 * "Results").
 */
import { setImmediate } from 'node:timers/promises';
import type { TaskResult } from '../../queue/messages.js';
import { joinRuns, refToText, runFromText, type TreeStorage } from '../../storage/index.js';
import type { ObjectRef, Wait } from '../../storage/types.js';

/** Tasks that make one run: few enough that a reader of one datum reads little besides. */
const GROUP_TASKS = 64;
/** What is kept too long when only one datum of a run is still needed: at most so much of a task. */
const TASK_BYTES_MAX = 64 * 1024;
/** Runs that the outputs of one job should make at most; larger jobs have larger groups. */
const RUNS_MAX = 512;

/** How many tasks of a job go together. */
export function groupSize(tasks: number): number {
  return Math.max(GROUP_TASKS, Math.ceil(tasks / RUNS_MAX));
}

/**
 * The results whose outputs travelled with them, with references to stored runs in their place.
 * `group` 1 stores each run by itself.
 */
export async function gatherRuns(
  storage: TreeStorage,
  results: readonly TaskResult[],
  { group, ...wait }: Wait & { readonly group: number },
): Promise<TaskResult[]> {
  const changed = new Map<number, TaskResult>();
  for (const field of ['run', 'statsRun'] as const) {
    const inline = results
      .filter((result) => result[field]?.startsWith('i:'))
      // Neighbours in number are often neighbours by path.
      .sort((a, b) => a.task - b.task);
    const stored: Promise<unknown>[] = [];
    for (let from = 0; from < inline.length; from += group) {
      const some = inline.slice(from, from + group);
      const runs = some.map((result) => runFromText(result[field] as string));
      const options = { ...wait, bytesMax: group > 1 ? TASK_BYTES_MAX : -1 };
      const joined = joinRuns(storage, runs, options).then((refs) => {
        for (const [at, result] of some.entries()) {
          const now = changed.get(result.task) ?? result;
          changed.set(result.task, { ...now, [field]: refToText(refs[at] as ObjectRef) });
        }
      });
      joined.catch(() => undefined); // Looked at below.
      stored.push(joined);
      if (stored.length >= IN_FLIGHT) await Promise.all(stored.splice(0));
      await setImmediate();
    }
    await Promise.all(stored);
  }
  return [...changed.values()];
}

/** Objects on their way to the store. */
const IN_FLIGHT = 8;
