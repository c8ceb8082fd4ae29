/** States of pipelines: FAILURE and what it means downstream, CRASHING and back. */
import { beforeEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../../core/signals.js';
import type { PipelineRecord } from '../../../coordinator/pipelines/index.js';
import { until } from '../../support/until.js';
import { UnrunnableError, type Code } from './queue-worker.js';
import {
  commit,
  ended,
  jobs,
  pfs,
  pipeline,
  schedulingServers,
  type Coordinator,
  type SchedulingStack,
} from './stack.js';

const wait = { signal: NEVER };
const nothing: Code = () => ({});
const servers = schedulingServers();
let stack: SchedulingStack;
let at: Coordinator;

beforeEach(async () => {
  stack = await servers.stack();
  at = await stack.coordinator();
  await commit(stack, 'in', { '/a': 'one', '/b': 'two' });
});

async function stateOf(name: string): Promise<PipelineRecord | undefined> {
  const kv = await stack.base.meta.get(`pl/${name}`, wait);
  return kv && (JSON.parse(kv.value.toString()) as PipelineRecord);
}

async function inState(name: string, state: string): Promise<PipelineRecord> {
  return until(`${name} is ${state}`, async () => {
    const record = await stateOf(name);
    return record?.state === state ? record : undefined;
  });
}

describe('a pipeline', () => {
  it('whose datums can run nowhere is FAILURE until its update; what is downstream fails', async () => {
    let broken = true;
    const code: Code = () => {
      if (broken) throw new UnrunnableError('image "no/such:1" can not be pulled');
      return { '/x': 'x' };
    };
    await stack.worker(at, { slots: 2, code });
    await pipeline(at, 'up', pfs('in', '/*'));
    await pipeline(at, 'down', pfs('up', '/*'));
    const failed = await inState('up', 'FAILURE');
    expect(failed.reason).toBe('image "no/such:1" can not be pulled');
    expect(await ended(stack, 'up', 1)).toMatchObject({ state: 'FAILURE', reason: failed.reason });
    expect(await ended(stack, 'down', 1)).toMatchObject({
      state: 'FAILURE',
      reason: 'inputs up failed',
    });
    // Nothing waits for it: later data fails downstream without a job here.
    await commit(stack, 'in', { '/c': 'three' });
    expect(await ended(stack, 'down', 2)).toMatchObject({ state: 'FAILURE' });
    expect(await jobs(stack, 'up')).toHaveLength(1);
    broken = false;
    await pipeline(at, 'up', pfs('in', '/*'), { update: true });
    await stack.worker(at, { slots: 2, code });
    await inState('up', 'RUNNING');
  });

  it('that no worker has the labels for is CRASHING until one comes', async () => {
    await stack.worker(at, { slots: 1, code: nothing });
    const schedulingSpec = { nodeSelector: { disk: 'ssd' }, priorityClassName: '' };
    await pipeline(at, 'picky', pfs('in', '/*'), { schedulingSpec });
    const crashing = await inState('picky', 'CRASHING');
    expect(crashing.reason).toContain('no worker has the labels disk=ssd');
    await until('the job says so too', async () =>
      (await jobs(stack, 'picky'))[0]?.reason.includes('disk=ssd'),
    );
    await stack.worker(at, { slots: 1, code: nothing, labels: { disk: 'ssd' } });
    expect(await ended(stack, 'picky', 1)).toMatchObject({ state: 'SUCCESS', reason: '' });
    expect((await inState('picky', 'RUNNING')).reason).toBe('');
  });

  it('with standby holds nothing while idle, through a chain', async () => {
    await stack.worker(at, { slots: 2, code: ({ files }) => ({ [`/${files.size}`]: 'x' }) });
    await pipeline(at, 'first', pfs('in', '/*'), { standby: true });
    await pipeline(at, 'second', pfs('first', '/*'), { standby: true });
    expect(await ended(stack, 'second', 1)).toMatchObject({ state: 'SUCCESS' });
    await Promise.all([inState('first', 'STANDBY'), inState('second', 'STANDBY')]);
    await commit(stack, 'in', { '/c': 'three' });
    expect(await ended(stack, 'second', 2)).toMatchObject({ state: 'SUCCESS' });
    await Promise.all([inState('first', 'STANDBY'), inState('second', 'STANDBY')]);
    await at.pipelines.stop('first', wait);
    await inState('first', 'PAUSED');
    await at.pipelines.start('first', wait);
    await inState('first', 'STANDBY');
  });
});
