import { describe, expect, it } from 'vitest';
import { codeOf, messageOf } from '../../core/errors.js';
import { MetaTxn } from '../meta/index.js';
import { Snapshot, type SnapshotSource } from '../meta/snapshot.js';
import {
  createJobIn,
  jobByCommitKey,
  jobIdKey,
  jobKey,
  patchJobIn,
  pipelineKey,
  removeJobIn,
  runningJobKey,
  setJobStateIn,
  setPipelineStateIn,
  type JobRecord,
  type JobStateName,
  type PipelineRecord,
} from './model.js';

const EMPTY: SnapshotSource = {
  getAll: async (keys) => ({ found: keys.map(() => undefined), revision: 1 }),
  range: async () => ({ kvs: [], revision: 1, more: false }),
};

const PIPELINE: PipelineRecord = {
  name: 'p',
  version: 1,
  state: 'STARTING',
  reason: '',
  specCommit: 'spec',
  stopped: false,
  jobCounts: {},
  lastJobState: 'STARTING',
  createdMs: 0,
  salt: 's',
  outputBranch: 'master',
  parallelism: { constant: 1, coefficient: 0 },
  inputBranches: [],
};

const NEW = {
  id: 'j1',
  pipeline: 'p',
  version: 1,
  specCommit: 'spec',
  outputBranch: 'master',
  outputCommit: 'c1',
  inputs: [{ repo: 'r', branch: 'master', commit: 'i1' }],
  startedMs: 5,
};
const AT = { pipeline: 'p', job: 'j1' };

function begin(): MetaTxn {
  const t = new MetaTxn(new Snapshot(EMPTY, { signal: new AbortController().signal }));
  t.putJson(pipelineKey('p'), PIPELINE);
  return t;
}

const counts = async (t: MetaTxn): Promise<PipelineRecord | undefined> =>
  t.getJson<PipelineRecord>(pipelineKey('p'));

async function failure(work: Promise<unknown>): Promise<{ code: string; text: string }> {
  const error: unknown = await work.then(
    () => undefined,
    (e: unknown) => e,
  );
  return { code: codeOf(error), text: messageOf(error) };
}

describe('job records', () => {
  it('come with their lookups and count at the pipeline', async () => {
    const t = begin();
    const job = await createJobIn(t, NEW);
    expect(job).toMatchObject({ state: 'STARTING', outputRepo: 'p', total: 0 });
    expect(await t.getJson(jobIdKey('j1'))).toEqual(AT);
    expect(await t.getJson(jobByCommitKey('p', 'c1'))).toEqual(AT);
    expect(await t.getJson(runningJobKey('j1'))).toMatchObject({ outputCommit: 'c1' });
    expect(await counts(t)).toMatchObject({ jobCounts: { STARTING: 1 }, lastJobState: 'STARTING' });
  });

  it('are one per output commit, however often creation is tried', async () => {
    const t = begin();
    await createJobIn(t, NEW);
    const again = await createJobIn(t, { ...NEW, id: 'j2' });
    expect(again.id).toBe('j1');
    expect((await counts(t))?.jobCounts).toEqual({ STARTING: 1 });
  });

  it('need their pipeline', async () => {
    const t = begin();
    t.delete(pipelineKey('p'));
    expect(await failure(createJobIn(t, NEW))).toEqual({
      code: 'NOT_FOUND',
      text: 'pipeline "p" not found',
    });
  });

  it('move through their states with exact counts', async () => {
    const t = begin();
    await createJobIn(t, NEW);
    await setJobStateIn(t, AT, { state: 'RUNNING', nowMs: 6, patch: { total: 3, plan: 'ref' } });
    await patchJobIn(t, AT, { processed: 2 });
    await setJobStateIn(t, AT, { state: 'MERGING', nowMs: 7 });
    expect((await counts(t))?.jobCounts).toEqual({ STARTING: 0, RUNNING: 0, MERGING: 1 });
    const done = await setJobStateIn(t, AT, {
      state: 'SUCCESS',
      nowMs: 9,
      patch: { processed: 3 },
    });
    expect(done).toMatchObject({ finishedMs: 9, total: 3, processed: 3, plan: 'ref' });
    expect(await t.get(runningJobKey('j1'))).toBeUndefined();
    expect(await counts(t)).toMatchObject({
      jobCounts: { STARTING: 0, RUNNING: 0, MERGING: 0, SUCCESS: 1 },
      lastJobState: 'SUCCESS',
    });
  });

  it.each<JobStateName>(['SUCCESS', 'FAILURE', 'KILLED'])('never leave %s', async (state) => {
    const t = begin();
    await createJobIn(t, NEW);
    await setJobStateIn(t, AT, { state, reason: 'why', nowMs: 9 });
    for (const attempt of [
      setJobStateIn(t, AT, { state: 'RUNNING', nowMs: 10 }),
      patchJobIn(t, AT, { processed: 1 }),
    ]) {
      expect(await failure(attempt)).toEqual({
        code: 'STATE_CONFLICT',
        text: 'job j1 has already finished',
      });
    }
    expect(await t.getJson<JobRecord>(jobKey('p', 'j1'))).toMatchObject({ state, reason: 'why' });
  });

  it('leave nothing behind when removed, but counts stay', async () => {
    const t = begin();
    const job = await createJobIn(t, NEW);
    removeJobIn(t, job);
    for (const key of [jobKey('p', 'j1'), jobIdKey('j1'), runningJobKey('j1')]) {
      expect(await t.get(key)).toBeUndefined();
    }
    expect(await t.get(jobByCommitKey('p', 'c1'))).toBeUndefined();
    expect((await counts(t))?.jobCounts).toEqual({ STARTING: 1 });
    expect((await failure(setJobStateIn(t, AT, { state: 'KILLED', nowMs: 1 }))).text).toBe(
      '/pachyderm_pps/jobs/ j1 not found',
    );
  });
});

describe('pipeline state', () => {
  it('is written only when it changes', async () => {
    const t = begin();
    expect(await setPipelineStateIn(t, 'p', { state: 'STARTING' })).toBe(false);
    expect(await setPipelineStateIn(t, 'p', { state: 'FAILURE', reason: 'no image' })).toBe(true);
    expect(await counts(t)).toMatchObject({ state: 'FAILURE', reason: 'no image' });
  });
});
