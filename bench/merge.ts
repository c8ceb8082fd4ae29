/** The coordinator's memory over the whole life of a job with a million datums, and of the next one. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { QUICK_MEMORY_BYTES, startQuickWorker } from './lib/quick-worker.js';
import type { Row } from './lib/report.js';
import { memoryMiB, openStack, type Stack } from './lib/stack.js';

const DATUMS = 1_000_000;
const SLOTS = 20;
const LIMIT_MIB = 1024;

/**
 * A million datums on a worker that needs no processes for them, then one more file. The limit is
 * about all threads together, from the upload of the input to the end of the second job.
 */
export async function mergeMillion(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-merge-'));
  try {
    await using stack = await openStack({ workers: 1 });
    const lines = join(dir, 'lines');
    writeFileSync(lines, Array.from({ length: DATUMS }, (_, i) => `datum ${i}\n`).join(''));
    await stack.tusk(['create', 'repo', 'data']);
    const load = ['put', 'file', 'data@master:/lines', '-f', lines, '--split', 'line'];
    await stack.tusk([...load, '--target-file-datums', '1']);
    const spec = join(dir, 'spec.json');
    writeFileSync(spec, JSON.stringify(SPEC));
    await using _worker = await startQuickWorker(`127.0.0.1:${stack.port}`, SLOTS);
    await stack.tusk(['create', 'pipeline', '-f', spec]);
    await stack.tusk(['flush', 'commit', 'data@master']);
    const first = memoryMiB(stack.coordinatorPid).peak;
    const one = join(dir, 'one');
    writeFileSync(one, 'one\n');
    await stack.tusk(['put', 'file', 'data@master:/lines/new', '-f', one]);
    await stack.tusk(['flush', 'commit', 'data@master']);
    await check(stack);
    const { peak } = memoryMiB(stack.coordinatorPid);
    return [
      {
        what: 'coordinator memory over a job of 1,000,000 datums and the next one',
        ours: 'tusk create pipeline && tusk flush commit data@master, then one more file',
        oursValue: `${first} MiB, then ${peak} MiB`,
        ...{ rival: '', rivalValue: '', ratio: `${peak} MiB` },
        limit: `≤ ${LIMIT_MIB} MiB`,
        ok: peak <= LIMIT_MIB,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const SPEC = {
  pipeline: { name: 'many' },
  transform: { cmd: ['true'] },
  parallelism_spec: { constant: SLOTS },
  resource_requests: { memory: String(QUICK_MEMORY_BYTES) },
  input: { pfs: { name: 'in', repo: 'data', glob: '/lines/*' } },
};

/** The second job ran one datum, and the output has a file for each. */
async function check(stack: Stack): Promise<void> {
  const { stdout: jobs } = await stack.tusk(['list', 'job']);
  if (!jobs.includes(`1 + ${DATUMS} / ${DATUMS + 1}`)) throw new Error(`wrong jobs:\n${jobs}`);
  const diff = await stack.tusk(['glob', 'file', 'many@master:/new', '--raw']);
  if (!diff.stdout.includes('/new')) throw new Error(`no /new in the output:\n${diff.stdout}`);
}
