/** Job records on a real etcd, moved by hand: inspect, list, flush, stop, delete, waiting. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { codeOf, messageOf } from '../../core/errors.js';
import { newId } from '../../core/ids.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import {
  createJobIn,
  openPipelines,
  setJobStateIn,
  type JobRecord,
  type JobStateName,
  type Pipelines,
} from '../../coordinator/pipelines/index.js';
import {
  CreatePipelineRequest,
  DeletePipelineRequest,
  FlushJobRequest,
  InspectJobRequest,
  JobState,
  ListJobRequest,
  type JobInfo,
} from '../../proto/generated/pps.js';
import { startEtcd, type EtcdServer } from '../support/etcd.js';
import { openVersioningStack, type VersioningStack } from '../support/versioning.js';

const wait = { signal: NEVER };
let etcd: EtcdServer;
let stack: VersioningStack;
let pipelines: Pipelines;
let clockMs = 1_700_000_000_000;

beforeAll(async () => {
  etcd = await startEtcd({ fsync: false });
});
afterAll(async () => {
  await etcd[Symbol.asyncDispose]();
});
beforeEach(async () => {
  stack = await openVersioningStack(etcd);
  pipelines = await openPipelines({ ...stack, clock: systemClock, log: silentLog }, wait);
  await stack.versioning.createRepo({ name: 'in' }, wait);
  await create('p');
});
afterEach(async () => {
  await pipelines[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
});

const create = (name: string, repo = 'in', more: object = {}): Promise<void> =>
  pipelines.create(
    CreatePipelineRequest.fromPartial({
      pipeline: { name },
      transform: { image: 'host', cmd: ['true'] },
      input: { pfs: { repo, glob: '/*' } },
      ...more,
    }),
    wait,
  );
const MASTER = { repo: 'in', name: 'master' };
const put = async (path: string): Promise<string> =>
  (await stack.versioning.oneShot(MASTER, [await stack.put({ [path]: 'x' })], wait)).id;

/** What the owner of a pipeline does when its output commit is ready. */
async function begin(pipeline = 'p'): Promise<JobRecord> {
  const commit = await stack.versioning.resolveCommit({ repo: pipeline, id: 'master' }, wait);
  const record = await pipelines.record(pipeline, wait);
  clockMs += 1_000;
  return stack.meta.transact(
    (t) =>
      createJobIn(t, {
        id: newId(clockMs),
        pipeline,
        version: record.version,
        specCommit: record.specCommit,
        outputBranch: 'master',
        outputCommit: commit.id,
        inputs: commit.provenance
          .filter(({ repo }) => repo !== '__spec__')
          .map(({ repo, branch, id }) => ({ repo, branch, commit: id })),
        startedMs: clockMs,
      }),
    { ...wait, label: 'test' },
  );
}

async function end(job: JobRecord, state: JobStateName): Promise<void> {
  await stack.meta.transact(
    async (t) => {
      const commit = { repo: job.outputRepo, id: job.outputCommit };
      const root = state === 'SUCCESS' ? { root: stack.storage.trees.empty } : {};
      await stack.versioning.finishOutputIn(t, commit, root);
      const at = { pipeline: job.pipeline, job: job.id };
      await setJobStateIn(t, at, { state, nowMs: job.startedMs + 5 });
      await stack.versioning.propagateIn(t);
    },
    { ...wait, label: 'test' },
  );
}

const inspect = (more: object): Promise<JobInfo> =>
  pipelines.inspectJob(InspectJobRequest.fromPartial(more), wait);
async function collect(infos: AsyncIterable<JobInfo>): Promise<JobInfo[]> {
  const found: JobInfo[] = [];
  for await (const info of infos) found.push(info);
  return found;
}
const list = async (more: object = {}): Promise<(string | undefined)[]> =>
  (await collect(pipelines.listJobs(ListJobRequest.fromPartial(more), wait))).map(
    (info) => info.job?.id,
  );
async function failure(promise: Promise<unknown>): Promise<{ code: string; text: string }> {
  try {
    await promise;
  } catch (error) {
    return { code: codeOf(error), text: messageOf(error) };
  }
  throw new Error('it should have failed');
}

