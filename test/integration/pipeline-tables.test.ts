/**
 * What clients see of pipelines, step by step, as tables: counters of jobs, states of pipelines that
 * rest while idle, branches that are moved by hand and by triggers.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  CreatePipelineRequest,
  InspectPipelineRequest,
  JobState,
  PipelineState,
  type JobInfo,
  type PipelineInfo,
} from '../../proto/generated/pps.js';
import { runCli } from '../support/cli-run.js';
import { DatumDoor } from '../support/datum-door.js';
import { startStack, type Stack } from '../support/stack.js';
import type { StackClient } from '../support/stack-client.js';
import { until } from '../support/until.js';

let stack: Stack;
let client: StackClient;
let door: DatumDoor;

beforeAll(async () => {
  [stack, door] = await Promise.all([startStack({ workers: 1, slots: 2 }), DatumDoor.open()]);
  ({ client } = stack);
});
afterAll(async () => {
  await door[Symbol.asyncDispose]();
  await stack[Symbol.asyncDispose]();
});

/** The command line inside this process. Answers what it prints; throws what it says when it fails. */
async function tusk(command: string, input?: string): Promise<string> {
  const env = { PACHD_ADDRESS: stack.address };
  const more = input === undefined ? {} : { input };
  const { stdout, stderr, code } = await runCli(command.split(' '), { env, ...more });
  if (code !== 0) throw new Error(stderr);
  return stdout;
}

const put = (at: string, content: string) => tusk(`put file -o ${at}`, content);
const create = (request: object): Promise<void> =>
  client.createPipeline(CreatePipelineRequest.fromPartial(request));

const inspect = (name: string): Promise<PipelineInfo> =>
  client.call<InspectPipelineRequest, PipelineInfo>(
    client.pps.inspectPipeline.bind(client.pps),
    InspectPipelineRequest.fromPartial({ pipeline: { name } }),
  );

const stateOf = async (name: string): Promise<string> =>
  (PipelineState[(await inspect(name)).state] ?? '').replace('PIPELINE_', '');
const inState = (name: string, state: string) =>
  until(`${name} is ${state}`, async () => (await stateOf(name)) === state);

/** `processed + skipped + recovered + failed = total STATE`. */
function countsOf(job: JobInfo): string {
  const { dataProcessed, dataSkipped, dataRecovered, dataFailed, dataTotal } = job;
  const parts = [dataProcessed, dataSkipped, dataRecovered, dataFailed];
  return `${parts.join(' + ')} = ${dataTotal} ${(JobState[job.state] ?? '').replace('JOB_', '')}`;
}

