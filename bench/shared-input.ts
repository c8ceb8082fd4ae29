/** A large input that every datum of a job needs: how often its bytes leave the store. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeRandomFile } from './lib/data.js';
import type { Row } from './lib/report.js';
import { openStack } from './lib/stack.js';

const MIB = 2 ** 20;
const SHARED_MIB = 512;
const DATUMS = 1_000;

/** Bytes a process asked the kernel for, from files and sockets alike. */
function bytesRead(pid: number): number {
  return Number(/^rchar: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0);
}

/** 512 MiB crossed with 1,000 small files on one host; all a worker reads, counted by the kernel. */
export async function sharedInput(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-shared-'));
  await using stack = await openStack({ workers: 8 });
  try {
    const small = join(dir, 'small');
    mkdirSync(small);
    for (let i = 0; i < DATUMS; i += 1) writeFileSync(join(small, `f${i}`), `${i}\n`);
    writeRandomFile(join(dir, 'model'), SHARED_MIB * MIB);
    const spec = join(dir, 'spec.json');
    const pipeline = {
      pipeline: { name: 'crossed' },
      transform: { cmd: ['sh'], stdin: ['stat -c %s "$model" > /pfs/out/$(basename "$in")'] },
      parallelism_spec: { constant: 8 },
      input: {
        cross: [
          { pfs: { name: 'model', repo: 'model', glob: '/*' } },
          { pfs: { name: 'in', repo: 'small', glob: '/*' } },
        ],
      },
    };
    writeFileSync(spec, JSON.stringify(pipeline));
    await stack.tusk(['create', 'repo', 'model']);
    await stack.tusk(['create', 'repo', 'small']);
    await stack.tusk(['put', 'file', 'model@master:/model', '-f', join(dir, 'model')]);
    await stack.tusk(['put', 'file', 'small@master:/', '-r', '-f', small]);
    const record = JSON.parse(readFileSync(join(stack.dir, 'stack.json'), 'utf8')) as {
      parts: { name: string; pid: number }[];
    };
    const worker = record.parts.find(({ name }) => name === 'worker')?.pid ?? 0;
    const before = bytesRead(worker);
    const start = performance.now();
    await stack.tusk(['create', 'pipeline', '-f', spec]);
    await stack.tusk(['flush', 'job', 'small@master']);
    const seconds = (performance.now() - start) / 1000;
    const { stdout } = await stack.tusk(['list', 'job', '-p', 'crossed']);
    if (!stdout.includes(`${DATUMS} + 0 / ${DATUMS}`)) throw new Error(`not all done:\n${stdout}`);
    const read = bytesRead(worker) - before;
    const times = read / (SHARED_MIB * MIB);
    return [
      {
        what: `${SHARED_MIB} MiB of input shared by ${DATUMS} datums on one host`,
        ours: 'cross of /model and 1,000 files; rchar of the worker in /proc',
        oursValue: `${Math.round(read / MIB)} MiB read in ${seconds.toFixed(1)} s`,
        rival: '',
        rivalValue: '',
        ratio: `${times.toFixed(2)} × the input`,
        limit: '≤ 1.5 × the input',
        ok: times <= 1.5,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
