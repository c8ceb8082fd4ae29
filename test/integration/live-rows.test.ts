/** More of what services and spouts do: ports, ends, and the commits of spouts as users see them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import {
  CreatePipelineRequest,
  JobState,
  ListPipelineRequest,
  PipelineState,
  type PipelineInfos,
} from '../../proto/generated/pps.js';
import { freePort } from '../support/free-port.js';
import { sharedStack } from '../support/shared.js';
import type { Stack } from '../support/stack.js';
import { answers, textOf as text } from '../support/http-text.js';
import { until } from '../support/until.js';

let stack: Stack;
let http = '';
/** What the entrypoint of image `listens` serves on. */
let imagePort = 0;

sharedStack({ workers: 0, config: { httpListen: '127.0.0.1:0' } }, async (made) => {
  stack = made;
  imagePort = await freePort();
  const table = join(stack.dir, 'images.json');
  const entrypoint = serve(imagePort, '/pfs/in');
  const rule = { pattern: 'listens', as: 'host', entrypoint };
  writeFileSync(table, JSON.stringify({ images: [rule] }));
  await stack.addWorker({ args: ['--images', table] });
  http = `http://127.0.0.1:${stack.ready.httpPort}/v1/pps/services`;
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/a': 'one' });
});

const create = (request: object): Promise<void> =>
  stack.client.createPipeline(CreatePipelineRequest.fromPartial(request));

const input = { pfs: { repo: 'in', glob: '/' } };
const serve = (port: number, dir: string) => ['python3', '-m', 'http.server', `${port}`, '-d', dir];

async function inspect(name: string): Promise<{ state: PipelineState; reason: string }> {
  const { pps } = stack.client;
  const { pipelineInfo } = await stack.client.call<ListPipelineRequest, PipelineInfos>(
    pps.listPipeline.bind(pps),
    ListPipelineRequest.fromPartial({ pipeline: { name } }),
  );
  const { state, reason } = pipelineInfo[0] ?? { state: -1, reason: '' };
  return { state: state as PipelineState, reason };
}

it('a service of type ClusterIP has no outside port and is reached through the proxy', async () => {
  const [internalPort, externalPort] = [await freePort(), await freePort()];
  await create({
    pipeline: { name: 'inner' },
    transform: { cmd: serve(internalPort, '/pfs/in') },
    input,
    service: { internalPort, externalPort, type: 'ClusterIP' },
  });
  await answers(`${http}/inner/a`, 'one');
  expect(await text(`http://127.0.0.1:${externalPort}/a`)).toBeUndefined();
  await stack.tusk(['delete', 'pipeline', 'inner']);
});

it('a service whose process ends well is started again too; flush waits for ever', async () => {
  const port = await freePort();
  // The directory is not there, as in the edge tutorial: the service is up all the same.
  const once = 'echo round; [ -e /tmp/x ] || exit 0';
  await create({
    pipeline: { name: 'ends' },
    transform: { cmd: ['sh'], stdin: [once] },
    input,
    service: { internalPort: port, externalPort: port },
  });
  await until('it was started twice', async () => {
    const { stdout } = await stack.tusk(['logs', '-p', 'ends']);
    return stdout.split('\n').filter((line) => line === 'round').length >= 2;
  });
  const flush = stack.tusk(['flush', 'commit', 'in@master', '-r', 'ends']);
  const first = await Promise.race([
    flush.then(() => 'flush'),
    until('again', async () => {
      const { stdout } = await stack.tusk(['logs', '-p', 'ends']);
      return stdout.split('\n').filter((line) => line === 'round').length >= 3 && 'round';
    }),
  ]);
  expect(first).toBe('round');
  const [job] = await stack.client.jobs('ends');
  expect(job?.state).toBe(JobState.JOB_RUNNING);
  const shown = (await stack.tusk(['inspect', 'job', job?.job?.id ?? ''])).stdout;
  expect(shown).toMatch(new RegExp(`^WORKER .*\\n\\S+ +${job?.job?.id} `, 'm'));
  const datums = (await stack.tusk(['list', 'datum', job?.job?.id ?? ''])).stdout.split('\n');
  expect(datums[1]).toMatch(/^[0-9a-f]{64} in@[0-9a-f]{32}:\/ +- +- *$/);
  await stack.tusk(['delete', 'pipeline', 'ends']);
  await flush.catch(() => undefined);
});

