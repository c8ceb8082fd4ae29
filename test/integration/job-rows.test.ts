/** What clients see of jobs, datums and logs, as tables of cases over a few jobs of one stack. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Metadata, type ClientReadableStream, type ServiceError } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CreateJobRequest,
  CreatePipelineRequest,
  DatumState,
  FlushJobRequest,
  GetLogsRequest,
  InspectDatumRequest,
  InspectJobRequest,
  JobState,
  ListDatumRequest,
  ListJobRequest,
  ListPipelineRequest,
  RestartDatumRequest,
  StopJobRequest,
  type DatumInfo,
  type JobInfo,
  type ListDatumResponse,
  type LogMessage,
  type PipelineInfos,
} from '../../proto/generated/pps.js';
import { startStack, type Stack } from '../support/stack.js';
import type { StackClient } from '../support/stack-client.js';
import { until } from '../support/until.js';

let stack: Stack;
let client: StackClient;
/** `mix`: one datum failed, one recovered, one succeeded. `again`: one of them was skipped. */
let mix: JobInfo;
let again: JobInfo;
let plain: JobInfo;

const GHOST = '0123456789ab4def8123456789abcdef';
const MIX_CODE = [
  'echo "at $PACH_DATUM_ID"',
  'cp /pfs/src/* /pfs/out/',
  'test ! -e /pfs/src/bad || { echo "bad data"; exit 3; }',
  'test ! -e /pfs/src/odd || exit 4',
];

async function pipeline(name: string, code: readonly string[], more: object = {}): Promise<void> {
  await client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name },
      transform: { cmd: ['bash'], stdin: [...code] },
      input: { pfs: { repo: 'in', glob: '/*', name: 'src' } },
      ...more,
    }),
  );
}

beforeAll(async () => {
  stack = await startStack({ workers: 1, slots: 2 });
  ({ client } = stack);
  await client.createRepo('in');
  await pipeline('mix', MIX_CODE, {
    enableStats: true,
    datumTries: 2,
    transform: {
      cmd: ['bash'],
      stdin: MIX_CODE,
      errCmd: ['bash'],
      errStdin: ['test -e /pfs/src/odd'],
    },
  });
  // Of its own input: what one pipeline has fetched, another finds in the worker's cache.
  await client.createRepo('other');
  const other = { pfs: { repo: 'other', glob: '/*', name: 'src' } };
  await pipeline('plain', ['echo "of plain: $(ls /pfs/src)"'], { input: other });
  await pipeline('down', ['true'], {
    input: {
      cross: [
        { pfs: { repo: 'mix', glob: '/', name: 'one' } },
        { pfs: { repo: 'in', glob: '/', name: 'two' } },
      ],
    },
  });
  await client.put('in', { '/a': 'one', '/bad': 'three', '/odd': 'fourth' });
  await client.put('other', { '/p': 'p of other' });
  mix = await client.ended('mix');
  plain = await client.ended('plain');
  await client.ended('down');
  await client.put('in', { '/b': 'the fifth' });
  await client.put('other', { '/q': 'q of other' });
  again = await client.ended('mix', 2);
  await client.ended('down', 2);
});
afterAll(async () => {
  await stack[Symbol.asyncDispose]();
});

const idOf = (job: JobInfo): string => job.job?.id ?? '';

/** Everything a stream gives, or what went wrong. */
async function rows<T>(call: ClientReadableStream<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of call) list.push(item as T);
  return list;
}

async function refusal(call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    return (error as ServiceError).details;
  }
  return 'it was not refused';
}

const listDatum = (request: object): Promise<ListDatumResponse> =>
  client.call<ListDatumRequest, ListDatumResponse>(
    client.pps.listDatum.bind(client.pps),
    ListDatumRequest.fromPartial(request),
  );
const inspectDatum = (job: string, id: string): Promise<DatumInfo> =>
  client.call<InspectDatumRequest, DatumInfo>(
    client.pps.inspectDatum.bind(client.pps),
    InspectDatumRequest.fromPartial({ datum: { id, job: { id: job } } }),
  );
const inspectJob = (request: object): Promise<JobInfo> =>
  client.call<InspectJobRequest, JobInfo>(
    client.pps.inspectJob.bind(client.pps),
    InspectJobRequest.fromPartial(request),
  );
