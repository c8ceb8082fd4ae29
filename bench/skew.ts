/** Datums of very different durations: whether slots stand idle while a few of them go on. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from './lib/report.js';
import { openStack } from './lib/stack.js';

const SLOTS = 20;
const DATUMS = 600;
const LONGEST_S = 8;
const EXPONENT = 0.7;

/** Seconds of each datum, in the order of names: Zipf's law, shuffled the same way each time. */
function durations(): number[] {
  const list = Array.from({ length: DATUMS }, (_, i) => LONGEST_S / (i + 1) ** EXPONENT);
  let state = 42;
  for (let i = list.length - 1; i > 0; i -= 1) {
    state = (state * 48_271) % 2_147_483_647;
    const j = state % (i + 1);
    [list[i], list[j]] = [list[j] as number, list[i] as number];
  }
  return list;
}

/** When all is done if each free slot takes the next datum, at no cost. */
function listScheduling(seconds: readonly number[]): number {
  const free = new Array<number>(SLOTS).fill(0);
  for (const time of seconds) {
    const slot = free.indexOf(Math.min(...free));
    free[slot] = (free[slot] as number) + time;
  }
  return Math.max(...free);
}

/** 600 sleeps on 20 slots against list scheduling of the same durations in the same order. */
export async function skew(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-skew-'));
  await using stack = await openStack({ workers: SLOTS });
  try {
    const files = join(dir, 'files');
    mkdirSync(files);
    const seconds = durations();
    // All of one size, so that names alone decide the order.
    for (const [i, time] of seconds.entries()) {
      writeFileSync(join(files, `f${String(i).padStart(4, '0')}`), time.toFixed(6).padStart(10));
    }
    const spec = join(dir, 'spec.json');
    const request = {
      pipeline: { name: 'skew' },
      transform: { cmd: ['sh'], stdin: ['sleep $(cat /pfs/in/*)'] },
      parallelism_spec: { constant: SLOTS },
      input: { pfs: { name: 'in', repo: 'data', glob: '/*' } },
    };
    writeFileSync(spec, JSON.stringify(request));
    await stack.tusk(['create', 'repo', 'data']);
    await stack.tusk(['put', 'file', 'data@master:/', '-r', '-f', files]);
    const start = performance.now();
    await stack.tusk(['create', 'pipeline', '-f', spec]);
    await stack.tusk(['flush', 'job', 'data@master']);
    const ours = (performance.now() - start) / 1000;
    const { stdout } = await stack.tusk(['list', 'job', '-p', 'skew']);
    if (!stdout.includes(`${DATUMS} + 0 / ${DATUMS}`)) throw new Error(`not all done:\n${stdout}`);
    const bound = listScheduling(seconds);
    return [
      {
        what: `${DATUMS} datums of skewed durations (Zipf), ${SLOTS} slots`,
        ours: "tusk create pipeline (stdin 'sleep $(cat /pfs/in/*)') && tusk flush job",
        oursValue: `${ours.toFixed(1)} s`,
        rival: 'list scheduling of the same durations without any cost',
        rivalValue: `${bound.toFixed(1)} s`,
        ratio: `${(ours / bound).toFixed(2)} × its makespan`,
        limit: '≤ 1.15',
        ok: ours / bound <= 1.15,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