it('a pipeline can not be service and spout, and says so', async () => {
  const service = { internalPort: 1234, externalPort: 1234 };
  await create({
    pipeline: { name: 'both' },
    transform: { cmd: ['true'] },
    service,
    spout: {},
  });
  const { reason } = await until('it failed', async () => {
    const now = await inspect('both');
    return now.state === PipelineState.PIPELINE_FAILURE && now;
  });
  expect(reason).toMatch(
    /^could not generate RC options: .*only one of pipeline.service or pipeline.spout can be set/,
  );
});

it('a spout with a service makes commits and answers on its port', async () => {
  const [internalPort, externalPort] = [await freePort(), await freePort()];
  await create({
    pipeline: { name: 'asked' },
    transform: {
      cmd: ['sh'],
      stdin: [
        'cd /tmp; echo 1 > n; tar cf - n > /pfs/out',
        `exec ${serve(internalPort, '/tmp').join(' ')}`,
      ],
    },
    spout: { service: { internalPort, externalPort } },
  });
  await answers(`http://127.0.0.1:${externalPort}/n`, '1\n');
  await answers(`${http}/asked/n`, '1\n');
  expect(await stack.client.files('asked', 'master')).toEqual({ '/n': '1\n' });
  await stack.tusk(['delete', 'pipeline', 'asked']);
});

it('commits of a spout can be deleted; what one left open is gone when it starts again', async () => {
  const script = (word: string, more: string) => ({
    pipeline: { name: 'made' },
    transform: {
      cmd: ['sh'],
      stdin: [`cd /tmp; echo ${word} > ${word}; tar cf - ${word} > /pfs/out`, more, 'sleep 1000'],
    },
    spout: {},
  });
  const there = 'pachctl list file $PPS_PIPELINE_NAME@master | grep -q first';
  const start = 'pachctl start commit $PPS_PIPELINE_NAME@master; echo started';
  await create(script('first', `until ${there}; do sleep 0.1; done; ${start}`));
  await until(
    'a commit is open',
    async () => {
      const { stdout } = await stack.tusk(['logs', '-p', 'made']);
      return stdout.includes('started');
    },
    60_000,
  );
  expect(await stack.client.commits('made')).toHaveLength(2);
  await create({ ...script('second', 'true'), update: true });
  const files = { '/first': 'first\n', '/second': 'second\n' };
  const run = await stack.tusk(['run', 'pipeline', 'made'], { check: false });
  expect(run.stderr).toBe('pipeline made is a spout: its code runs on and on, without jobs\n');
  await until(
    'the second is there',
    async () => {
      const now = await stack.client.files('made', 'master');
      return JSON.stringify(now) === JSON.stringify(files);
    },
    60_000,
  );
  expect(await stack.client.commits('made')).toHaveLength(2);
  await stack.tusk(['delete', 'commit', 'made@master']);
  expect(await stack.client.files('made', 'master')).toEqual({ '/first': 'first\n' });
});

it('a spout waits for a commit that is open, and is told when its files do not fit', async () => {
  await create({
    pipeline: { name: 'odd' },
    transform: {
      cmd: ['sh'],
      stdin: [
        'cd /tmp; pachctl start commit $PPS_PIPELINE_NAME@master',
        'echo x > a; tar cf - a > /pfs/out; rm a; mkdir a; echo y > a/b; tar cf - a > /pfs/out',
        'sleep 1000',
      ],
    },
    spout: {},
  });
  const reason = (text: RegExp) =>
    until(
      `the reason is ${String(text)}`,
      async () => text.test((await inspect('odd')).reason),
      60_000,
    );
  await reason(/cannot commit what the spout wrote: .*has not been finished; trying again/);
  await stack.tusk(['finish', 'commit', 'odd@master']);
  await reason(/the tar stream does not fit what is there: .*not a directory/);
  const [head = ''] = await stack.client.commits('odd');
  expect(head).not.toBe('');
  await stack.tusk(['delete', 'pipeline', 'odd']);
});