describe('counters', () => {
  /** Datums by name: `odd` is recovered, `bad` fails, all others succeed. */
  const transform = (word: string) => ({
    cmd: ['bash'],
    stdin: [`echo ${word} > "/pfs/out/$(basename "$src")"; [[ $src != */odd && $src != */bad ]]`],
    errCmd: ['bash'],
    errStdin: ['[[ $src == */odd ]]'],
  });
  const spec = (name: string, more: object = {}) => ({
    pipeline: { name },
    transform: transform('one'),
    input: { pfs: { repo: `${name}_in`, glob: '/*', name: 'src' } },
    datumTries: 1,
    ...more,
  });
  let rounds = 0;

  it('of jobs tell what became of each datum', async () => {
    const name = `counts${(rounds += 1)}`;
    const file = (path: string): string => `${name}_in@master:/${path}`;
    const other = { ...transform('two'), errStdin: ['true'] };
    const table: [what: string, step: () => Promise<unknown>, counts: string][] = [
      ['first run', () => client.put(`${name}_in`, { '/a': '1', '/b': '2' }), '2 + 0 + 0 + 0 = 2'],
      ['a new file', () => put(file('c'), '3'), '1 + 2 + 0 + 0 = 3'],
      ['the same content again', () => put(file('a'), '1'), '0 + 3 + 0 + 0 = 3'],
      ['other content', () => put(file('a'), '11'), '1 + 2 + 0 + 0 = 3'],
      ['content that was there before', () => put(file('a'), '1'), '0 + 3 + 0 + 0 = 3'],
      ['a file less', () => tusk(`delete file ${file('b')}`), '0 + 2 + 0 + 0 = 2'],
      ['a recovered datum', () => put(file('odd'), '4'), '0 + 2 + 1 + 0 = 3'],
      ['recovered ones run again', () => put(file('d'), '5'), '1 + 2 + 1 + 0 = 4'],
      ['a failed datum', () => put(file('bad'), '6'), '0 + 3 + 1 + 1 = 5 FAILURE'],
      ['failed ones run again', () => put(file('e'), '7'), '1 + 3 + 1 + 1 = 6 FAILURE'],
      [
        'what a failed job did well is kept',
        () => tusk(`delete file ${file('bad')}`),
        '0 + 4 + 1 + 0 = 5',
      ],
      [
        'other code',
        () => create(spec(name, { update: true, transform: other })),
        '0 + 4 + 1 + 0 = 5',
      ],
      ['run pipeline', () => tusk(`run pipeline ${name}`), '0 + 4 + 1 + 0 = 5'],
      [
        'reprocess',
        () => create(spec(name, { update: true, transform: other, reprocess: true })),
        '4 + 0 + 1 + 0 = 5',
      ],
      [
        'stop and start',
        async () => {
          await tusk(`stop pipeline ${name}`);
          await tusk(`start pipeline ${name}`);
        },
        '0 + 4 + 1 + 0 = 5',
      ],
      [
        'another glob',
        () =>
          create(
            spec(name, {
              update: true,
              transform: other,
              input: { pfs: { repo: `${name}_in`, glob: '/{a,c}', name: 'src' } },
            }),
          ),
        '0 + 2 + 0 + 0 = 2',
      ],
      [
        'another input name',
        () =>
          create(
            spec(name, {
              update: true,
              transform: { cmd: ['true'] },
              input: { pfs: { repo: `${name}_in`, glob: '/{a,c}', name: 'other' } },
            }),
          ),
        '2 + 0 + 0 + 0 = 2',
      ],
      [
        'every_job',
        () =>
          create(
            spec(name, {
              update: true,
              transform: { cmd: ['true'] },
              reprocessSpec: 'every_job',
              input: { pfs: { repo: `${name}_in`, glob: '/{a,c}', name: 'other' } },
            }),
          ),
        '2 + 0 + 0 + 0 = 2',
      ],
      ['nothing left', () => tusk(`delete file ${name}_in@master:/`), '0 + 0 + 0 + 0 = 0'],
    ];
    await client.createRepo(`${name}_in`);
    await create(spec(name));
    const seen: string[] = [];
    const jobs: JobInfo[] = [];
    for (const [index, [what, step]] of table.entries()) {
      await step();
      const job = await client.ended(name, index + 1);
      jobs.push(job);
      seen.push(`${what}: ${countsOf(job)}`);
    }
    const whole = (counts: string): string =>
      counts.endsWith('FAILURE') ? counts : `${counts} SUCCESS`;
    expect(seen).toEqual(table.map(([what, , counts]) => `${what}: ${whole(counts)}`));
    // Bytes and times are those of datums that were processed.
    const bytes = jobs.map(({ stats }) => `${stats?.downloadBytes} ${stats?.uploadBytes}`);
    expect(bytes.slice(0, 4)).toEqual(['2 8', '1 4', '0 0', '2 4']);
    expect(jobs[2]?.stats?.processTime).toEqual({ seconds: 0, nanos: 0 });
    const { jobCounts, lastJobState } = await inspect(name);
    const { JOB_SUCCESS, JOB_FAILURE } = JobState;
    expect(jobCounts).toMatchObject({ [JOB_SUCCESS]: table.length - 2, [JOB_FAILURE]: 2 });
    expect(lastJobState).toBe(JOB_SUCCESS);
    const shown = await tusk(`list job -p ${name} --history all`);
    const progress = shown
      .split('\n')
      .slice(1, -1)
      .reverse()
      .map((line) => /\d+ \+ \d+(?: \+ \d+)? \/ \d+/.exec(line)?.[0]);
    const expected = jobs.map(({ dataProcessed, dataSkipped, dataRecovered, dataTotal }) => {
      const recovered = dataRecovered > 0 ? ` + ${dataRecovered}` : '';
      return `${dataProcessed} + ${dataSkipped}${recovered} / ${dataTotal}`;
    });
    expect(progress).toEqual(expected);
    await tusk(`delete pipeline ${name}`);
  });

  it('count a file twice that two inputs of a union find', async () => {
    await client.createRepo('twice_in');
    const both = ['/*', '/a'].map((glob) => ({ pfs: { repo: 'twice_in', glob, name: 'src' } }));
    await create({
      pipeline: { name: 'twice' },
      transform: { cmd: ['sh'], stdin: ['cp -r /pfs/src/* /pfs/out'] },
      input: { union: both },
    });
    await client.put('twice_in', { '/a': 'one', '/b': 'two' });
    const job = await client.ended('twice');
    const { dataProcessed, dataSkipped, dataTotal, state } = job;
    expect([dataProcessed + dataSkipped, dataTotal, state]).toEqual([3, 3, JobState.JOB_SUCCESS]);
    expect(await client.files('twice', 'master')).toEqual({ '/a': 'oneone', '/b': 'two' });
    await tusk('delete pipeline twice');
  });
});

