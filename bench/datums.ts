/** Datums: process per datum against xargs, and one new file after many processed ones. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from './lib/report.js';
import { shell } from './lib/run.js';
import { openStack, type Stack } from './lib/stack.js';

const SCRIPT = 'cp /pfs/in/* /pfs/out/';

async function pipeline(stack: Stack, dir: string, slots: number): Promise<void> {
  const spec = join(dir, 'spec.json');
  writeFileSync(
    spec,
    JSON.stringify({
      pipeline: { name: 'noop' },
      transform: { cmd: ['sh'], stdin: [SCRIPT] },
      parallelism_spec: { constant: slots },
      input: { pfs: { name: 'in', repo: 'data', glob: '/*' } },
    }),
  );
  await stack.tusk(['create', 'pipeline', '-f', spec]);
}

function inputs(dir: string, from: number, to: number): void {
  mkdirSync(dir, { recursive: true });
  for (let i = from; i < to; i += 1) {
    writeFileSync(join(dir, `f${String(i).padStart(6, '0')}`), `datum ${i}\n`);
  }
}

/** 10,000 trivial datums on 20 slots against `xargs -P20` with the same commands; then one more. */
export async function datums(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-datums-'));
  await using stack = await openStack({ workers: 20 });
  try {
    const count = 10_000;
    const files = join(dir, 'files');
    inputs(files, 0, count);
    await stack.tusk(['create', 'repo', 'data']);
    await stack.tusk(['put', 'file', 'data@master:/', '-r', '-f', files]);
    const start = performance.now();
    await pipeline(stack, dir, 20);
    await stack.tusk(['flush', 'job', 'data@master']);
    const ours = count / ((performance.now() - start) / 1000);
    // The same two processes per file: a shell that stays, and its copy.
    const line = `xargs -P20 -I{} sh -c 'cp ${files}/{} ${dir}/x/; :'`;
    const plain = await shell(`mkdir -p ${dir}/x && ls ${files} | ${line}`);
    const rival = count / plain.seconds;
    const rows: Row[] = [
      {
        what: 'no-op datums, a process per datum, 20 slots',
        ours: `pipeline: sh, stdin "${SCRIPT}"`,
        oursValue: `${Math.round(ours)} datums/s`,
        rival: `xargs -P20 -I{} sh -c 'cp FILES/{} OUT/; :'`,
        rivalValue: `${Math.round(rival)} commands/s`,
        ratio: `${(ours / rival).toFixed(2)} of its rate`,
        limit: '≥ 150 datums/s and ≥ 0.4',
        ok: ours >= 150 && ours / rival >= 0.4,
      },
    ];
    const times: number[] = [];
    for (let i = 0; i < 5; i += 1) {
      const one = join(dir, `one${i}`);
      writeFileSync(one, `new ${i}\n`);
      const begin = performance.now();
      await stack.tusk(['put', 'file', `data@master:/new${i}`, '-f', one]);
      await stack.tusk(['flush', 'commit', 'data@master']);
      times.push((performance.now() - begin) / 1000);
    }
    const median = [...times].sort((a, b) => a - b)[2] as number;
    const { stdout } = await stack.tusk(['list', 'job']);
    if (!/1 \+ \d+ \/ \d+/.test(stdout)) throw new Error(`nothing was skipped:\n${stdout}`);
    rows.push({
      what: 'one new file after 10,000 processed datums',
      ours: 'tusk put file data@master:/new -f one && tusk flush commit data@master',
      oursValue: `${median.toFixed(2)} s`,
      rival: '',
      rivalValue: '',
      ratio: `${median.toFixed(2)} s`,
      limit: '≤ 2 s',
      ok: median <= 2,
    });
    return rows;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
