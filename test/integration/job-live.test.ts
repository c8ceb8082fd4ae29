/** Jobs while they run: what workers do, restarted datums, counters, logs so far, chosen commits. */
import { createServer, type Server } from 'node:net';
import { describe, expect, it } from 'vitest';
import { InspectJobRequest, JobState, type JobInfo } from '../../proto/generated/pps.js';
import { runCli } from '../support/cli-run.js';
import { freePort } from '../support/free-port.js';
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
  bashPipeline(client, name, code, more);

function inspect(job: JobInfo): Promise<JobInfo> {
  const request = InspectJobRequest.fromPartial({ job: job.job, full: true });
  const call = client.pps.inspectJob.bind(client.pps);
  return client.call<InspectJobRequest, JobInfo>(call, request);
}

/** The command line inside this process: quicker than a process of its own. */
async function logs(...args: string[]): Promise<string[]> {
  const env = { PACHD_ADDRESS: stack.address };
  const { stdout } = await runCli(['logs', ...args], { env });
  return stdout.split('\n').filter((line) => line !== '');
}

/** A gate that user code waits at: a port that answers once it is open. Sandboxes hide files. */
class Gate {
  readonly #server: Server = createServer((socket) => socket.destroy());

  constructor(readonly port: number) {}

  static async make(): Promise<Gate> {
    return new Gate(await freePort());
  }

  /** Shell words that are true when the gate is open. */
  get isOpen(): string {
    return `(exec 3<>/dev/tcp/127.0.0.1/${this.port}) 2>/dev/null`;
  }

  get wait(): string {
    return `until ${this.isOpen}; do sleep 0.05; done`;
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.port, '127.0.0.1', resolve));
    this.#server.unref();
  }
}