describe('a pipeline with', () => {
  it.concurrent.each([
    ['standby', { standby: true }],
    ['autoscaling', { autoscaling: true }],
  ])('%s rests while it has nothing to do, whatever happened', async (name, more) => {
    await client.createRepo(`${name}_in`);
    const input = { pfs: { repo: `${name}_in`, glob: '/*' } };
    const make = (extra: object = {}): Promise<void> =>
      create({ pipeline: { name }, transform: { cmd: door.cmd }, input, ...more, ...extra });
    const seen: string[] = [];
    const rests = async (what: string): Promise<void> => {
      await inState(name, 'STANDBY');
      seen.push(what);
    };
    /** One job, which is seen at work, and ends with this exit status. */
    const work = async (path: string, code: number): Promise<void> => {
      await client.put(`${name}_in`, { [path]: 'x' });
      const datum = await door.next(name);
      await inState(name, 'RUNNING');
      expect(await tusk('list pipeline')).toMatch(new RegExp(`^${name} .* running `, 'm'));
      datum.end(code);
    };
    await make({ datumTries: 1 });
    await rests('without data');
    await work('/a', 0);
    await rests('after a job');
    expect(await tusk('list pipeline')).toMatch(new RegExp(`^${name} .* standby / success`, 'm'));
    await work('/b', 1);
    await rests('after a job that failed');
    await tusk(`delete file ${name}_in@master:/b`);
    await client.ended(name, 3);
    await rests('after a job that skipped everything');
    await tusk(`stop pipeline ${name}`);
    await inState(name, 'PAUSED');
    await tusk(`start pipeline ${name}`);
    await rests('after its start');
    await make({ update: true });
    await client.ended(name, 5);
    await rests('after its update');
    // It waits for input that is being written: nothing is to be done yet.
    await tusk(`start commit ${name}_in@master`);
    await rests('while a commit is open');
    await tusk(`delete commit ${name}_in@master`);
    // Whatever it asks for that nobody has: no reason to fail before there is work.
    await make({ update: true, schedulingSpec: { nodeSelector: { disk: 'none' } } });
    await client.ended(name, 6);
    await rests('with labels that no worker has');
    await client.put(`${name}_in`, { '/c': 'x' });
    await inState(name, 'CRASHING');
    expect((await inspect(name)).reason).toContain('no worker has the labels disk=none');
    await make({ update: true });
    (await door.next(name)).end(0);
    await rests('when its work is done at last');
    expect(seen).toHaveLength(9);
    await tusk(`delete pipeline ${name}`);
  });

  it.concurrent('an output branch that was deleted says so until its update', async () => {
    await client.createRepo('lost_in');
    const request = {
      pipeline: { name: 'lost' },
      transform: { cmd: ['sh'], stdin: ['cp /pfs/lost_in/* /pfs/out'] },
      input: { pfs: { repo: 'lost_in', glob: '/*' } },
    };
    await create(request);
    await client.put('lost_in', { '/a': 'one' });
    await client.ended('lost');
    await tusk('delete branch lost@master');
    await client.put('lost_in', { '/b': 'two' });
    await inState('lost', 'CRASHING');
    expect((await inspect('lost')).reason).toMatch(/^output branch lost@master was deleted: /);
    await create({ ...request, update: true });
    expect(countsOf(await client.ended('lost', 2))).toBe('1 + 1 + 0 + 0 = 2 SUCCESS');
    await inState('lost', 'RUNNING');
    expect((await inspect('lost')).reason).toBe('');
    await tusk('delete pipeline lost');
  });

  it('standby takes no slot from others while it rests', async () => {
    const request = (name: string, more: object) => ({
      pipeline: { name },
      transform: { cmd: door.cmd },
      input: { pfs: { repo: 'slots_in', glob: '/*' } },
      parallelismSpec: { constant: 2 },
      ...more,
    });
    await client.createRepo('slots_in');
    await client.createRepo('rests_in');
    const rests = { standby: true, input: { pfs: { repo: 'rests_in', glob: '/*' } } };
    await create(request('rests', rests));
    await inState('rests', 'STANDBY');
    await create(request('works', {}));
    await client.put('slots_in', { '/a': '1', '/b': '2' });
    // Both slots at once.
    const held = [await door.next('works'), await door.next('works')];
    expect(await inspect('rests')).toMatchObject({ state: PipelineState.PIPELINE_STANDBY });
    for (const datum of held) datum.end();
    expect(countsOf(await client.ended('works'))).toBe('2 + 0 + 0 + 0 = 2 SUCCESS');
    for (const name of ['works', 'rests']) await tusk(`delete pipeline ${name}`);
  });

  it('work tells how much of it nobody has yet', async () => {
    await client.createRepo('waits_in');
    await create({
      pipeline: { name: 'waits' },
      transform: { cmd: door.cmd },
      input: { pfs: { repo: 'waits_in', glob: '/*' } },
      chunkSpec: { number: 1 },
    });
    expect((await inspect('waits')).unclaimedTasks).toBe(0);
    await client.put('waits_in', { '/a': '1', '/b': '2', '/c': '3' });
    for (const left of [2, 1, 0]) {
      const datum = await door.next('waits');
      await until(`${left} tasks wait`, async () => {
        return (await inspect('waits')).unclaimedTasks === left;
      });
      datum.end();
    }
    await client.ended('waits');
    await tusk('delete pipeline waits');
  });

  it('nothing to rest for stays running while it is idle', async () => {
    await client.createRepo('awake_in');
    await create({
      pipeline: { name: 'awake' },
      transform: { cmd: ['true'] },
      input: { pfs: { repo: 'awake_in', glob: '/*' } },
    });
    await inState('awake', 'RUNNING');
    await client.put('awake_in', { '/a': '1' });
    await client.ended('awake');
    expect(await stateOf('awake')).toBe('RUNNING');
    await tusk('delete pipeline awake');
  });
});