const getLogs = (request: object): Promise<LogMessage[]> =>
  rows(client.pps.getLogs(GetLogsRequest.fromPartial(request), new Metadata()));
const listJobs = (request: object): Promise<JobInfo[]> =>
  rows(client.pps.listJobStream(ListJobRequest.fromPartial(request)));
const paths = (info: DatumInfo): string => info.data.map(({ file }) => file?.path).join();
const datumOf = async (job: JobInfo, path: string): Promise<DatumInfo> => {
  const { datumInfos } = await listDatum({ job: job.job });
  const found = datumInfos.find((info) => paths(info) === path);
  if (!found) throw new Error(`no datum ${path}`);
  return found;
};

describe('a job that ended', () => {
  it('counts what became of its datums, and says which failed, on what, and its last words', () => {
    expect(mix).toMatchObject({
      state: JobState.JOB_FAILURE,
      dataTotal: 3,
      dataProcessed: 1,
      dataFailed: 1,
      dataRecovered: 1,
      dataSkipped: 0,
    });
    expect(mix.reason).toMatch(
      /^failed to process datum: [0-9a-f]{64} \(src:\/bad\): error running user code: exit status 3 \(last output: at [0-9a-f]{64} \| bad data\)$/,
    );
    expect(again).toMatchObject({ dataTotal: 4, dataProcessed: 1, dataSkipped: 1 });
    // Of what did not succeed nothing is counted, of what was skipped neither.
    expect(again.stats?.downloadBytes).toBe('the fifth'.length);
    expect(mix.stats?.downloadBytes).toBe('one'.length);
  });

  it('has everything that clients look into without asking whether it is there', async () => {
    for (const full of [false, true]) {
      const jobs = await listJobs({ history: -1, full });
      expect(jobs.length).toBeGreaterThan(4);
      for (const job of jobs) {
        const there = { job: {}, pipeline: {}, stats: {}, started: {}, finished: {} };
        expect(job).toMatchObject({ ...there, outputCommit: { repo: {} } });
        if (full) expect(job).toMatchObject({ transform: {}, input: {}, parallelismSpec: {} });
      }
    }
    const { pipelineInfo } = await client.call<ListPipelineRequest, PipelineInfos>(
      client.pps.listPipeline.bind(client.pps),
      ListPipelineRequest.fromPartial({ history: -1 }),
    );
    expect(pipelineInfo).toHaveLength(3);
    for (const info of pipelineInfo) {
      const there = { pipeline: {}, transform: {}, createdAt: {}, specCommit: { repo: {} } };
      expect(info).toMatchObject(there);
    }
    for (const job of [mix, again, plain]) {
      for (const statusOnly of [false, true]) {
        const { datumInfos } = await listDatum({ job: job.job, statusOnly });
        expect(datumInfos.length).toBeGreaterThan(0);
        for (const info of datumInfos) expect(info).toMatchObject({ datum: { job: job.job } });
      }
    }
  });

  it('fails what reads it, without running anything', async () => {
    const [first, second] = await client.jobs('down');
    for (const job of [first, second]) {
      expect(job).toMatchObject({ state: JobState.JOB_FAILURE, reason: 'inputs one failed' });
      expect(job?.dataTotal).toBe(0);
    }
  });

  it.each<readonly [what: string, request: () => object, pipelines: string]>([
    ['all of a pipeline', () => ({ pipeline: { name: 'mix' } }), 'mix mix'],
    ['by output', () => ({ outputCommit: mix.outputCommit }), 'mix'],
    [
      'by output and another pipeline',
      () => ({ outputCommit: mix.outputCommit, pipeline: { name: 'plain' } }),
      'plain plain',
    ],
    [
      'by input',
      () => ({ inputCommit: [{ repo: { name: 'in' }, id: 'master' }], pipeline: { name: 'mix' } }),
      'mix',
    ],
    [
      'by inputs that never met',
      () => ({
        inputCommit: [
          { repo: { name: 'in' }, id: 'master' },
          { repo: { name: 'in' }, id: 'master^' },
        ],
      }),
      '',
    ],
    ['by a filter', () => ({ jqFilter: '.data_recovered == 1 and .data_skipped == 0' }), 'mix'],
  ])('is listed %s', async (_what, request, pipelines) => {
    const found = await until('both jobs of plain are there', async () => {
      const list = await listJobs(request());
      return (await client.jobs('plain')).length === 2 ? list : undefined;
    });
    expect(found.map((job) => job.pipeline?.name).join(' ')).toBe(pipelines);
  });

  it('is listed without what costs a look at the spec, unless it is asked for', async () => {
    const [brief] = await listJobs({ pipeline: { name: 'mix' } });
    expect(brief).toMatchObject({ transform: undefined, input: undefined });
    const [full] = await listJobs({ pipeline: { name: 'mix' }, full: true });
    expect(full).toMatchObject({ transform: { cmd: ['bash'] }, datumTries: 2, enableStats: true });
  });

  it.each<readonly [what: string, call: () => Promise<unknown>, text: string]>([
    ['no job and no commit', () => inspectJob({}), 'must specify either a Job or an OutputCommit'],
    [
      'both',
      () => inspectJob({ job: { id: GHOST }, outputCommit: mix.outputCommit }),
      "can't set both Job and OutputCommit",
    ],
    [
      'an unknown job',
      () => inspectJob({ job: { id: GHOST } }),
      `/pachyderm_pps/jobs/ ${GHOST} not found`,
    ],
    [
      'an unknown job to wait for',
      () => inspectJob({ job: { id: GHOST }, blockState: true }),
      `/pachyderm_pps/jobs/ ${GHOST} not found`,
    ],
    [
      'a commit without job',
      () => inspectJob({ outputCommit: { repo: { name: 'in' }, id: 'master' } }),
      'job with output commit master not found',
    ],
    [
      'jobs of an unknown pipeline',
      () => listJobs({ pipeline: { name: 'x' } }),
      'pipeline "x" not found',
    ],
    [
      'an unknown input commit',
      () => listJobs({ inputCommit: [{ repo: { name: 'in' }, id: 'x' }] }),
      'not found',
    ],
    [
      'a flush of nothing',
      () => rows(client.pps.flushJob(FlushJobRequest.fromPartial({}))),
      'fromCommits cannot be empty',
    ],
    [
      'a stop of an unknown job',
      () =>
        client.call(
          client.pps.stopJob.bind(client.pps),
          StopJobRequest.fromPartial({ job: { id: GHOST } }),
        ),
      `/pachyderm_pps/jobs/ ${GHOST} not found`,
    ],
    [
      'a second job for a commit',
      () =>
        client.call(
          client.pps.createJob.bind(client.pps),
          CreateJobRequest.fromPartial({ outputCommit: mix.outputCommit }),
        ),
      'multiple jobs found for commit mix/',
    ],
    [
      'a job for what needs none',
      () =>
        client.call(
          client.pps.createJob.bind(client.pps),
          CreateJobRequest.fromPartial({ outputCommit: { repo: { name: 'in' }, id: 'master' } }),
        ),
      'clients can not make jobs: every output commit gets one by itself',
    ],
    [
      'a restart in an unknown job',
      () =>
        client.call(
          client.pps.restartDatum.bind(client.pps),
          RestartDatumRequest.fromPartial({ job: { id: GHOST } }),
        ),
      `/pachyderm_pps/jobs/ ${GHOST} not found`,
    ],
    [
      'a restart of what does not run',
      () =>
        client.call(
          client.pps.restartDatum.bind(client.pps),
          RestartDatumRequest.fromPartial({ job: mix.job, dataFilters: ['/a', '/b'] }),
        ),
      'datum matching filter [/a /b] could not be found for jobID ',
    ],
  ])('%s is refused', async (_what, call, text) => {
    expect(await refusal(call())).toContain(text);
  });

  it('can be stopped once more, and deleted', async () => {
    const stop = client.pps.stopJob.bind(client.pps);
    await client.call(stop, StopJobRequest.fromPartial({ job: plain.job }));
    expect((await inspectJob({ job: plain.job })).state).toBe(JobState.JOB_SUCCESS);
    const before = (await listJobs({})).length;
    await stack.tusk(['delete', 'job', idOf(plain)]);
    expect(await listJobs({})).toHaveLength(before - 1);
    expect(await refusal(inspectJob({ job: plain.job }))).toContain('not found');
    expect(Object.keys(await client.files('plain', plain.outputCommit?.id ?? ''))).toEqual([]);
    plain = await client.ended('plain');
  });
});

