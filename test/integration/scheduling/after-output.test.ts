/** What is done with an output before its job has succeeded. */
import { beforeEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../core/signals.js';
import { JobFailed, type Egress } from '../../../coordinator/scheduling/index.js';
import { until } from '../../support/until.js';
import {
  commit,
  copy,
  ended,
  jobs,
  output,
  pfs,
  pipeline,
  schedulingServers,
  type Coordinator,
  type SchedulingStack,
} from './stack.js';

const wait = { signal: NEVER };
const servers = schedulingServers();
let stack: SchedulingStack;
let runs: string[];
let act: (signal: AbortSignal) => Promise<void>;

const egress: Egress = {
  wanted: (info) => info.description === 'to be copied',
  run: async ({ root }, { signal }) => {
    runs.push(`${root.files} files`);
    await act(signal);
  },
};

beforeEach(async () => {
  runs = [];
  act = () => Promise.resolve();
  stack = await servers.stack();
  await commit(stack, 'in', { '/a': 'one' });
});

async function start(): Promise<Coordinator> {
  const at = await stack.coordinator({ egress });
  await stack.worker(at, { slots: 1, code: copy });
  await pipeline(at, 'out', pfs('in', '/*'), { description: 'to be copied' });
  return at;
}

describe('egress', () => {
  it('happens after the output is finished and before the job succeeds', async () => {
    let finish = (): void => undefined;
    act = () => new Promise((resolve) => (finish = resolve));
    await start();
    const [job] = await until('the job egresses', async () => {
      const list = await jobs(stack, 'out');
      return list[0]?.state === 'EGRESSING' && runs.length > 0 ? list : undefined;
    });
    expect(job && (await output(stack, job))).toEqual({ '/a': 'one' });
    finish();
    expect(await ended(stack, 'out', 1)).toMatchObject({ state: 'SUCCESS', reason: '' });
    expect(runs).toEqual(['1 files']);
  });

  it('that fails for good fails the job; the output stays', async () => {
    act = () => Promise.reject(new JobFailed('egress error: unrecognized object store: x', {}));
    await start();
    const job = await ended(stack, 'out', 1);
    expect(job).toMatchObject({
      state: 'FAILURE',
      reason: 'egress error: unrecognized object store: x',
    });
    expect(await output(stack, job)).toEqual({ '/a': 'one' });
  });

  it('goes on under another owner, without running datums again', async () => {
    act = (signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new Error('stopped'))),
      );
    const first = await start();
    await until('the job egresses', () => runs.length === 1);
    await first[Symbol.asyncDispose]();
    act = () => Promise.resolve();
    await stack.coordinator({ egress });
    expect(await ended(stack, 'out', 1)).toMatchObject({ state: 'SUCCESS', processed: 1 });
    expect(runs).toHaveLength(2);
  });

  it('ends with a stop of the job; the output stays', async () => {
    act = (signal) =>
      new Promise((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(new Error('stopped'))),
      );
    const at = await start();
    await until('the job egresses', () => runs.length === 1);
    const [job] = await jobs(stack, 'out');
    await at.pipelines.stopJob(job?.id ?? '', wait);
    const killed = await ended(stack, 'out', 1);
    expect(killed.state).toBe('KILLED');
    expect(await output(stack, killed)).toEqual({ '/a': 'one' });
  });
});
