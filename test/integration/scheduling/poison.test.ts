/** A datum that takes its worker down each time it runs. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../core/signals.js';
import { startEtcd, type EtcdServer } from '../../support/etcd.js';
import { startNats, type NatsServer } from '../../support/nats.js';
import type { Code } from './queue-worker.js';
import {
  commit,
  datums,
  ended,
  openSchedulingStack,
  pfs,
  pipeline,
  type Coordinator,
  type SchedulingStack,
} from './stack.js';

const wait = { signal: NEVER };
const DATUMS = 60;
let etcd: EtcdServer;
let nats: NatsServer;
let stack: SchedulingStack;
let at: Coordinator;
let deaths: number;

beforeAll(async () => {
  [etcd, nats] = await Promise.all([startEtcd({ fsync: false }), startNats()]);
});
afterAll(async () => {
  await Promise.all([etcd[Symbol.asyncDispose](), nats[Symbol.asyncDispose]()]);
});
beforeEach(async () => {
  deaths = 0;
  stack = await openSchedulingStack(etcd, nats);
  at = await stack.coordinator();
  await stack.base.versioning.createRepo({ name: 'in' }, wait);
  const files: Record<string, string> = {};
  for (let i = 0; i < DATUMS; i += 1) files[`/f${i}`] = `content ${i}`;
  await commit(stack, 'in', files);
});
afterEach(async () => {
  await stack[Symbol.asyncDispose]();
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
    const job = await ended(stack, 'p', 1, 100_000);
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