describe('datums', () => {
  const { FAILED, SUCCESS, SKIPPED, RECOVERED, STARTING } = DatumState;

  it.each<
    readonly [
      what: string,
      request: () => object,
      states: readonly DatumState[],
      page: readonly [number, number],
    ]
  >([
    ['all, failed first', () => ({ job: mix.job }), [FAILED, SUCCESS, RECOVERED], [0, 0]],
    ['skipped ones too', () => ({ job: again.job }), [FAILED, SUCCESS, SKIPPED, RECOVERED], [0, 0]],
    ['the first page', () => ({ job: again.job, pageSize: 3 }), [FAILED, SUCCESS, SKIPPED], [2, 0]],
    ['the last page', () => ({ job: again.job, pageSize: 3, page: 1 }), [RECOVERED], [2, 1]],
    ['a page in the middle', () => ({ job: again.job, pageSize: 1, page: 2 }), [SKIPPED], [4, 2]],
    [
      'a page that fits exactly',
      () => ({ job: again.job, pageSize: 2, page: 1 }),
      [SKIPPED, RECOVERED],
      [2, 1],
    ],
    [
      'states only',
      () => ({ job: mix.job, statusOnly: true }),
      [FAILED, SUCCESS, RECOVERED],
      [0, 0],
    ],
    [
      'of an input and an empty job',
      () => ({ job: { id: '' }, input: { pfs: { repo: 'in', glob: '/*' } } }),
      [STARTING, STARTING, STARTING, STARTING],
      [0, 0],
    ],
    [
      'of an input, the last page',
      () => ({ input: { pfs: { repo: 'in', glob: '/*' } }, pageSize: 3, page: 1 }),
      [STARTING],
      [2, 1],
    ],
    [
      'of a cross',
      () => ({
        input: {
          cross: [
            { pfs: { repo: 'in', glob: '/*' } },
            { pfs: { repo: 'in', glob: '/', name: 'x' } },
          ],
        },
      }),
      [STARTING, STARTING, STARTING, STARTING],
      [0, 0],
    ],
  ])('are listed: %s', async (_what, request, states, [totalPages, page]) => {
    const listed = await listDatum(request());
    expect(listed.datumInfos.map(({ state }) => state)).toEqual(states);
    expect(listed).toMatchObject({ totalPages, page });
    const streamed = await rows(
      client.pps.listDatumStream(ListDatumRequest.fromPartial(request())),
    );
    expect(streamed.map(({ datumInfo }) => datumInfo)).toEqual(listed.datumInfos);
    expect(streamed.map((row) => row.totalPages)).toEqual([
      totalPages,
      ...states.slice(1).map(() => 0),
    ]);
  });

  it('carry files, times and where their stats lie', async () => {
    const { datumInfos } = await listDatum({ job: mix.job });
    expect(datumInfos.map(paths)).toEqual(['/bad', '/a', '/odd']);
    const [, a] = datumInfos;
    expect(a?.data[0]?.sizeBytes).toBe(3);
    expect(a?.data[0]?.hash).toHaveLength(32);
    expect(a?.stats).toMatchObject({ downloadBytes: 3, uploadBytes: 3 });
    expect(a?.pfsState).toMatchObject({ path: `/${a?.datum?.id}/pfs`, commit: mix.statsCommit });
    const inspected = await inspectDatum(idOf(mix), a?.datum?.id ?? '');
    expect(inspected).toEqual(a);
    const recovered = datumInfos[2]?.datum?.id ?? '';
    const failure = await client.files('mix', mix.statsCommit?.id ?? '');
    expect(failure[`/${recovered}/failure`]).toContain(
      'the datum errored, and the error was handled successfully',
    );
  });

  it('of a spec are listed without a pipeline, and nothing runs', async () => {
    const before = await listJobs({ history: -1 });
    const spec = join(stack.dir, 'preview.json');
    writeFileSync(
      spec,
      JSON.stringify({
        pipeline: { name: 'never' },
        transform: { cmd: ['false'] },
        input: { pfs: { repo: 'in', glob: '/{a,odd}' } },
      }),
    );
    const { stdout } = await stack.tusk(['list', 'datum', '-f', spec]);
    const [header, ...lines] = stdout.trimEnd().split('\n');
    expect(header?.split(/ +/).slice(0, 4)).toEqual(['ID', 'FILES', 'STATUS', 'TIME']);
    expect(
      lines.sort().map((line) =>
        line
          .replace(/@[0-9a-f]{32}/, '@')
          .split(/ +/)
          .slice(0, 4),
      ),
    ).toEqual([
      ['-', 'in@:/a', '-', '-'],
      ['-', 'in@:/odd', '-', '-'],
    ]);
    expect(await listJobs({ history: -1 })).toHaveLength(before.length);
    expect((await stack.tusk(['list', 'repo'])).stdout).not.toContain('never');
  });

  it.each<readonly [what: string, call: () => Promise<unknown>, text: string]>([
    [
      'neither job nor input',
      () => listDatum({}),
      'must specify either job or input to list datums from',
    ],
    [
      'an empty job',
      () => listDatum({ job: { id: '' } }),
      'must specify either job or input to list datums from',
    ],
    [
      'both',
      () => listDatum({ job: mix.job, input: { pfs: { repo: 'in', glob: '/' } } }),
      "can't specify both job and input to list datums from",
    ],
    [
      'a cron',
      () =>
        listDatum({
          input: {
            cross: [{ cron: { name: 'c', spec: '@daily' } }, { pfs: { repo: 'in', glob: '/' } }],
          },
        }),
      "can't list datums with a cron input, there will be no datums until the pipeline is created",
    ],
    [
      'an input without head',
      async () => {
        await stack.tusk(['create', 'repo', 'empty']);
        await stack.tusk(['create', 'branch', 'empty@master']);
        return listDatum({ input: { pfs: { repo: 'empty', glob: '/' } } });
      },
      'has no head',
    ],
    [
      'an input that is not there',
      () => listDatum({ input: { pfs: { repo: 'nowhere', glob: '/' } } }),
      'not found',
    ],
    ['a page beyond the end', () => listDatum({ job: mix.job, pageSize: 3, page: 1 }), 'EOF'],
    [
      'a page beyond the input',
      () => listDatum({ input: { pfs: { repo: 'in', glob: '/*' } }, pageSize: 4, page: 1 }),
      'EOF',
    ],
    [
      'an unknown job',
      () => listDatum({ job: { id: GHOST } }),
      `/pachyderm_pps/jobs/ ${GHOST} not found`,
    ],
    [
      'a datum of an unknown job',
      () => inspectDatum(GHOST, 'ab'.repeat(32)),
      `/pachyderm_pps/jobs/ ${GHOST} not found`,
    ],
    ['an unknown datum', () => inspectDatum(idOf(mix), 'ab'.repeat(32)), "couldn't find job file"],
  ])('%s is refused', async (_what, call, text) => {
    expect(await refusal(call())).toContain(text);
  });

  it('show what they took together', async () => {
    const { stdout } = await stack.tusk(['inspect', 'job', idOf(mix), '--stats', '--raw']);
    const stats = JSON.parse(stdout) as Record<string, { count: string; mean: number }>;
    // Those that failed ran too.
    expect(stats['process_time']).toMatchObject({ count: '3' });
    expect(stats['download_bytes']?.mean).toBeCloseTo((5 + 6 + 3) / 3, 6);
    const page = (await stack.tusk(['inspect', 'job', idOf(again), '--stats'])).stdout;
    expect(page).toMatch(/^Datums: 3\n/);
    expect(page).toMatch(/^Process Time +\d.*s/m);
  });
});

