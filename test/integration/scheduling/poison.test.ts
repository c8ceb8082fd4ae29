/** A datum that takes its worker down each time it runs. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { Code } from './queue-worker.js';
import {
  commit,
  datums,
  ended,
  pfs,
  pipeline,
  schedulingServers,
  type Coordinator,
  type SchedulingStack,
} from './stack.js';

const DATUMS = 60;
const servers = schedulingServers();
let stack: SchedulingStack;
let at: Coordinator;
let deaths: number;

beforeEach(async () => {
  deaths = 0;
  stack = await servers.stack();
  at = await stack.coordinator();
  const files: Record<string, string> = {};
  for (let i = 0; i < DATUMS; i += 1) files[`/f${i}`] = `content ${i}`;
  await commit(stack, 'in', files);
});

/** A worker in whose place another comes when it dies. */
async function mortal(poison: ReadonlySet<string>): Promise<void> {
  const code: Code = async ({ files, signal }) => {
    if (![...files.keys()].some((name) => poison.has(name))) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      return {};
    }
    deaths += 1;
    // Its signal is aborted when this returns: nothing of the task is published.
    void worker[Symbol.asyncDispose]().then(() => mortal(poison));
    signal.throwIfAborted();
    return {};
  };
  const worker = await stack.worker(at, { slots: 4, code });
}

describe('a datum that kills its worker', () => {
  it('fails by itself, at the price of a few workers; the others succeed', async () => {
    const parallelismSpec = { constant: 8, coefficient: 0 };
    await pipeline(at, 'p', pfs('in', '/*'), {
      parallelismSpec,
      chunkSpec: { number: 10, sizeBytes: 0 },
    });
    await Promise.all([mortal(new Set(['in:/f7'])), mortal(new Set(['in:/f7']))]);
    // The queue by itself would wait 30 s for the tasks of a worker that dies as the job begins.
    const job = await ended(stack, 'p', 1, 28_000);
    expect(job).toMatchObject({ state: 'FAILURE', failed: 1, processed: DATUMS - 1 });
    expect(job.reason).toMatch(
      /^failed to process datum: [0-9a-f]{64} \(in:\/f7\): 5 workers were lost/,
    );
    // Five by the rules, and one more when the first was gone before anybody looked.
    expect(deaths).toBeLessThanOrEqual(6);
    const rows = await datums(at, job);
    expect(rows).toHaveLength(DATUMS);
    const failed = rows.filter((row) => row.state === 'FAILED');
    expect(failed.flatMap((row) => row.files.map((file) => file.path))).toEqual(['/f7']);
  });
});