describe('inspecting', () => {
  it('shows the whole job by id and by output commit', async () => {
    const commit = await put('/a');
    const job = await begin();
    const info = await inspect({ job: { id: job.id } });
    expect(info).toMatchObject({
      job: { id: job.id },
      pipeline: { name: 'p' },
      pipelineVersion: 1,
      state: JobState.JOB_STARTING,
      outputCommit: { repo: { name: 'p' }, id: job.outputCommit },
      outputBranch: 'master',
      transform: { cmd: ['true'] },
      input: { pfs: { repo: 'in', commit } },
      stats: { downloadBytes: 0 },
    });
    expect(info.finished).toBeUndefined();
    const byCommit = { outputCommit: { repo: { name: 'p' }, id: 'master' } };
    expect((await inspect(byCommit)).job?.id).toBe(job.id);
  });

  it('answers with the texts that clients know', async () => {
    await put('/a');
    const ghost = '0123456789ab4def8123456789abcdef';
    expect(await failure(inspect({}))).toEqual({
      code: 'INVALID_INPUT',
      text: 'must specify either a Job or an OutputCommit',
    });
    const both = { job: { id: ghost }, outputCommit: { repo: { name: 'p' }, id: 'master' } };
    expect((await failure(inspect(both))).text).toBe("can't set both Job and OutputCommit");
    expect(await failure(inspect({ job: { id: ghost } }))).toEqual({
      code: 'NOT_FOUND',
      text: `/pachyderm_pps/jobs/ ${ghost} not found`,
    });
    const commit = { repo: { name: 'p' }, id: 'master' };
    expect((await failure(inspect({ outputCommit: commit }))).text).toBe(
      'job with output commit master not found',
    );
  });

  it('waits for the end with block_state', async () => {
    await put('/a');
    const job = await begin();
    const blocked = inspect({ job: { id: job.id }, blockState: true });
    await end(job, 'SUCCESS');
    const info = await blocked;
    expect(info.state).toBe(JobState.JOB_SUCCESS);
    expect(info.finished?.seconds).toBe(Math.floor((job.startedMs + 5) / 1000));
  });

  it('says so when a job that is waited for is deleted', async () => {
    await put('/a');
    const job = await begin();
    const waiting = await pipelines.job(job.id, wait);
    expect(waiting.state).toBe('STARTING');
    const blocked = failure(inspect({ job: { id: job.id }, blockState: true }));
    await pipelines.deleteJob(job.id, wait);
    const { code, text } = await blocked;
    expect(code).toBe('NOT_FOUND');
    expect(text).toMatch(/was deleted|not found/);
  });
});

describe('listing', () => {
  it('is newest first over all pipelines, with filters', async () => {
    const first = await put('/a');
    const a = await begin();
    await end(a, 'SUCCESS');
    await create('q');
    const b = await begin('q');
    await end(b, 'FAILURE');
    await put('/b');
    const c = await begin();
    expect(await list()).toEqual([c.id, b.id, a.id]);
    expect(await list({ pipeline: { name: 'p' } })).toEqual([c.id, a.id]);
    const inputCommit = [{ repo: { name: 'in' }, id: first }];
    expect(await list({ inputCommit })).toEqual([b.id, a.id]);
    expect(await list({ inputCommit: [{ repo: { name: 'in' }, id: 'master' }] })).toEqual([c.id]);
    const outputCommit = { repo: { name: 'p' }, id: a.outputCommit };
    expect(await list({ outputCommit })).toEqual([a.id]);
    expect(await list({ jqFilter: '.state == "JOB_FAILURE"' })).toEqual([b.id]);
    expect(await failure(list({ pipeline: { name: 'x' } }))).toEqual({
      code: 'NOT_FOUND',
      text: 'pipeline "x" not found',
    });
  });

  it('shows jobs of the present spec unless history is asked for', async () => {
    await put('/a');
    const old = await begin();
    await end(old, 'SUCCESS');
    await create('p', 'in', { update: true });
    const now = await begin();
    expect(await list()).toEqual([now.id]);
    expect(await list({ history: 1 })).toEqual([now.id, old.id]);
    expect(await list({ history: -1 })).toEqual([now.id, old.id]);
  });

  it('pages through many jobs in order', async () => {
    const made: string[] = [];
    const record = await pipelines.record('p', wait);
    await stack.meta.transact(
      async (t) => {
        made.length = 0;
        for (let n = 0; n < 250; n += 1) {
          clockMs += 1;
          const job = await createJobIn(t, {
            id: newId(clockMs),
            pipeline: 'p',
            version: 1,
            specCommit: record.specCommit,
            outputBranch: 'master',
            outputCommit: newId(clockMs),
            inputs: [],
            startedMs: clockMs,
          });
          made.unshift(job.id);
        }
      },
      { ...wait, label: 'test' },
    );
    expect(await list()).toEqual(made);
    expect((await pipelines.inspect('p', wait)).jobCounts).toEqual({ 0: 250 });
  });
});

