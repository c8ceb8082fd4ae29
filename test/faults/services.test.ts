/** A worker with a service and a spout dies: both come up on another one, and nothing is lost. */
import { expect, it } from 'vitest';
import { CreatePipelineRequest } from '../../proto/generated/pps.js';
import { freePort } from '../support/free-port.js';
import { startStack } from '../support/stack.js';
import { until } from '../support/until.js';

it('moves services and spouts off a worker that was killed', async () => {
  await using stack = await startStack({ workers: 1 });
  const { client } = stack;
  const port = await freePort();
  await client.createRepo('in');
  await client.put('in', { '/a': 'one' });
  await client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name: 'web' },
      transform: { cmd: ['python3', '-m', 'http.server', String(port), '-d', '/pfs/in'] },
      input: { pfs: { repo: 'in', glob: '/' } },
      service: { internalPort: port, externalPort: await freePort() },
    }),
  );
  await client.createPipeline(
    CreatePipelineRequest.fromPartial({
      pipeline: { name: 'count' },
      transform: {
        cmd: ['sh'],
        stdin: [
          'cd /tmp; n=$(cat /pfs/at 2>/dev/null || echo 0)',
          'while :; do n=$((n + 1)); echo $n > at; echo $n > log; tar cf - at log > /pfs/out; sleep 0.2; done',
        ],
      },
      spout: { marker: 'at' },
    }),
  );
  const serves = () =>
    until(
      'the service answers',
      async () => (await fetch(`http://127.0.0.1:${port}/a`).catch(() => undefined))?.ok,
      60_000,
    );
  const lines = async (): Promise<string[]> =>
    ((await client.files('count', 'master'))['/log'] ?? '').trim().split('\n');
  await serves();
  await until('the spout counts', async () => (await lines()).length >= 3);

  await stack.addWorker();
  await stack.workers[0]?.kill9();
  const before = (await lines()).length;
  await until(
    'the port is closed: the process died with its worker',
    async () => !(await fetch(`http://127.0.0.1:${port}/a`).catch(() => undefined)),
  );
  await serves();
  const after = await until(
    'the spout goes on',
    async () => {
      const now = await lines();
      return now.length >= before + 3 && now;
    },
    60_000,
  );
  // The marker and the data are one commit: no number is missing, none comes twice.
  expect(after).toEqual(after.map((_, index) => String(index + 1)));
});
