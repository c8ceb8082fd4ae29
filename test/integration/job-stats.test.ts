/** Pipelines with `enable_stats`: the stats branch, its tree, and what datum rpcs make of it. */
import { describe, expect, it } from 'vitest';
import {
  DatumState,
  JobState,
  ListDatumRequest,
  type DatumInfo,
  type InspectDatumRequest,
  type ListDatumResponse,
} from '../../proto/generated/pps.js';
import { sharedStack } from '../support/shared.js';
import type { Stack } from '../support/stack.js';
import { bashPipeline, type StackClient } from '../support/stack-client.js';
import { until } from '../support/until.js';

let stack: Stack;
let client: StackClient;

sharedStack({ workers: 1, slots: 2 }, (made) => {
  stack = made;
  ({ client } = stack);
});

const pipeline = (name: string, code: string, more: object = {}): Promise<void> =>
  bashPipeline(client, name, code, { enableStats: true, ...more });

async function listDatums(job: string): Promise<DatumInfo[]> {
  const request = ListDatumRequest.fromPartial({ job: { id: job } });
  const call = client.pps.listDatum.bind(client.pps);
  return (await client.call<ListDatumRequest, ListDatumResponse>(call, request)).datumInfos;
}

function inspectDatum(request: InspectDatumRequest): Promise<DatumInfo> {
  const call = client.pps.inspectDatum.bind(client.pps);
  return client.call<InspectDatumRequest, DatumInfo>(call, request);
}

