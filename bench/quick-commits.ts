/** Many commits at once whose datums take no time: what a job costs where others wait behind it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '../cli/client/client.js';
import { FlushCommitRequest } from '../proto/generated/pfs.js';
import { clientOf, commitFile } from './lib/client.js';
import type { Row } from './lib/report.js';
import { openStack } from './lib/stack.js';

const COMMITS = 200;
/** Before and after, because other programs come and go. */
const ALONE = 10;
const SLOTS = 4;
const RATIO_MAX = 1;

/** 200 commits of one tiny file each, against the same one by one. */
export async function quickCommits(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-quick-'));
  await using stack = await openStack({ workers: SLOTS });
  try {
    const spec = join(dir, 'spec.json');
    const request = {
      pipeline: { name: 'quick' },
      transform: { cmd: ['sh'], stdin: ['cp /pfs/in/* /pfs/out/'] },
      parallelism_spec: { constant: SLOTS },
      input: { pfs: { name: 'in', repo: 'data', glob: '/*' } },
    };
    writeFileSync(spec, JSON.stringify(request));
    await stack.tusk(['create', 'repo', 'data']);
    await stack.tusk(['create', 'pipeline', '-f', spec]);
    const client = clientOf(stack);
    const times: number[] = [];
    const measureAlone = async (name: string): Promise<void> => {
      for (let i = 0; i < ALONE; i += 1) times.push(await timed(() => one(client, `/${name}${i}`)));
    };
    await measureAlone('before');
    let committed = 0;
    const all = await timed(async () => {
      committed = await timed(async () => {
        for (let i = 0; i < COMMITS; i += 1)
          await commitFile(client, 'data', `/f${i}`, `text ${i}`);
      });
      await flush(client);
    });
    await measureAlone('after');
    const alone = times.sort((a, b) => a - b)[ALONE] as number;
    const { stdout } = await stack.tusk(['list', 'job', '-p', 'quick']);
    const done = stdout.split('\n').filter((line) => line.includes('success')).length;
    if (done !== COMMITS + 2 * ALONE) throw new Error(`${done} jobs succeeded:\n${stdout}`);
    const ratio = all / COMMITS / alone;
    const puts = `${(COMMITS / committed).toFixed(0)} commits/s`;
    return [
      {
        what: `${COMMITS} commits of one quick datum each, made at once`,
        ours: `PutFile × ${COMMITS} && flush`,
        oursValue: `${(COMMITS / all).toFixed(1)} commits/s done, ${puts} put`,
        rival: 'PutFile && flush, one after the other',
        rivalValue: `${(1 / alone).toFixed(1)} commits/s`,
        ratio: `${ratio.toFixed(2)} × the time of one alone`,
        limit: `≤ ${RATIO_MAX}`,
        ok: ratio <= RATIO_MAX,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function one(client: Client, path: string): Promise<void> {
  await commitFile(client, 'data', path, `text of ${path}`);
  await flush(client);
}

/** Waits for what is downstream of the head. */
async function flush(client: Client): Promise<void> {
  const commits = [{ repo: { name: 'data' }, id: 'master' }];
  const call = client.pfs.flushCommit(FlushCommitRequest.fromPartial({ commits }));
  for await (const _ of call);
}

async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
