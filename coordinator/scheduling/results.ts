/** Reading the results index of a job: one blob when it has finished, a chain while it runs. */
import { corruptData } from '../../core/errors.js';
import type { TaskResult } from '../../queue/messages.js';
import type { Wait } from '../../storage/types.js';
import type { ResultsIndex } from './model.js';

interface Blobs {
  getJson<T>(ref: string, wait: Wait): Promise<T>;
}

/** Results in the order they were saved; a task may stand twice, the first one counts. */
export async function loadResults(
  storage: Blobs,
  ref: string,
  wait: Wait,
): Promise<{ head: ResultsIndex; results: TaskResult[] }> {
  const head = await storage.getJson<ResultsIndex>(ref, wait);
  const chain = [head];
  for (let next = head.previous; next !== undefined; next = chain.at(-1)?.previous) {
    const index = await storage.getJson<ResultsIndex>(next, wait);
    if (index.depth >= (chain.at(-1)?.depth ?? 0)) {
      throw corruptData(`the results index ${ref} points in a circle`);
    }
    chain.push(index);
  }
  return { head, results: chain.reverse().flatMap((index) => index.results) };
}