it.each([
  ['service', () => ({ input, service: { internalPort: imagePort, externalPort: imagePort } })],
  [
    'spout',
    () => ({ input, spout: { service: { internalPort: imagePort, externalPort: imagePort } } }),
  ],
])('a %s without a command runs the entrypoint of its image', async (_kind, more) => {
  await create({ pipeline: { name: 'entry' }, transform: { image: 'listens' }, ...more() });
  await answers(`http://127.0.0.1:${imagePort}/a`, 'one');
  await stack.tusk(['delete', 'pipeline', 'entry']);
});

it.each([
  ['service', { input, service: { internalPort: 1234, externalPort: 1234 } }],
  ['spout', { spout: {} }],
])('a %s without command and entrypoint fails, until its update', async (kind, more) => {
  const name = `nothing_${kind}`;
  await create({ pipeline: { name }, transform: { image: 'other:1' }, ...more });
  const { reason } = await until('it failed', async () => {
    const now = await inspect(name);
    return now.state === PipelineState.PIPELINE_FAILURE && now;
  });
  expect(reason).toBe(
    'nothing to run: no transform.cmd and no entrypoint (workers run the commands of image ' +
      'other:1 on the host itself, which has no entrypoint); give transform.cmd',
  );
  const jobs = await stack.client.jobs(name);
  expect(jobs.map((job) => [job.state, job.reason])).toEqual(
    kind === 'spout' ? [] : [[JobState.JOB_FAILURE, reason]],
  );
  const logs = await stack.tusk(['logs', '-p', name, '--worker']);
  expect(logs.stdout).toContain(reason);
  const transform = { image: 'other:1', cmd: ['sleep', '1000'] };
  await create({ pipeline: { name }, transform, ...more, update: true });
  await until('it runs', async () => {
    const now = await inspect(name);
    return now.state === PipelineState.PIPELINE_RUNNING && now.reason === '';
  });
  await stack.tusk(['delete', 'pipeline', name]);
});

it('a spout with a service may read an input: it is started again with the next commit', async () => {
  const [internalPort, externalPort] = [await freePort(), await freePort()];
  await stack.client.createRepo('model');
  const asked = {
    pipeline: { name: 'model_spout' },
    transform: {
      cmd: ['sh'],
      stdin: [
        'cd /tmp; cat /pfs/model/* > seen; echo "$model|$PACH_JOB_ID" > where',
        'tar cf - seen where > /pfs/out',
        `exec ${serve(internalPort, '/pfs/model').join(' ')}`,
      ],
    },
    input: { pfs: { repo: 'model', glob: '/' } },
    spout: { overwrite: true, service: { internalPort, externalPort } },
  };
  await create(asked);
  await until('it waits for data', async () => {
    const { state, reason } = await inspect('model_spout');
    const waits = reason === 'waiting for the first finished commit on model@master';
    return state === PipelineState.PIPELINE_CRASHING && waits;
  });
  await stack.client.put('model', { '/a': 'one' });
  await answers(`http://127.0.0.1:${externalPort}/a`, 'one');
  const first = { '/seen': 'one', '/where': '/pfs/model|spout\n' };
  expect(await stack.client.files('model_spout', 'master')).toEqual(first);
  // What is open is not read yet.
  await stack.tusk(['start', 'commit', 'model@master']);
  await stack.client.put('model', { '/b': 'two' });
  expect(await text(`http://127.0.0.1:${externalPort}/b`)).toBeUndefined();
  await stack.tusk(['finish', 'commit', 'model@master']);
  await answers(`http://127.0.0.1:${externalPort}/b`, 'two');
  await until('the next commit is there', async () => {
    const { '/seen': seen } = await stack.client.files('model_spout', 'master');
    return seen === 'onetwo';
  });
  expect(await stack.client.jobs('model_spout')).toEqual([]);
  const branch = (await stack.tusk(['inspect', 'branch', 'model_spout@master', '--raw'])).stdout;
  expect(JSON.parse(branch)).not.toHaveProperty('provenance');
  // Like a service it takes one datum.
  await create({ ...asked, update: true, input: { pfs: { repo: 'model', glob: '/*' } } });
  await until('it says so', async () => {
    const { reason } = await inspect('model_spout');
    return reason.startsWith('services must have a single datum: this input gives 2');
  });
  await stack.tusk(['delete', 'pipeline', 'model_spout']);
});