describe('a branch that is moved by hand', () => {
  const cp = { cmd: ['sh'], stdin: ['cp -r /pfs/src/* /pfs/out'] };
  const of = (repo: string, more: object = {}) => ({
    pfs: { repo, glob: '/*', name: 'src', ...more },
  });

  it('in front of a pipeline makes one job for its new head', async () => {
    await client.createRepo('staged');
    await create({
      pipeline: { name: 'published' },
      transform: cp,
      input: of('staged', { branch: 'production' }),
    });
    for (const name of ['a', 'b', 'c']) await put(`staged@master:/${name}`, name);
    const move = (to: string) => tusk(`create branch staged@production --head ${to}`);
    const table: [what: string, step: () => Promise<unknown>, counts: string, files: string][] = [
      ['to an older commit', () => move('master~1'), '2 + 0 + 0 + 0 = 2', '/a /b'],
      ['to the newest', () => move('master'), '1 + 2 + 0 + 0 = 3', '/a /b /c'],
      ['back', () => move('master~2'), '0 + 1 + 0 + 0 = 1', '/a'],
      [
        'past commits that it never saw',
        async () => {
          for (const name of ['d', 'e']) await put(`staged@master:/${name}`, name);
          await move('master');
        },
        '2 + 3 + 0 + 0 = 5',
        '/a /b /c /d /e',
      ],
    ];
    const seen: string[] = [];
    for (const [index, [what, step]] of table.entries()) {
      await step();
      const job = await client.ended('published', index + 1);
      const files = Object.keys(await client.files('published', 'master')).join(' ');
      seen.push(`${what}: ${countsOf(job)}, ${files}`);
    }
    expect(seen).toEqual(
      table.map(([what, , counts, files]) => `${what}: ${counts} SUCCESS, ${files}`),
    );
    // Where it is already, and where nobody reads: no job.
    await move('master');
    await put('staged@master:/f', 'f');
    expect(await client.jobs('published')).toHaveLength(table.length);
    await tusk('delete pipeline published');
  });

  it('behind a pipeline lets through what is downstream', async () => {
    await client.createRepo('raw');
    await create({
      pipeline: { name: 'checked' },
      transform: cp,
      input: of('raw'),
      outputBranch: 'staging',
    });
    await create({ pipeline: { name: 'reader' }, transform: cp, input: of('checked') });
    await put('raw@master:/a', 'one');
    await put('raw@master:/b', 'two');
    expect(countsOf(await client.ended('checked', 2))).toBe('1 + 1 + 0 + 0 = 2 SUCCESS');
    expect(await client.jobs('reader')).toEqual([]);
    await tusk('create branch checked@master --head staging~1');
    expect(countsOf(await client.ended('reader'))).toBe('1 + 0 + 0 + 0 = 1 SUCCESS');
    await tusk('create branch checked@master --head staging');
    expect(countsOf(await client.ended('reader', 2))).toBe('1 + 1 + 0 + 0 = 2 SUCCESS');
    await put('raw@master:/c', 'three');
    await client.ended('checked', 3);
    expect(await client.jobs('reader')).toHaveLength(2);
    await tusk('delete pipeline reader');
    await tusk('delete pipeline checked');
  });
});

