/** Very many pipelines: what one of them costs beside hundreds of others. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from './lib/report.js';
import { openStack } from './lib/stack.js';

const [FEW, MANY] = [20, 200];
const ROUNDS = 2;
const RATIO_MAX = 1.5;

/** Milliseconds per pipeline for one commit through so many of them, all with one tiny datum. */
async function perPipeline(dir: string, count: number): Promise<number> {
  await using stack = await openStack({ workers: 4 });
  const spec = join(dir, `spec${count}.json`);
  const request = (name: string) => ({
    pipeline: { name },
    transform: { cmd: ['true'] },
    input: { pfs: { repo: 'data', glob: '/*' } },
  });
  writeFileSync(
    spec,
    Array.from({ length: count }, (_, i) => JSON.stringify(request(`p${i}`))).join('\n'),
  );
  await stack.tusk(['create', 'repo', 'data']);
  await stack.tusk(['create', 'pipeline', '-f', spec]);
  const times: number[] = [];
  for (let round = 0; round <= ROUNDS; round += 1) {
    const start = performance.now();
    await stack.tusk(['put', 'file', `data@master:/f${round}`, '-f', spec]);
    await stack.tusk(['flush', 'job', 'data@master']);
    times.push((performance.now() - start) / count);
  }
  // The first round warms the coordinator up.
  return Math.min(...times.slice(1));
}

/** One commit through 200 pipelines against one through 20, per pipeline. */
export async function pipelines(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-pipelines-'));
  try {
    const few = await perPipeline(dir, FEW);
    const many = await perPipeline(dir, MANY);
    return [
      {
        what: `a commit through ${MANY} pipelines`,
        ours: `tusk put file && tusk flush job, ${MANY} pipelines`,
        oursValue: `${many.toFixed(0)} ms per pipeline`,
        rival: `the same with ${FEW}`,
        rivalValue: `${few.toFixed(0)} ms per pipeline`,
        ratio: `${(many / few).toFixed(2)} × its time`,
        limit: `≤ ${RATIO_MAX}`,
        ok: many / few <= RATIO_MAX,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
