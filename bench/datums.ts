/** Datums: process per datum against xargs, and one new file after many processed ones. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from './lib/report.js';
import { ROOT, shell } from './lib/run.js';
import { memoryMiB, openStack, type Stack } from './lib/stack.js';

const SCRIPT = 'cp /pfs/in/* /pfs/out/';
/** The helper travels inside the command: a sandbox has a /tmp of its own. */
const SERVE = [
  readFileSync(join(ROOT, 'examples/warm/tusk_warm.py'), 'utf8'),
  'import os',
  'serve(lambda datum: os.symlink(datum.env["in"], "/pfs/out/" + os.path.basename(datum.env["in"])))',
].join('\n');

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

/** 30,000 trivial datums on 20 slots against `xargs -P20` with the same commands; then one more. */
export async function datums(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-datums-'));
  await using stack = await openStack({ workers: 20 });
  try {
    const count = 30_000;
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
        limit: '≥ 300 datums/s and ≥ 0.7',
        ok: ours >= 300 && ours / rival >= 0.7,
      },
    ];
    const median = await oneMore(stack, dir);
    const { stdout } = await stack.tusk(['list', 'job']);
    if (!/1 \+ \d+ \/ \d+/.test(stdout)) throw new Error(`nothing was skipped:\n${stdout}`);
    rows.push({
      what: 'one new file after 30,000 processed datums',
      ours: 'tusk put file data@master:/new -f one && tusk flush commit data@master',
      oursValue: `${median.toFixed(2)} s`,
      rival: '',
      rivalValue: '',
      ratio: `${median.toFixed(2)} s`,
      limit: '≤ 1 s',
      ok: median <= 1,
    });
    return rows;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Median seconds from putting one more file to its finished output. */
async function oneMore(stack: Stack, dir: string, under = ''): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const one = join(dir, `one${i}`);
    writeFileSync(one, `new ${i}\n`);
    const begin = performance.now();
    await stack.tusk(['put', 'file', `data@master:${under}/new${i}`, '-f', one]);
    await stack.tusk(['flush', 'commit', 'data@master']);
    times.push((performance.now() - begin) / 1000);
  }
  return [...times].sort((a, b) => a - b)[2] as number;
}

/** One new file after very many processed ones, which a process that stays alive made quickly. */
export async function after(count: number, limitSeconds: number): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-after-'));
  await using stack = await openStack({ workers: 20 });
  try {
    const lines = join(dir, 'lines');
    writeFileSync(lines, Array.from({ length: count }, (_, i) => `datum ${i}\n`).join(''));
    await stack.tusk(['create', 'repo', 'data']);
    const load = ['put', 'file', 'data@master:/lines', '-f', lines, '--split', 'line'];
    await stack.tusk([...load, '--target-file-datums', '1']);
    const spec = join(dir, 'spec.json');
    const request = {
      pipeline: { name: 'many' },
      transform: { cmd: ['python3', '-c', SERVE], datum_batching: true },
      parallelism_spec: { constant: 20 },
      input: { pfs: { name: 'in', repo: 'data', glob: '/lines/*' } },
    };
    writeFileSync(spec, JSON.stringify(request));
    await stack.tusk(['create', 'pipeline', '-f', spec]);
    await stack.tusk(['flush', 'job', 'data@master']);
    const median = await oneMore(stack, dir, '/lines');
    const { stdout } = await stack.tusk(['list', 'job']);
    if (!new RegExp(`1 \\+ ${count + 4} / ${count + 5}`).test(stdout)) {
      throw new Error(`nothing was skipped:\n${stdout}`);
    }
    const { peak } = memoryMiB(stack.coordinatorPid);
    return [
      {
        what: `one new file after ${count.toLocaleString('en')} processed datums`,
        ours: 'tusk put file data@master:/lines/new -f one && tusk flush commit data@master',
        oursValue: `${median.toFixed(2)} s, coordinator's peak ${peak} MiB`,
        rival: '',
        rivalValue: '',
        ratio: `${median.toFixed(2)} s`,
        limit: `≤ ${limitSeconds} s`,
        ok: median <= limitSeconds,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