describe('a datum on one’s own machine', () => {
  it('has the inputs, the environment and the command that it had', async () => {
    const code =
      'echo "$src|$PACH_JOB_ID|$PPS_PIPELINE_NAME"; /tmp/run-datum; echo "rc $?"; touch /pfs/src/x';
    const ran = await stack.tusk(['debug', 'datum', idOf(mix), '--', 'bash', '-c', code], {
      check: false,
    });
    expect(ran.stdout.split('\n').slice(0, 4)).toEqual([
      `/pfs/src/bad|${idOf(mix)}|mix`,
      `at ${(await datumOf(mix, '/bad')).datum?.id}`,
      'bad data',
      'rc 3',
    ]);
    expect(ran.stderr).toContain('Read-only file system');
    expect(ran.code).toBe(1);
  });

  it('may be any datum, by the beginning of its id; outputs can be kept', async () => {
    const id = (await datumOf(again, '/b')).datum?.id ?? '';
    const dir = mkdtempSync(join(stack.dir, 'kept-'));
    const input = '/tmp/run-datum; exit 7';
    const ran = await stack.tusk(['debug', 'datum', idOf(again), id.slice(0, 12), '--dir', dir], {
      input,
      check: false,
    });
    expect(ran.code).toBe(7);
    expect(ran.stdout).toBe(`at ${id}\n`);
    expect(readFileSync(join(dir, 'out', 'b'), 'utf8')).toBe('the fifth');
    expect(readdirSync(join(dir, 'pfs', 'src'))).toEqual(['b']);
    rmSync(dir, { recursive: true });
  });

  it.each<readonly [what: string, args: () => string[], text: string]>([
    ['an unknown job', () => [GHOST], `/pachyderm_pps/jobs/ ${GHOST} not found`],
    ['an unknown datum', () => [idOf(mix), 'deadbeef'], 'has no datum deadbeef'],
    ['no failed datum', () => [idOf(plain), '--', 'true'], 'has no datum that failed: name one'],
  ])('%s is refused', async (_what, args, text) => {
    const { stderr, code } = await stack.tusk(['debug', 'datum', ...args()], { check: false });
    expect(stderr).toContain(text);
    expect(code).toBe(1);
  });
});

