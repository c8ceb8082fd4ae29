/** Servers in trouble under a coordinator of this process: what test/faults/nats.test.ts does to a stack. */
import { beforeEach, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { slowly, SlowJob } from '../integration/scheduling/slow-job.js';
import { pfs, pipeline, schedulingServers } from '../integration/scheduling/stack.js';

const servers = schedulingServers('each test');
let job: SlowJob;

beforeEach(async () => {
  const stack = await servers.stack();
  job = await SlowJob.prepare(stack);
  const at = await stack.coordinator();
  await stack.worker(at, { slots: 4, code: slowly });
  await pipeline(at, 'copy', pfs('in', '/*'));
  await job.midway();
});

it('a job survives a killed nats-server', async () => {
  await servers.nats.kill9();
  await servers.nats.restart();
  await job.expectWhole();
});

it('a job survives a nats-server that lost everything', async () => {
  await servers.nats.kill9();
  await servers.nats.wipe();
  await servers.nats.restart();
  await job.expectWhole();
});

it('a job survives etcd standing still for longer than a lease', async () => {
  servers.etcd.pause();
  await systemClock.sleep(13_000, { signal: NEVER });
  servers.etcd.resume();
  await job.expectWhole();
});
