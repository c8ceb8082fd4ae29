/** An object store in trouble: slow, refusing, dropping connections and answers. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { CreatePipelineRequest } from '../../proto/generated/pps.js';
import { DatumDoor, type HeldDatum } from '../support/datum-door.js';
import { HttpTrouble } from '../support/http-trouble.js';
import { countsOf } from '../support/stack-client.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { until } from '../support/until.js';
import { disturb, inputs } from './job.js';
import { startStack } from '../support/stack.js';

const SHARES = { slowDown: 100, reset: 10, stall: 10, lostReply: 60 };

it('answers 503, resets, stalls, and loses the replies to puts: the result is that of a calm day', async () => {
  let trouble: HttpTrouble | undefined;
  try {
    await disturb(
      {
        store: 's3',
        s3Through: async (server) => {
          trouble = new HttpTrouble(new URL(server.url), SHARES, 3_000);
          return await trouble.listen();
        },
      },
      () => Promise.resolve(),
    );
    const { met } = trouble as HttpTrouble;
    for (const [kind, times] of Object.entries(met))
      expect({ kind, met: times > 0 }).toEqual({ kind, met: true });
  } finally {
    await trouble?.[Symbol.asyncDispose]();
  }
});

it('loses a third of the replies to puts: a large file and many small ones are whole', async () => {
  let trouble: HttpTrouble | undefined;
  try {
    await using stack = await startStack({
      store: 's3',
      workers: 0,
      s3Through: async (server) => {
        trouble = new HttpTrouble(new URL(server.url), { ...SHARES, lostReply: 300 }, 500);
        return await trouble.listen();
      },
    });
    await stack.client.createRepo('in');
    const large = 'large file\n'.repeat(2_000_000);
    const from = join(stack.dir, 'large');
    writeFileSync(from, large);
    await stack.client.put('in', inputs(200));
    await stack.tusk(['put', 'file', 'in@master:/large', '-f', from]);
    expect(await stack.client.files('in', 'master')).toEqual({ ...inputs(200), '/large': large });
    const { stdout } = await stack.tusk(['fsck', '--data']);
    expect(stdout).not.toMatch(/missing|damaged/);
    expect((trouble as HttpTrouble).met.lostReply).toBeGreaterThan(0);
  } finally {
    await trouble?.[Symbol.asyncDispose]();
  }
});

it.each([
  ['gives up sooner than the worker', 3_000],
  ['waits for its answer', 60_000],
])(
  'is away while user code that %s reads and writes through S3: its datum runs again',
  async (_who, patienceMs) => {
    let proxy: TcpProxy | undefined;
    try {
      await using door = await DatumDoor.open();
      await using stack = await startStack({
        store: 's3',
        slots: 1,
        s3Through: async ({ port }) => {
          proxy = await startTcpProxy({ port });
          return `http://127.0.0.1:${proxy.port}`;
        },
      });
      const store = proxy as unknown as TcpProxy;
      const { client } = stack;
      await client.createRepo('data');
      await client.put('data', { '/a': 'read through S3' });
      await client.createPipeline(
        CreatePipelineRequest.fromPartial({
          pipeline: { name: 'copy' },
          transform: { cmd: door.cmd },
          datumTries: 1,
          s3Out: true,
          input: { pfs: { repo: 'data', name: 'data', glob: '/', s3: true } },
        }),
      );
      const read = async ({ env }: HeldDatum, signal: AbortSignal): Promise<string> => {
        const answer = await fetch(`${env['S3_ENDPOINT']}/data/a`, { signal });
        if (!answer.ok) throw new Error(await answer.text());
        return answer.text();
      };
      const first = await door.next('copy');
      store.refuse();
      store.cut();
      await expect(read(first, AbortSignal.timeout(patienceMs))).rejects.toThrow();
      first.end(1);
      const log = join(stack.dir, 'worker0.json');
      await until('the task is given back', () =>
        readFileSync(log, 'utf8').includes('task given back'),
      );
      store.resume();
      const second = await door.next('copy');
      const body = await read(second, AbortSignal.timeout(60_000));
      const put = await fetch(`${second.env['S3_ENDPOINT']}/out/copy`, { method: 'PUT', body });
      expect(put.status).toBe(200);
      second.end();
      const job = await client.ended('copy');
      expect(countsOf(job)).toMatchObject({ state: 'JOB_SUCCESS', processed: 1, failed: 0 });
      expect(await client.files('copy', 'master')).toEqual({ '/copy': 'read through S3' });
    } finally {
      await proxy?.[Symbol.asyncDispose]();
    }
  },
);