describe('logs', () => {
  const texts = (lines: readonly LogMessage[]): string[] =>
    lines.filter(({ user }) => user).map(({ message }) => message);

  it('name where every line comes from', async () => {
    const lines = await getLogs({ job: mix.job });
    const bad = await datumOf(mix, '/bad');
    const line = lines.find(({ message }) => message === 'bad data');
    expect(line).toMatchObject({
      pipelineName: 'mix',
      jobId: idOf(mix),
      datumId: bad.datum?.id,
      master: false,
      user: true,
    });
    expect(line?.workerId).not.toBe('');
    expect(line?.data).toEqual([{ path: '/bad', hash: bad.data[0]?.hash }]);
    expect(line?.ts?.seconds).toBeGreaterThan(1_600_000_000);
    expect(lines.some(({ user }) => !user)).toBe(true);
    // Two tries, each with its lines.
    expect(lines.filter(({ message }) => message === 'bad data')).toHaveLength(2);
  });

  it.each<readonly [what: string, request: (bad: DatumInfo) => object, count: number]>([
    ['a job', () => ({ job: mix.job }), 7],
    ['a pipeline', () => ({ pipeline: { name: 'mix' } }), 14],
    ['job and pipeline', () => ({ job: mix.job, pipeline: { name: 'mix' } }), 7],
    ['a job of another pipeline', () => ({ job: mix.job, pipeline: { name: 'plain' } }), 0],
    ['a datum', (bad) => ({ job: mix.job, datum: { id: bad.datum?.id } }), 4],
    ['a datum that names its job', (bad) => ({ datum: bad.datum }), 4],
    [
      'a datum of a pipeline',
      (bad) => ({ pipeline: { name: 'mix' }, datum: { id: bad.datum?.id } }),
      8,
    ],
    ['a file by path', () => ({ job: mix.job, dataFilters: ['/bad'] }), 4],
    [
      'a file by hash in hex',
      (bad) => ({ job: mix.job, dataFilters: [bad.data[0]?.hash.toString('hex')] }),
      4,
    ],
    [
      'a file by hash in base64',
      (bad) => ({ job: mix.job, dataFilters: [bad.data[0]?.hash.toString('base64')] }),
      4,
    ],
    [
      'a file by both',
      (bad) => ({ job: mix.job, dataFilters: ['/bad', bad.data[0]?.hash.toString('hex')] }),
      4,
    ],
    ['two files that no datum has', () => ({ job: mix.job, dataFilters: ['/bad', '/a'] }), 0],
    ['the last two lines by users', () => ({ job: mix.job, userOnly: true, tail: 2 }), 2],
    ['a negative tail', () => ({ job: mix.job, tail: -1 }), 7],
    ['the last hour', () => ({ job: mix.job, since: { seconds: 3600 } }), 7],
    ['no time at all', () => ({ job: mix.job, since: { nanos: 1000 } }), 0],
    ['the owner of the job', () => ({ job: mix.job, master: true }), 0],
    ['another source', () => ({ job: mix.job, useLokiBackend: true }), 7],
  ])('of %s', async (_what, request, count) => {
    const bad = await datumOf(mix, '/bad');
    const lines = await getLogs(request(bad));
    expect(texts(lines)).toHaveLength(count);
    const { master = false } = request(bad) as { master?: boolean };
    expect(lines.every((line) => line.master === master)).toBe(true);
    if (master) expect(lines.length).toBeGreaterThan(0);
  });

  it.each<readonly [what: string, request: object, text: string]>([
    [
      'filters without job',
      { dataFilters: ['/a'] },
      'must specify the Job or Pipeline that the datum is from to get logs for it',
    ],
    [
      'a datum without job',
      { datum: { id: 'ab'.repeat(32) } },
      'must specify the Job or Pipeline that the datum is from to get logs for it',
    ],
    [
      'an unknown pipeline',
      { pipeline: { name: 'x' } },
      'could not get pipeline information for x: ',
    ],
    ['an unknown job', { job: { id: GHOST } }, `could not get job information for "${GHOST}": `],
  ])('%s is refused', async (_what, request, text) => {
    expect(await refusal(getLogs(request))).toContain(text);
  });

  it('of the server come without job or pipeline', async () => {
    const lines = await getLogs({ tail: 1000 });
    expect(lines.length).toBeGreaterThan(10);
    expect(lines.some(({ message }) => / info coordinator serves /.test(message))).toBe(true);
    expect(lines[0]).toMatchObject({ pipelineName: '', jobId: '', workerId: '', user: false });
    expect((await stack.tusk(['logs', '--tail', '2'])).stdout.trimEnd().split('\n')).toHaveLength(
      2,
    );
  });

  it('come from a datum of very many files, which is listed with all of them', async () => {
    const count = 1500;
    const names = Array.from({ length: count }, (_, i) => `/visit-of-patient-a-${i}`);
    await client.createRepo('visits');
    await client.put('visits', Object.fromEntries(names.map((name) => [name, name])));
    const visits = { repo: 'visits', glob: '/visit-of-patient-(*)-*', groupBy: '$1', name: 'src' };
    await pipeline('crowd', ['ls /pfs/src | wc -l', 'echo > "/pfs/out/$PACH_DATUM_ID"'], {
      input: { group: [{ pfs: visits }] },
    });
    const first = await client.ended('crowd');
    expect(first.state).toBe(JobState.JOB_SUCCESS);
    expect(texts(await getLogs({ job: first.job }))).toEqual([String(count)]);
    await client.put('visits', { '/visit-of-patient-b-0': 'other' });
    const second = await client.ended('crowd', 2);
    expect([second.dataProcessed, second.dataSkipped]).toEqual([1, 1]);
    await stack.tusk(['garbage-collect']);
    for (const job of [first, second]) {
      const { datumInfos } = await listDatum({ job: job.job });
      const large = datumInfos.find(({ data }) => data.length > 1);
      const paths = large?.data.map(({ file }) => file?.path);
      expect(new Set(paths)).toEqual(new Set(names));
      expect(large?.state).toBe(job === first ? DatumState.SUCCESS : DatumState.SKIPPED);
    }
  });

  it('name the way out of a cross that is far too large', async () => {
    await client.createRepo('lines');
    const file = join(stack.dir, 'lines');
    writeFileSync(file, Array.from({ length: 4000 }, (_, i) => `${i}\n`).join(''));
    await stack.tusk(['put', 'file', 'lines@master:/l', '-f', file, '--split', 'line']);
    const cross = ['one', 'two'].map((name) => ({ pfs: { repo: 'lines', glob: '/l/*', name } }));
    await pipeline('huge', ['true'], { input: { cross } });
    const job = await client.ended('huge');
    expect(job.state).toBe(JobState.JOB_FAILURE);
    expect(job.reason).toContain('the input gives 16,000,000 datums and a job may have 10,000,000');
  });

  it('stay when the worker and the pipeline’s work are gone', async () => {
    await stack.tusk(['stop', 'pipeline', 'mix']);
    const [worker] = stack.workers;
    await worker?.stop();
    await until('it left', async () =>
      (await stack.tusk(['inspect', 'pipeline', 'plain'])).stdout.includes('Workers Available: 0/'),
    );
    expect(texts(await getLogs({ job: mix.job }))).toHaveLength(7);
    expect(texts(await getLogs({ pipeline: { name: 'mix' } }))).toHaveLength(14);
    expect((await getLogs({ pipeline: { name: 'mix' }, master: true })).length).toBeGreaterThan(0);
  });
});