describe('stats', () => {
  it('are a commit of their own, with one directory per datum', async () => {
    await pipeline('st', 'cp /pfs/src/* /pfs/out/; echo working; test ! -e /pfs/src/bad');
    await client.put('st_in', { '/a': 'one', '/b': 'two' });
    const job = await client.ended('st');
    expect(job.state).toBe(JobState.JOB_SUCCESS);
    expect(job.statsCommit?.id).toMatch(/^[0-9a-f]{32}$/);
    const stats = job.statsCommit?.id ?? '';
    const files = await client.files('st', stats);
    const [first] = await listDatums(job.job?.id ?? '');
    const id = first?.datum?.id ?? '';
    const inside = Object.entries(files).filter(([path]) => path.startsWith(`/${id}/`));
    expect(Object.keys(files)).toHaveLength(2 * 6);
    const byName = Object.fromEntries(inside.map(([path, text]) => [path.slice(66), text]));
    expect(Object.keys(byName).sort()).toEqual([
      'index',
      `job:${job.job?.id}`,
      'logs',
      'pfs/out/a',
      'pfs/src/a',
      'stats',
    ]);
    expect(byName).toMatchObject({ index: '0', 'pfs/out/a': 'one', 'pfs/src/a': 'one' });
    expect(JSON.parse(byName['stats'] ?? '')).toMatchObject({ downloadBytes: '3' });
    const lines = (byName['logs'] ?? '').trim().split('\n');
    const user = lines.map((line) => JSON.parse(line) as { user: boolean; message: string });
    expect(user.filter((line) => line.user).map((line) => line.message)).toEqual(['working']);
    const branches = (await stack.tusk(['list', 'branch', 'st'])).stdout;
    expect(branches).toMatch(/stats +[0-9a-f]{32}/);
  });

  it('carry over what is skipped, drop what is gone, keep what a failed job did', async () => {
    const [one] = await client.jobs('st');
    await client.put('st_in', { '/bad': 'no', '/c': 'three' });
    const failed = await client.ended('st', 2);
    expect(failed.state).toBe(JobState.JOB_FAILURE);
    expect(failed.reason).toMatch(/^failed to process datum: [0-9a-f]{64} \(src:\/bad\)/);
    expect(await client.list('st', failed.outputCommit?.id ?? '')).toEqual([]);
    const rows = await listDatums(failed.job?.id ?? '');
    const { FAILED, SUCCESS, SKIPPED } = DatumState;
    expect(rows.map((row) => row.state)).toEqual([FAILED, SUCCESS, SKIPPED, SKIPPED]);
    const bad = rows[0]?.datum?.id ?? '';
    const files = await client.files('st', failed.statsCommit?.id ?? '');
    expect(files[`/${bad}/failure`]).toContain('exit status 1');
    const shown = await stack.tusk(['inspect', 'datum', failed.job?.id ?? '', bad]);
    expect(shown.stdout).toMatch(
      /^State\tFAILED\nReason\terror running user code: exit status 1.*\nData Downloaded\t/m,
    );
    expect(Object.keys(files).filter((path) => path.endsWith(`job:${one?.job?.id}`))).toHaveLength(
      2,
    );

    await stack.tusk(['delete', 'file', 'st_in@master:/bad']);
    await stack.tusk(['delete', 'file', 'st_in@master:/a']);
    const fixed = await client.ended('st', 4);
    expect(fixed).toMatchObject({ state: JobState.JOB_SUCCESS, dataSkipped: 2, dataTotal: 2 });
    const now = Object.keys(await client.files('st', fixed.statsCommit?.id ?? ''));
    expect(now.filter((path) => path.startsWith(`/${bad}/`))).toEqual([]);
    const jobs = now.filter((path) => path.includes('/job:')).map((path) => path.slice(70));
    // What the failed job achieved came along.
    expect(jobs.sort()).toEqual([one?.job?.id, failed.job?.id].sort());
    expect(now).toHaveLength(2 * 6);
  });

  it('show in inspect datum, and a flush waits for both commits', async () => {
    const before = await client.jobs('st');
    await client.put('st_in', { '/d': 'four' });
    const flushed = await stack.tusk(['flush', 'commit', 'st_in@master', '--raw']);
    expect(flushed.stdout.match(/"finished"/g)).toHaveLength(2);
    const job = await client.ended('st', before.length + 1);
    const [row] = await listDatums(job.job?.id ?? '');
    const text = (await stack.tusk(['inspect', 'datum', job.job?.id ?? '', row?.datum?.id ?? '']))
      .stdout;
    expect(text).toContain('State\tSUCCESS\nData Downloaded');
    expect(text).toContain(`/${row?.datum?.id}/pfs`);
    expect(text).toMatch(/Process Time\t.*s/);
    const request = { datum: { id: 'ab'.repeat(32), job: job.job } };
    await expect(inspectDatum(request)).rejects.toThrow("couldn't find job file");
  });

  it('are empty for a job that was stopped', async () => {
    await pipeline('slow', 'sleep 1000');
    await client.put('slow_in', { '/a': 'one' });
    const running = await client.running('slow', 0);
    const request = { datum: { id: 'ab'.repeat(32), job: running.job } };
    await expect(inspectDatum(request)).rejects.toThrow('job not finished, no stats output yet');
    await stack.tusk(['stop', 'job', running.job?.id ?? '']);
    const killed = await client.ended('slow');
    expect(killed.state).toBe(JobState.JOB_KILLED);
    const commit = (
      await stack.tusk(['inspect', 'commit', `slow@${killed.statsCommit?.id}`, '--raw'])
    ).stdout;
    expect(commit).toContain('"finished"');
    expect(commit).not.toContain('"tree"');
    expect(await client.files('slow', killed.statsCommit?.id ?? '')).toEqual({});
  });

  it('cannot be switched off, and can be switched on', async () => {
    await expect(pipeline('st', 'true', { update: true, enableStats: false })).rejects.toThrow(
      'pipeline st update error: cannot disable stats',
    );
    await pipeline('later', 'true', { enableStats: false });
    await client.put('later_in', { '/a': 'one' });
    const plain = await client.ended('later');
    expect(plain.statsCommit).toBeUndefined();
    const request = { datum: { id: 'ab'.repeat(32), job: plain.job } };
    await expect(inspectDatum(request)).rejects.toThrow('stats not enabled on later');
    await pipeline('later', 'true', { update: true });
    const after = await client.ended('later', 2);
    expect(after).toMatchObject({ dataSkipped: 1 });
    const paths = Object.keys(await client.files('later', after.statsCommit?.id ?? ''));
    expect(paths.some((path) => path.endsWith(`/job:${plain.job?.id}`))).toBe(true);
  });

  it('leave nothing open when the pipeline stops, starts and goes', async () => {
    await stack.tusk(['stop', 'pipeline', 'st']);
    await client.put('st_in', { '/e': 'five' });
    const before = (await client.jobs('st')).length;
    await stack.tusk(['start', 'pipeline', 'st']);
    const job = await client.ended('st', before + 1);
    expect(job.statsCommit).toBeDefined();
    await until('every commit is finished', async () => {
      const { stdout } = await stack.tusk(['list', 'commit', 'st', '--raw']);
      return (
        stdout.split('\n').filter((line) => line.includes('"started"')).length ===
        stdout.split('\n').filter((line) => line.includes('"finished"')).length
      );
    });
    expect((await stack.tusk(['fsck'])).stdout).toContain('No errors found');
    await stack.tusk(['delete', 'pipeline', 'st']);
  });
});
