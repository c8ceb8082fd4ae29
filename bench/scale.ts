/** A job over a million datums: when its first datum starts, and what the coordinator needs for it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from './lib/report.js';
import { memoryMiB, openStack, type Stack } from './lib/stack.js';

const DATUMS = 1_000_000;
const SLOTS = 20;
const COMMAND = 'tusk create pipeline -f spec.json, glob /lines/* over 1,000,000 files';

export async function scale(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-scale-'));
  await using stack = await openStack({ workers: SLOTS });
  try {
    const lines = join(dir, 'lines');
    writeFileSync(lines, Array.from({ length: DATUMS }, (_, i) => `line ${i}\n`).join(''));
    await stack.tusk(['create', 'repo', 'huge']);
    await stack.tusk(['create', 'repo', 'small']);
    const one = join(dir, 'one');
    writeFileSync(one, 'one\n');
    await stack.tusk(['put', 'file', 'small@master:/lines/1', '-f', one]);
    const load = ['put', 'file', 'huge@master:/lines', '-f', lines, '--split', 'line'];
    await stack.tusk([...load, '--target-file-datums', '1']);
    await firstDatum(stack, dir, 'small');
    const huge = await firstDatum(stack, dir, 'huge');
    const beside = await firstDatum(stack, dir, 'small', 'beside');
    const { peak } = memoryMiB(stack.coordinatorPid);
    const row = (what: string, value: string, limit: string, ok: boolean): Row => ({
      ...{ what, ours: COMMAND, oursValue: value, rival: '', rivalValue: '' },
      ...{ ratio: value, limit, ok },
    });
    const seconds = (value: number): string => `${value.toFixed(1)} s`;
    return [
      row('first of 1,000,000 datums starts', seconds(huge), '≤ 3 s', huge <= 3),
      row('… and one of another pipeline beside it', seconds(beside), '≤ 5 s', beside <= 5),
      row('coordinator memory, 1,000,000 datums', `${peak} MiB`, '≤ 1024 MiB', peak <= 1024),
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Seconds from the command that makes the pipeline until its first datum runs, as its worker says. */
async function firstDatum(
  stack: Stack,
  dir: string,
  repo: string,
  name = `p${repo}`,
): Promise<number> {
  const spec = join(dir, `${name}.json`);
  const request = {
    pipeline: { name },
    transform: { cmd: ['sleep', '1'] },
    parallelism_spec: { constant: SLOTS },
    input: { pfs: { repo, glob: '/lines/*' } },
  };
  writeFileSync(spec, JSON.stringify(request));
  const start = Date.now();
  await stack.tusk(['create', 'pipeline', '-f', spec]);
  for (let tries = 0; tries < 600; tries += 1) {
    const { stdout } = await stack.tusk(['list', 'job', '-p', name, '--raw']);
    const id = /"id": ?"([0-9a-f]{32})"/.exec(stdout)?.[1];
    const job = id === undefined ? '' : (await stack.tusk(['inspect', 'job', id, '--raw'])).stdout;
    const began = [...job.matchAll(/"started": ?"([^"]+)"[^}]*"?/g)].map((m) =>
      Date.parse(m[1] ?? ''),
    );
    const running = /"worker_status": ?\[\s*\{/.test(job);
    const done = Number(/"data_processed": ?"?(\d+)/.exec(job)?.[1] ?? 0);
    if (running || done > 0) {
      // The first time is the job's own.
      const first = Math.min(...began.slice(1), Date.now());
      return Math.max(0, (first - start) / 1000);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`no datum of ${name} started`);
}
