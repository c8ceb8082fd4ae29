/** Commits that each add one slow file: whether their jobs keep all slots busy. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clientOf, commitFile } from './lib/client.js';
import type { Row } from './lib/report.js';
import { openStack } from './lib/stack.js';

const COMMITS = 20;
const SLOTS = 20;
const DATUM_S = 1;
const RATIO_MAX = 3;

/** 20 commits with one file each, whose datum takes a second, on 20 slots. One by one: over 20 s. */
export async function overlap(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-overlap-'));
  await using stack = await openStack({ workers: SLOTS });
  try {
    const spec = join(dir, 'spec.json');
    const request = {
      pipeline: { name: 'slow' },
      transform: { cmd: ['sh'], stdin: [`sleep ${DATUM_S}`, 'cp /pfs/in/* /pfs/out/'] },
      parallelism_spec: { constant: SLOTS },
      input: { pfs: { name: 'in', repo: 'data', glob: '/*' } },
    };
    writeFileSync(spec, JSON.stringify(request));
    await stack.tusk(['create', 'repo', 'data']);
    await stack.tusk(['create', 'pipeline', '-f', spec]);
    const client = clientOf(stack);
    const start = performance.now();
    for (let i = 0; i < COMMITS; i += 1) await commitFile(client, 'data', `/f${i}`, `content ${i}`);
    const committed = (performance.now() - start) / 1000;
    await stack.tusk(['flush', 'job', 'data@master']);
    const ours = (performance.now() - start) / 1000;
    const { stdout } = await stack.tusk(['list', 'job', '-p', 'slow']);
    const done = stdout.split('\n').filter((line) => line.includes('success')).length;
    if (done !== COMMITS) throw new Error(`${done} of ${COMMITS} jobs succeeded:\n${stdout}`);
    const bound = committed + DATUM_S;
    return [
      {
        what: `${COMMITS} commits of one ${DATUM_S} s datum each, ${SLOTS} slots`,
        ours: `PutFile × ${COMMITS} && tusk flush job`,
        oursValue: `${ours.toFixed(1)} s`,
        rival: 'the last commit and its datum, at no cost',
        rivalValue: `${bound.toFixed(1)} s`,
        ratio: `${(ours / bound).toFixed(2)} × its makespan`,
        limit: `≤ ${RATIO_MAX}`,
        ok: ours / bound <= RATIO_MAX,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