describe('a running job', () => {
  it('tells what workers do, and shows the lines of the datum so far', async () => {
    const gate = await Gate.make();
    await pipeline('busy', `echo begun; echo more; ${gate.wait}; echo done`);
    await client.put('busy_in', { '/a': 'one' });
    const job = await client.running('busy', 0);
    const status = await until('a worker is at it', async () => {
      const [one] = (await inspect(job)).workerStatus;
      return one?.data.length ? one : undefined;
    });
    expect(status).toMatchObject({ jobId: job.job?.id, queueSize: 0, dataProcessed: 0 });
    expect(status.data.map(({ path }) => path)).toEqual(['/a']);
    expect(status.data[0]?.hash).toHaveLength(32);
    expect(status.started?.seconds).toBeGreaterThan(1_600_000_000);
    const id = job.job?.id ?? '';
    await until('its lines show', async () => (await logs('-j', id)).length === 2);
    expect(await logs('-p', 'busy')).toEqual(['begun', 'more']);
    expect(await logs('-p', 'busy', '--tail', '1')).toEqual(['more']);
    const hex = status.data[0]?.hash.toString('hex') ?? '';
    const base64 = status.data[0]?.hash.toString('base64') ?? '';
    for (const filter of ['/a', hex, base64]) {
      expect(await logs('-j', id, '--inputs', filter)).toEqual(['begun', 'more']);
    }
    expect(await logs('-j', id, '--inputs', '/b')).toEqual([]);
    expect((await logs('-j', id, '--worker')).join('\n')).toContain('beginning to run user code');
    expect((await logs('-p', 'busy', '--master')).join('\n')).toContain('1 datums');
    const following = stack.tusk(['logs', '-j', id, '--follow']);
    await stack.tusk(['list', 'job']);
    await gate.open();
    await client.ended('busy');
    expect((await following).stdout).toBe('begun\nmore\ndone\n');
    expect(await logs('-j', id)).toEqual(['begun', 'more', 'done']);
    expect(await logs('-p', 'busy', '--since', '1h')).toEqual(['begun', 'more', 'done']);
  });

  it.each(['job', 'commit'])('has a bar on a terminal while flush %s waits', async (what) => {
    const gate = await Gate.make();
    await pipeline(`bars-${what}`, `[ "$src" = /pfs/src/a ] || ${gate.wait}`);
    await client.put(`bars-${what}_in`, { '/a': 'one', '/b': 'two' });
    let drawn = '';
    const env = { PACHD_ADDRESS: stack.address };
    const terminal = (text: string): void => void (drawn += text);
    const flush = runCli(['flush', what, `bars-${what}_in@master`], { env, terminal });
    const bar = `bars-${what} ██████████░░░░░░░░░░ 1 / 2 running`;
    await until('half of it is drawn', () => drawn.includes(bar));
    await gate.open();
    const { code, stdout, stderr } = await flush;
    expect(code).toBe(0);
    expect(stdout.split('\n')).toHaveLength(3);
    // The last thing drawn takes the bars away.
    expect(stderr.endsWith('\u001b[1A\u001b[J')).toBe(true);
  });

  it('tries a datum again on request; that try counts as failed', async () => {
    const gate = await Gate.make();
    await pipeline('again', `echo try; ${gate.isOpen} || sleep 1000`, {
      datumTries: 2,
      parallelismSpec: { constant: 2 },
    });
    await client.put('again_in', { '/a': 'one', '/b': 'two' });
    const job = await client.running('again', 0);
    const id = job.job?.id ?? '';
    const none = await stack.tusk(['restart', 'datum', id, '/none,/other'], { check: false });
    expect(none.stderr).toContain(
      `datum matching filter [/none /other] could not be found for jobID ${id}`,
    );
    const statuses = await until('both datums are at work', async () => {
      const list = (await inspect(job)).workerStatus;
      return list.length === 2 && list.every(({ data }) => data.length > 0) ? list : undefined;
    });
    await until('both run', async () => (await logs('-j', id)).length === 2);
    await gate.open();
    const b = statuses.flatMap(({ data }) => data).find(({ path }) => path === '/b');
    await stack.tusk(['restart', 'datum', id, '/a']);
    await stack.tusk(['restart', 'datum', id, `/b,${b?.hash.toString('hex')}`]);
    expect(await client.ended('again')).toMatchObject({
      state: JobState.JOB_SUCCESS,
      dataProcessed: 2,
    });
    const lines = await logs('-j', id, '--worker');
    const failed = lines.filter((line) => line.startsWith('failed processing datum'));
    expect(failed).toEqual(
      Array(2).fill('failed processing datum: the datum was restarted on request, retrying in 0s'),
    );
  });

  it('says when all slots are busy with others', async () => {
    const gate = await Gate.make();
    await pipeline('full', gate.wait, { parallelismSpec: { constant: 2 } });
    await client.put('full_in', { '/a': 'one', '/b': 'two' });
    const full = await client.running('full', 0);
    await until('both slots are busy', async () => (await inspect(full)).workerStatus.length === 2);
    await pipeline('patient', 'true');
    await client.put('patient_in', { '/a': 'one' });
    const job = await client.running('patient', 0);
    const reason = await until('it says why it waits', async () => (await inspect(job)).reason);
    expect(reason).toBe(
      'waiting for a free slot: all 2 slots are busy with full; more workers would help',
    );
    await gate.open();
    expect(await client.ended('patient')).toMatchObject({ dataProcessed: 1, reason: '' });
  });

  it('counts datums inside a long task as they are done', async () => {
    const gate = await Gate.make();
    const code = `test ! -e /pfs/src/last || { ${gate.wait}; }`;
    await pipeline('count', code, { chunkSpec: { number: 4 } });
    // The order of datums is by size, then path.
    await client.put('count_in', { '/a': '333', '/b': '22', '/last': '' });
    const job = await client.running('count', 1);
    expect(job).toMatchObject({ state: JobState.JOB_RUNNING, dataTotal: 3 });
    expect(job.dataProcessed).toBeLessThan(3);
    await gate.open();
    expect(await client.ended('count')).toMatchObject({ dataProcessed: 3 });
  });
});

describe('slots', () => {
  it('are shared: thousands of datums do not keep one datum of another pipeline waiting', async () => {
    const files = Array.from({ length: 4_000 }, (_, index) => [`/${index}`, ''] as const);
    const big = ['greedy', 'modest'];
    for (const [index, name] of big.entries()) {
      // More pipelines than slots: the two slots of this stack are never idle.
      await pipeline(name, '', { parallelismSpec: { constant: [1_000, 1][index] } });
      await client.put(`${name}_in`, Object.fromEntries(files));
    }
    for (const name of big) await client.running(name, 1);
    await pipeline('small', 'cat /pfs/src/* > /pfs/out/all');
    await client.put('small_in', { '/a': 'one' });
    expect(await client.ended('small')).toMatchObject({ state: JobState.JOB_SUCCESS });
    for (const name of big) {
      const [job] = await client.jobs(name);
      expect(job).toMatchObject({ state: JobState.JOB_RUNNING, dataTotal: files.length });
      expect(files.length - (job?.dataProcessed ?? 0)).toBeGreaterThan(1_000);
      await stack.tusk(['delete', 'pipeline', name]);
    }
  });
});

