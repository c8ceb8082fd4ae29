/** More of what services and spouts do: ports, ends, and the commits of spouts as users see them. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  CreatePipelineRequest,
  JobState,
  ListPipelineRequest,
  PipelineState,
  type PipelineInfos,
} from '../../proto/generated/pps.js';
import { freePort } from '../support/free-port.js';
import { startStack, type Stack } from '../support/stack.js';
import { until } from '../support/until.js';

let stack: Stack;
let http = '';

beforeAll(async () => {
  stack = await startStack({ workers: 1, config: { httpListen: '127.0.0.1:0' } });
  http = `http://127.0.0.1:${stack.ready.httpPort}/v1/pps/services`;
  await stack.client.createRepo('in');
  await stack.client.put('in', { '/a': 'one' });
});
afterAll(() => stack[Symbol.asyncDispose]());

const create = (request: object): Promise<void> =>
  stack.client.createPipeline(CreatePipelineRequest.fromPartial(request));

const input = { pfs: { repo: 'in', glob: '/' } };
const serve = (port: number, dir: string) => ['python3', '-m', 'http.server', `${port}`, '-d', dir];

async function text(url: string): Promise<string | undefined> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
  return answer?.ok ? answer.text() : undefined;
}

const answers = (url: string, body: string) =>
  until(`${url} answers ${body}`, async () => (await text(url)) === body, 60_000);

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
  await until('it was started three times', async () => {
    const { stdout } = await stack.tusk(['logs', '-p', 'ends']);
    return stdout.split('\n').filter((line) => line === 'round').length >= 3;
  });
  const flush = stack.tusk(['flush', 'commit', 'in@master', '-r', 'ends']);
  const first = await Promise.race([
    flush.then(() => 'flush'),
    until('again', async () => {
      const { stdout } = await stack.tusk(['logs', '-p', 'ends']);
      return stdout.split('\n').filter((line) => line === 'round').length >= 4 && 'round';
    }),
  ]);
  expect(first).toBe('round');
  const [job] = await stack.client.jobs('ends');
  expect(job?.state).toBe(JobState.JOB_RUNNING);
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