describe('ending', () => {
  it('by request kills the job and finishes its output empty', async () => {
    await put('/a');
    const job = await begin();
    await pipelines.stopJob(job.id, wait);
    expect((await inspect({ job: { id: job.id } })).state).toBe(JobState.JOB_KILLED);
    const output = await stack.versioning.resolveCommit({ repo: 'p', id: 'master' }, wait);
    expect(output.kind).toBe('empty');
    await pipelines.stopJob(job.id, wait);
    const info = await pipelines.inspect('p', wait);
    expect(info.jobCounts).toEqual({ [JobState.JOB_STARTING]: 0, [JobState.JOB_KILLED]: 1 });
    expect(info.lastJobState).toBe(JobState.JOB_KILLED);
    expect((await failure(end(job, 'SUCCESS'))).code).toBe('STATE_CONFLICT');
  });

  it('by an update or a stop of the pipeline kills it too', async () => {
    await put('/a');
    const first = await begin();
    await create('p', 'in', { update: true });
    const second = await begin();
    await pipelines.stop('p', wait);
    const reasons = ['pipeline has been updated', ''];
    for (const [n, job] of [first, second].entries()) {
      const info = await inspect({ job: { id: job.id } });
      expect(info).toMatchObject({ state: JobState.JOB_KILLED, reason: reasons[n] });
    }
  });

  it('by delete removes the record, not the output commit', async () => {
    await put('/a');
    const job = await begin();
    await pipelines.deleteJob(job.id, wait);
    expect(await list({ history: -1 })).toEqual([]);
    const output = await stack.versioning.resolveCommit({ repo: 'p', id: 'master' }, wait);
    expect(output.kind).toBe('empty');
    expect((await failure(pipelines.deleteJob(job.id, wait))).code).toBe('NOT_FOUND');
    expect((await failure(pipelines.stopJob(job.id, wait))).code).toBe('NOT_FOUND');
  });

  it('happens to jobs whose input commit is deleted', async () => {
    const commit = await put('/a');
    const job = await begin();
    await stack.versioning.deleteCommit({ repo: 'in', id: commit }, wait);
    expect(await list({ history: -1 })).toEqual([]);
    expect((await failure(inspect({ job: { id: job.id } }))).code).toBe('NOT_FOUND');
  });

  it('of the pipeline takes its jobs along', async () => {
    await put('/a');
    const job = await begin();
    await pipelines.delete(DeletePipelineRequest.fromPartial({ pipeline: { name: 'p' } }), wait);
    expect(await list({ history: -1 })).toEqual([]);
    expect((await failure(inspect({ job: { id: job.id } }))).code).toBe('NOT_FOUND');
    const left: string[] = [];
    for (const prefix of ['pl/', 'job/', 'jo/', 'ji/', 'jrun/', 'open/p/', 'br/p/', 'sv/in/']) {
      for await (const kv of stack.meta.scan(prefix, wait)) left.push(kv.key);
    }
    expect(left).toEqual([]);
  });
});

describe('flushing', () => {
  it('waits for jobs that do not exist yet, down the whole chain', async () => {
    await create('q', 'p');
    const commit = await put('/a');
    const commits = [{ repo: { name: 'in' }, id: commit }];
    const all = FlushJobRequest.fromPartial({ commits });
    const flushed = collect(pipelines.flushJobs(all, wait));
    const p = await begin('p');
    await end(p, 'SUCCESS');
    const q = await begin('q');
    await end(q, 'FAILURE');
    const infos = await flushed;
    expect(infos.map((info) => info.job?.id).sort()).toEqual([p.id, q.id].sort());
    const only = FlushJobRequest.fromPartial({ commits, toPipelines: [{ name: 'q' }] });
    const one = await collect(pipelines.flushJobs(only, wait));
    expect(one.map(({ job }) => job?.id)).toEqual([q.id]);
  });

  it('needs commits', async () => {
    const none = collect(pipelines.flushJobs(FlushJobRequest.fromPartial({}), wait));
    expect(await failure(none)).toEqual({
      code: 'INVALID_INPUT',
      text: 'fromCommits cannot be empty',
    });
  });
});
