/** The storage layer at scale: splits, edits in the middle, a million files, a thousand commits. */
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DiffFileRequest, GlobFileRequest, ListFileRequest } from '../proto/generated/pfs.js';
import { startSwift } from '../test/support/swift.js';
import { clientOf, commitFile } from './lib/client.js';
import { writeManyFiles, writeRandomFile } from './lib/data.js';
import type { Row } from './lib/report.js';
import { best, shell } from './lib/run.js';
import { memoryMiB, openStack, type Stack } from './lib/stack.js';

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const NO_RIVAL = { rival: '', rivalValue: '' };

async function inDir<T>(work: (dir: string) => Promise<T>): Promise<T> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-storage-'));
  try {
    return await work(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** A file of `bytes` in lines of 100 bytes that are all different. */
function writeLines(file: string, bytes: number): void {
  const fd = openSync(file, 'w');
  const tail = 'x'.repeat(100 - 13);
  for (let line = 0, left = bytes; left > 0;) {
    const block: string[] = [];
    for (; block.length < 80_000 && left > 0; left -= 100) {
      block.push(`${String((line += 1)).padStart(12, '0')}${tail}\n`);
    }
    writeSync(fd, block.join(''));
  }
  closeSync(fd);
}

async function storedBytes(stack: Stack): Promise<number> {
  const { stdout } = await shell(`du -sb '${stack.dir}/objects' | cut -f1`);
  return Number(stdout);
}

/** 200,000 lines into 20,000 pieces; 1 GiB of lines into 100,000 pieces against the unsplit put. */
export async function splits(): Promise<Row[]> {
  return inDir(async (dir) => {
    await using stack = await openStack();
    await stack.tusk(['create', 'repo', 'lines']);
    const small = join(dir, 'small');
    writeFileSync(small, Array.from({ length: 200_000 }, (_, i) => `line ${i}\n`).join(''));
    let round = 0;
    const seconds = await best(3, async () => {
      const to = `lines@s${(round += 1)}:/lines`;
      const flags = ['--split', 'line', '--target-file-datums', '10'];
      return (await stack.tusk(['put', 'file', to, '-f', small, ...flags])).seconds;
    });
    const big = join(dir, 'big');
    writeLines(big, GIB);
    await shell('sync');
    const plain = await stack.tusk(['put', 'file', 'lines@plain:/big', '-f', big]);
    await shell('sync');
    const flags = ['--split', 'line', '--target-file-datums', '107'];
    const split = await stack.tusk(['put', 'file', 'lines@split:/big', '-f', big, ...flags]);
    const ratio = plain.seconds / split.seconds;
    return [
      {
        ...NO_RIVAL,
        what: '200,000 lines into 20,000 pieces',
        ours: 'tusk put file lines@master:/lines -f F --split line --target-file-datums 10',
        oursValue: `${seconds.toFixed(2)} s`,
        ratio: `${seconds.toFixed(2)} s`,
        limit: '≤ 1.5 s',
        ok: seconds <= 1.5,
      },
      {
        what: '1 GiB of lines into 100,000 pieces',
        ours: 'tusk put file lines@split:/big -f F --split line --target-file-datums 107',
        oursValue: `${Math.round(1024 / split.seconds)} MiB/s`,
        rival: 'tusk put file lines@plain:/big -f F',
        rivalValue: `${Math.round(1024 / plain.seconds)} MiB/s`,
        ratio: `${ratio.toFixed(2)} of its speed`,
        limit: '≥ 0.5',
        ok: ratio >= 0.5,
      },
    ];
  });
}

/** 1 MiB changed in the middle of 1 GiB, put again: what is stored anew. */
export async function edit(): Promise<Row[]> {
  return inDir(async (dir) => {
    await using stack = await openStack();
    const file = join(dir, 'big');
    writeRandomFile(file, GIB);
    await stack.tusk(['create', 'repo', 'big']);
    await stack.tusk(['put', 'file', 'big@master:/big', '-f', file]);
    const before = await storedBytes(stack);
    const middle = join(dir, 'middle');
    writeRandomFile(middle, MIB, 'middle');
    // One byte more than it replaces: everything behind it moves.
    await shell(
      `{ head -c ${GIB / 2} ${file}; cat ${middle}; echo; tail -c +$((${GIB / 2 + MIB} + 1)) ${file}; } > ${file}.new`,
    );
    await stack.tusk(['put', 'file', 'big@master:/big', '-o', '-f', `${file}.new`]);
    const anew = (await storedBytes(stack)) - before;
    const share = (anew / GIB) * 100;
    return [
      {
        ...NO_RIVAL,
        what: '1 MiB edited in the middle of 1 GiB, put again',
        ours: 'tusk put file big@master:/big -o -f F',
        oursValue: `${(anew / MIB).toFixed(1)} MiB stored anew`,
        ratio: `${share.toFixed(1)} % of its bytes`,
        limit: '≤ 5 %',
        ok: share <= 5,
      },
    ];
  });
}

interface Streamed {
  readonly firstMs: number;
  readonly allMs: number;
  readonly rows: number;
}

async function streamed(rows: AsyncIterable<unknown>): Promise<Streamed> {
  const start = performance.now();
  let firstMs = 0;
  let count = 0;
  for await (const row of rows) {
    if (row !== undefined) count += 1;
    if (count === 1) firstMs = performance.now() - start;
  }
  return { firstMs, allMs: performance.now() - start, rows: count };
}

/** list, glob and diff on a commit of 1,000,000 files. */
export async function million(): Promise<Row[]> {
  return inDir(async (dir) => {
    await using stack = await openStack();
    const lines = join(dir, 'lines');
    writeFileSync(lines, Array.from({ length: 1_000_000 }, (_, i) => `line ${i}\n`).join(''));
    await stack.tusk(['create', 'repo', 'huge']);
    const load = ['put', 'file', 'huge@master:/lines', '-f', lines, '--split', 'line'];
    await stack.tusk([...load, '--target-file-datums', '1']);
    const change = join(dir, 'change');
    writeFileSync(change, 'changed\n');
    const args = Array.from({ length: 10 }, (_, i) => {
      const name = (i * 90_001).toString(16).padStart(16, '0');
      return `cp '${change}' '${dir}/new/${name}'`;
    });
    await shell(`mkdir -p '${dir}/new'; ${args.join('; ')}`);
    await stack.tusk(['put', 'file', 'huge@master:/lines', '-o', '-r', '-f', join(dir, 'new')]);
    const client = clientOf(stack);
    const commit = { repo: { name: 'huge' }, id: 'master' };
    const { pfs } = client;
    const list = () =>
      client.stream(
        pfs.listFileStream,
        ListFileRequest.fromPartial({ file: { commit, path: '/lines' } }),
      );
    const glob = () =>
      client.stream(
        pfs.globFileStream,
        GlobFileRequest.fromPartial({ commit, pattern: '/lines/*' }),
      );
    await streamed(list());
    const before = memoryMiB(stack.coordinatorPid).peak;
    const listed = await streamed(list());
    const globbed = await streamed(glob());
    const grown = memoryMiB(stack.coordinatorPid).peak - before;
    if (listed.rows !== 1_000_000 || globbed.rows !== 1_000_000) {
      throw new Error(`listed ${listed.rows}, globbed ${globbed.rows} of 1,000,000 files`);
    }
    const request = DiffFileRequest.fromPartial({ newFile: { commit, path: '/' } });
    let diffMs = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 5; i += 1) {
      const start = performance.now();
      const { newFiles } = await client.unary(pfs.diffFile, request);
      diffMs = Math.min(diffMs, performance.now() - start);
      const files = newFiles.filter((info) => info.file?.path.startsWith('/lines/'));
      if (files.length !== 10) throw new Error(`the diff shows ${files.length} of 10 changes`);
    }
    const row = (what: string, ours: string, ms: number, limit: number): Row => ({
      ...NO_RIVAL,
      what,
      ours,
      oursValue: `${ms.toFixed(0)} ms`,
      ratio: `${ms.toFixed(0)} ms`,
      limit: `≤ ${limit} ms`,
      ok: ms <= limit,
    });
    return [
      row('first row of a list of 1,000,000 files', 'ListFileStream /lines', listed.firstMs, 100),
      row(
        'first row of a glob of 1,000,000 files',
        'GlobFileStream /lines/*',
        globbed.firstMs,
        100,
      ),
      row('diff of 10 changes in 1,000,000 files', 'DiffFile /', diffMs, 200),
      {
        ...NO_RIVAL,
        what: 'coordinator memory for list and glob of 1,000,000 files',
        ours: 'ListFileStream /lines, GlobFileStream /lines/*',
        oursValue: `${listed.rows / 1000} k rows in ${(listed.allMs / 1000).toFixed(1)} s and ${(globbed.allMs / 1000).toFixed(1)} s`,
        ratio: `peak + ${grown} MiB`,
        limit: '≤ + 64 MiB',
        ok: grown <= 64,
      },
    ];
  });
}

/** 1,000 one-file commits on one branch: the last ones against the first. */
export async function commits(): Promise<Row[]> {
  await using stack = await openStack();
  await stack.tusk(['create', 'repo', 'long']);
  const client = clientOf(stack);
  const put = async (i: number): Promise<number> => {
    const start = performance.now();
    await commitFile(client, 'long', `/f${i}`, `commit ${i}\n`);
    return performance.now() - start;
  };
  const times: number[] = [];
  for (let i = 0; i < 1_000; i += 1) times.push(await put(i));
  const median = (part: number[]): number =>
    part.sort((a, b) => a - b)[Math.floor(part.length / 2)] as number;
  // The very first ones also warm the process up; 21 each, because one commit is a few milliseconds.
  const early = median(times.slice(10, 31));
  const late = median(times.slice(-21));
  const { stdout } = await stack.tusk(['list', 'commit', 'long@master']);
  // A long table repeats its header.
  const rows = stdout.split('\n').filter((line) => line.startsWith('long ')).length;
  if (rows !== 1_000) throw new Error(`${rows} commits instead of 1,000`);
  return [
    {
      what: 'the 1,000th one-file commit',
      ours: 'PutFile /f999',
      oursValue: `${late.toFixed(1)} ms`,
      rival: 'PutFile /f10',
      rivalValue: `${early.toFixed(1)} ms`,
      ratio: `${(late / early).toFixed(2)} × its time`,
      limit: '≤ 1.2',
      ok: late / early <= 1.2,
    },
  ];
}

/** `put file -r` of 100,000 files of 3 KB into S3. */
export async function manyFilesS3(): Promise<Row[]> {
  return inDir(async (dir) => {
    await using s3 = await startSwift();
    const store = `s3://${s3.bucket}/tusk?endpoint=${encodeURIComponent(s3.url)}&region=us-east-1&path-style=true`;
    const env = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey };
    await using stack = await openStack({ s3: store, env });
    const count = 100_000;
    writeManyFiles(dir, count, 3_000);
    await shell('sync');
    await stack.tusk(['create', 'repo', 'many']);
    const put = await stack.tusk(['put', 'file', 'many@master:/', '-r', '-f', dir]);
    const rate = count / put.seconds;
    return [
      {
        ...NO_RIVAL,
        what: 'put 100,000 files of 3 KB into S3',
        ours: 'tusk put file many@master:/ -r -f DIR',
        oursValue: `${put.seconds.toFixed(1)} s`,
        ratio: `${Math.round(rate)} files/s`,
        limit: '≥ 4,000 files/s',
        ok: rate >= 4_000,
      },
    ];
  });
}