describe('a trigger', () => {
  const input = (trigger: object, more: object = {}) => ({
    pfs: { repo: 'source', glob: '/*', trigger, ...more },
  });
  const request = (name: string, trigger: object, more: object = {}) => ({
    pipeline: { name },
    transform: { cmd: ['true'] },
    input: input(trigger, more),
  });
  /** How many datums each job of the pipeline had. */
  const sizes = async (name: string): Promise<number[]> =>
    (await client.jobs(name)).map(({ dataTotal }) => dataTotal);

  it('in an input decides which commits make jobs', async () => {
    await client.createRepo('source');
    const table: [name: string, trigger: object, sizes: number[]][] = [
      ['always', { commits: 1 }, [1, 2, 3, 4]],
      ['seconds', { commits: 2 }, [2, 4]],
      ['large', { size: '6B' }, [3]],
      ['either', { commits: 4, size: '2B' }, [1, 2, 3, 4]],
      ['all', { all: true, commits: 2, size: '3B' }, [2, 4]],
      ['never', { cronSpec: '@yearly' }, [1]],
    ];
    for (const [name, trigger] of table) await create(request(name, trigger));
    await create(request('named', { commits: 2 }, { branch: 'pairs' }));
    for (const [index, content] of ['11', '22', '33', '44'].entries()) {
      await put(`source@master:/${index}`, content);
      await tusk('flush commit source@master');
    }
    const seen = [];
    for (const [name, trigger] of table) seen.push([name, trigger, await sizes(name)]);
    expect(seen).toEqual(table);
    expect(await sizes('named')).toEqual([2, 4]);
    const branches = (await tusk('list branch source'))
      .split('\n')
      .map((line) => line.split(' ')[0]);
    expect(branches).toContain('seconds-trigger-1');
    expect(branches).toContain('pairs');
    const shown = (await inspect('seconds')).input?.pfs;
    expect(shown).toMatchObject({
      branch: 'seconds-trigger-1',
      trigger: { branch: 'master', commits: 2 },
    });
  });

  it('that a pipeline’s output moves goes on to the next', async () => {
    const made = 'seconds';
    await create({
      pipeline: { name: 'chained' },
      transform: { cmd: ['true'] },
      input: { pfs: { repo: made, glob: '/', trigger: { commits: 1 } } },
    });
    for (const content of ['55', '66']) await put(`source@master:/${content}`, content);
    await client.ended('chained');
    await tusk('delete pipeline chained');
  });

  it.each<[text: string, trigger: object, more?: object]>([
    ['invalid trigger cron spec', { cronSpec: 'now and then' }],
    ['invalid trigger size', { size: 'much' }],
    ["can't trigger on a negative number of commits", { commits: -1 }],
    ['triggers cannot form a loop', { branch: 'self', commits: 1 }, { branch: 'self' }],
  ])('is refused: %s', async (text, trigger, more) => {
    await expect(create(request('refused', trigger, more))).rejects.toThrow(text);
    expect(await tusk('list pipeline')).not.toContain('refused');
  });
});
