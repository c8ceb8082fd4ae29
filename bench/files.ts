/** Many files: ingest rate, objects written, memory; and a small commit onto a big repo. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeManyFiles } from './lib/data.js';
import type { Row } from './lib/report.js';
import { shell } from './lib/run.js';
import { memoryMiB, openStack, type Stack } from './lib/stack.js';

/** Objects of every kind: packs, chunks, pages, runs. */
async function objectsIn(stack: Stack): Promise<number> {
  const { stdout } = await shell(`find '${stack.dir}/objects' -type f | wc -l`);
  return Number(stdout);
}

/** `put file -r` of 100,000 files of 3 KB into a directory store. */
export async function manyFiles(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-many-'));
  await using stack = await openStack();
  try {
    const count = 100_000;
    writeManyFiles(dir, count, 3_000);
    await shell('sync');
    await stack.tusk(['create', 'repo', 'many']);
    const before = await objectsIn(stack);
    const put = await stack.tusk(['put', 'file', 'many@master:/', '-r', '-f', dir]);
    const objects = (await objectsIn(stack)) - before;
    const memory = memoryMiB(stack.coordinatorPid);
    const { stdout } = await stack.tusk(['list', 'file', 'many@master:/d0042']);
    if (
      stdout
        .trim()
        .split('\n')
        .filter((line) => line.includes('/d0042/')).length !== 1000
    ) {
      throw new Error('the listing after the put is wrong');
    }
    const rate = count / put.seconds;
    const per = count / Math.max(1, objects);
    const ours = 'tusk put file many@master:/ -r -f DIR';
    const common = { ours, rival: '', rivalValue: '' };
    return [
      {
        ...common,
        what: 'put 100,000 files of 3 KB',
        oursValue: `${put.seconds.toFixed(1)} s`,
        ratio: `${Math.round(rate)} files/s`,
        limit: '≥ 8,000 files/s',
        ok: rate >= 8_000,
      },
      {
        ...common,
        what: 'objects written for 100,000 files',
        oursValue: `${objects} objects`,
        ratio: `1 per ${Math.round(per)} files`,
        limit: '≤ 1 per 200 files',
        ok: per >= 200,
      },
      {
        ...common,
        what: 'coordinator memory for 100,000 files',
        oursValue: `${memory.now} MiB, peak ${memory.peak} MiB`,
        ratio: `${memory.peak} MiB`,
        limit: '< 512 MiB',
        ok: memory.peak < 512,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** One file committed onto 1,000,000 files, against the same onto nothing. */
export async function smallCommit(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-small-'));
  await using stack = await openStack();
  try {
    const lines = join(dir, 'lines');
    writeFileSync(lines, Array.from({ length: 1_000_000 }, (_, i) => `line ${i}\n`).join(''));
    await stack.tusk(['create', 'repo', 'huge']);
    await stack.tusk(['create', 'repo', 'empty']);
    const load = ['put', 'file', 'huge@master:/lines', '-f', lines, '--split', 'line'];
    await stack.tusk([...load, '--target-file-datums', '1']);
    const one = join(dir, 'one');
    const time = async (repo: string): Promise<number> => {
      let sum: number[] = [];
      for (let i = 0; i < 9; i += 1) {
        writeFileSync(one, `${repo} ${i}\n`);
        const put = await stack.tusk(['put', 'file', `${repo}@master:/lines/n${i}`, '-f', one]);
        sum.push(put.seconds);
      }
      sum = sum.sort((a, b) => a - b);
      return sum[4] as number;
    };
    await time('empty');
    const huge = await time('huge');
    const empty = await time('empty');
    return [
      {
        what: 'one-file commit onto 1,000,000 files',
        ours: 'tusk put file huge@master:/lines/n1 -f one',
        oursValue: `${(huge * 1000).toFixed(0)} ms`,
        rival: 'tusk put file empty@master:/lines/n1 -f one',
        rivalValue: `${(empty * 1000).toFixed(0)} ms`,
        ratio: `${(huge / empty).toFixed(2)} × its time`,
        limit: '≤ 1.5',
        ok: huge / empty <= 1.5,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
