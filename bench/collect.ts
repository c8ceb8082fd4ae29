/** Garbage collection: what interleavings lose and leave, and a collection over a million files. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GcWorld } from '../test/support/sim/gc-world.js';
import { writeRandomFile } from './lib/data.js';
import type { Row } from './lib/report.js';
import { memoryMiB, openStack, type Stack } from './lib/stack.js';

const MIB = 2 ** 20;
const NO_RIVAL = { rival: '', rivalValue: '' };
/** `.ci/run` tries 10,000 of them, in two processes. */
const INTERLEAVINGS = 1_000;
const OPERATIONS = 14;
const FILES = 1_000_000;
const DEAD_MIB = 256;

/**
 * Puts, copies, deletions, jobs and collections in many orders. Throws when a seed loses something:
 * the error names it.
 */
export async function interleavings(): Promise<Row[]> {
  let [dead, freed, collected] = [0, 0, 0];
  for (let seed = 1; seed <= INTERLEAVINGS; seed += 1) {
    const ended = await new GcWorld(seed).live(OPERATIONS);
    dead += ended.deadBytes;
    freed += ended.freedBytes;
    collected += ended.collections;
  }
  const share = freed / dead;
  return [
    {
      ...NO_RIVAL,
      what: `garbage collection beside uploads and jobs, ${INTERLEAVINGS} random interleavings`,
      ours: 'simulation over the real transactions, marks and sweeps (test/support/sim)',
      oursValue: `nothing lost in ${collected} collections`,
      ratio: `${(share * 100).toFixed(2)} % of dead bytes freed`,
      limit: 'nothing lost, ≥ 99.9 %',
      ok: share >= 0.999,
    },
  ];
}

/** A collection over a million files on real servers. */
export async function collectMillion(): Promise<Row[]> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-gc-'));
  try {
    await using stack = await openStack();
    const lines = join(dir, 'lines');
    writeFileSync(lines, Array.from({ length: FILES }, (_, i) => `line ${i}\n`).join(''));
    await stack.tusk(['create', 'repo', 'huge']);
    const load = ['put', 'file', 'huge@master:/lines', '-f', lines, '--split', 'line'];
    await stack.tusk([...load, '--target-file-datums', '1']);
    await stack.tusk(['garbage-collect']);
    const dead = join(dir, 'dead');
    writeRandomFile(dead, DEAD_MIB * MIB);
    await stack.tusk(['put', 'file', 'huge@master:/dead', '-f', dead]);
    await stack.tusk(['delete', 'commit', 'huge@master']);
    const before = memoryMiB(stack.coordinatorPid);
    const { freed, seconds } = await collect(stack);
    const grown = memoryMiB(stack.coordinatorPid).peak - before.now;
    const { stdout } = await stack.tusk(['fsck']);
    if (!stdout.includes('No errors found')) throw new Error(stdout);
    const share = freed / (DEAD_MIB * MIB);
    const row = { ...NO_RIVAL, ours: 'tusk garbage-collect' };
    return [
      {
        ...row,
        what: `${DEAD_MIB} MiB of garbage beside ${FILES} files`,
        oursValue: `${seconds.toFixed(1)} s`,
        ratio: `${(share * 100).toFixed(1)} % freed`,
        limit: '≥ 99.9 %',
        ok: share >= 0.999,
      },
      {
        ...row,
        what: `memory of that collection`,
        oursValue: `${Math.round(grown)} MiB more than before`,
        ratio: `${Math.round(grown)} MiB`,
        limit: '≤ 300 MiB',
        ok: grown <= 300,
      },
    ];
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

async function collect(stack: Stack): Promise<{ freed: number; seconds: number }> {
  const { stdout, seconds } = await stack.tusk(['garbage-collect', '--raw']);
  return { freed: (JSON.parse(stdout) as { freed_bytes: number }).freed_bytes, seconds };
}