describe('the log of a datum that writes without end', () => {
  it('keeps beginning and end with a line between, and the reason has the last words', async () => {
    // A little more than is kept.
    const code =
      'echo first; head -c 72000000 /dev/zero | tr "\\0" x | fold -w 10000; echo; echo last; exit 3';
    await pipeline('endless', code, { datumTries: 1 });
    await client.put('endless_in', { '/a': 'one' });
    const job = await client.ended('endless');
    expect(job.reason).toMatch(
      /^failed to process datum: \S+ \(src:\/a\): .*exit status 3.*last\)$/s,
    );
    const lines = await logs('-j', job.job?.id ?? '');
    expect(lines[0]).toBe('first');
    expect(lines.at(-1)).toBe('last');
    expect(lines.filter((line) => /… \d+ lines left out/.test(line))).toHaveLength(1);
    expect(lines.length).toBeLessThan(10_000);
    expect(await logs('-j', job.job?.id ?? '', '--tail', '1')).toEqual(['last']);
  });
});

describe('run pipeline', () => {
  it('runs on chosen commits, off the branch, and reuses what is known', async () => {
    await pipeline('chosen', 'cat /pfs/src/* > /pfs/out/all', { enableStats: true });
    const early = await stack.tusk(['run', 'pipeline', 'chosen'], { check: false });
    expect(early.stderr).toContain('run pipeline needs a pipeline with existing data to run');
    await client.put('chosen_in', { '/a': 'one' });
    await client.ended('chosen');
    await client.put('chosen_in', { '/b': 'two' });
    const second = await client.ended('chosen', 2);
    const head = (await client.commits('chosen'))[0];
    await stack.tusk(['run', 'pipeline', 'chosen', 'chosen_in@master^']);
    const third = await client.ended('chosen', 3);
    expect(third).toMatchObject({ state: JobState.JOB_SUCCESS, dataSkipped: 1, dataTotal: 1 });
    expect(third.statsCommit).toBeDefined();
    const output = third.outputCommit?.id ?? '';
    expect(await client.files('chosen', output)).toEqual({ '/all': 'one' });
    expect(await client.files('chosen', 'master')).toEqual({ '/all': 'onetwo' });
    const raw = (await stack.tusk(['inspect', 'commit', `chosen@${output}`, '--raw'])).stdout;
    const commit = JSON.parse(raw) as Record<string, unknown>;
    expect(commit).not.toHaveProperty('branch');
    expect(commit).not.toHaveProperty('parent_commit');
    await stack.tusk(['run', 'pipeline', 'chosen', '--job', second.job?.id ?? '']);
    const fourth = await client.ended('chosen', 4);
    expect(await client.files('chosen', fourth.outputCommit?.id ?? '')).toEqual({
      '/all': 'onetwo',
    });
    await stack.tusk(['run', 'pipeline', 'chosen']);
    expect(await client.ended('chosen', 5)).toMatchObject({ dataSkipped: 2, dataProcessed: 0 });
    expect(head).toBeDefined();
    expect((await stack.tusk(['list', 'branch', 'chosen', '--raw'])).stdout).toContain(
      second.outputCommit?.id,
    );
    // The next commit on the branch goes on from where the branch was.
    await client.put('chosen_in', { '/c': 'three' });
    const sixth = await client.ended('chosen', 6);
    expect(sixth).toMatchObject({ dataSkipped: 2, dataProcessed: 1 });
    expect(await client.files('chosen', 'master')).toEqual({ '/all': 'threeonetwo' });
    expect((await stack.tusk(['fsck'])).stdout).toContain('No errors found');
  });

  it('refuses what the pipeline does not read', async () => {
    await client.createRepo('other');
    await client.put('other', { '/x': '1' });
    const run = (...args: string[]) =>
      stack.tusk(['run', 'pipeline', ...args], { check: false }).then(({ stderr }) => stderr);
    expect(await run('chosen', 'other@master')).toContain(
      "the commit provenance contains a branch which the pipeline's branch is not provenant on",
    );
    expect(await run('nobody')).toContain('pipeline "nobody" not found');
    expect(await run('chosen', '--job', 'ab'.repeat(16))).toContain('not found');
    const send = (provenance: object[]) =>
      new Promise<string>((resolve) => {
        const request = { pipeline: { name: 'chosen' }, provenance, jobId: '' };
        client.pps.runPipeline(request as never, (error) => resolve(error?.details ?? ''));
      });
    expect(await send([{}])).toBe(
      'request provenance cannot have both a nil commit and nil branch',
    );
    expect(await send([{ branch: { name: 'master' } }])).toBe(
      'request provenance branch must have a non nil repo',
    );
    await stack.tusk(['stop', 'pipeline', 'chosen']);
    expect(await run('chosen')).toContain('pipeline chosen is stopped');
  });
});
