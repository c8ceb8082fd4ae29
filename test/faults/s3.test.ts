/** An object store in trouble: slow, refusing, dropping connections and answers. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { HttpTrouble } from '../support/http-trouble.js';
import { disturb, inputs } from './job.js';
import { startStack } from '../support/stack.js';

const SHARES = { slowDown: 100, reset: 30, stall: 20, lostReply: 60 };

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
