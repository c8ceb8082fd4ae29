import { describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import type { TaskResult } from '../../queue/messages.js';
import {
  readRun,
  refToText,
  runFromText,
  runToText,
  selectionOf,
  Storage,
  writeRun,
  type RunOp,
} from '../../storage/index.js';
import { MemoryStore } from '../../storage/memory-store.js';
import { NO_STATS } from '../pipelines/model.js';
import { gatherRuns, groupSize } from './gather-runs.js';

const wait = { signal: new AbortController().signal };
const DATUMS_PER_TASK = 3;

function open(): Storage {
  return new Storage(new MemoryStore(), { epoch: 1, log: silentLog, clock: systemClock });
}

/** A file of its own per datum, and one that all of them write. */
async function opsOf(storage: Storage, task: number): Promise<RunOp[]> {
  const writer = storage.newWriter(wait);
  const ops: RunOp[] = [];
  for (const seq of seqsOf(task)) {
    const content = await writer.writeBytes(Buffer.from(`datum ${seq}\n`));
    ops.push({ op: 'append', path: `/own/${seq}`, seq, content });
    ops.push({ op: 'append', path: '/all', seq, content });
  }
  await writer.flush(wait);
  return ops;
}

function seqsOf(task: number): number[] {
  return Array.from({ length: DATUMS_PER_TASK }, (_, i) => task * DATUMS_PER_TASK + i);
}

async function resultOf(storage: Storage, task: number): Promise<TaskResult> {
  const run = runToText(await writeRun(storage, await opsOf(storage, task), wait));
  const base = { pipeline: 'p', job: 'j', task, attempt: 0, worker: 'w', details: 'd' };
  return { ...base, run, processed: 3, failed: 0, recovered: 0, stats: NO_STATS };
}

function inlineOf(run: string): Buffer {
  return Buffer.from(run.slice('i:'.length), 'base64');
}

describe('outputs that came with results', () => {
  it('become a run per group of tasks, and the same tree', async () => {
    const storage = open();
    const results = await Promise.all([4, 0, 3, 1, 2].map((task) => resultOf(storage, task)));
    const kept = await gatherRuns(storage, results, { ...wait, group: 2 });
    expect(kept.map(({ task }) => task).sort()).toEqual([0, 1, 2, 3, 4]);
    const runOf = (task: number): string => kept.find((one) => one.task === task)?.run ?? '';
    expect(runOf(0)).toBe(runOf(1));
    expect(runOf(2)).toBe(runOf(3));
    expect(new Set(kept.map(({ run }) => run)).size).toBe(3);
    expect(kept.every(({ run }) => run?.startsWith('run/'))).toBe(true);

    const joined: RunOp[] = [];
    for await (const op of readRun(storage, runFromText(runOf(1)), wait)) joined.push(op);
    const names = joined.map(({ path, seq }) => `${path} ${seq}`);
    const all = Array.from({ length: 6 }, (_, seq) => `/all ${seq}`);
    const own = Array.from({ length: 6 }, (_, seq) => `/own/${seq} ${seq}`);
    expect(names).toEqual([...all, ...own]);

    const merge = { ...wait, ordinal: 1, mode: 'merge' } as const;
    const runs = results.map(({ run }) => runFromText(run ?? ''));
    const apart = await storage.trees.apply(undefined, runs, merge);
    const groups = [...new Set(kept.map(({ run }) => run ?? ''))].map(runFromText);
    const together = await storage.trees.apply(undefined, groups, merge);
    expect(together).toEqual(apart);

    // What one task wrote can still be told from what the others did.
    const select = selectionOf(seqsOf(1).map((seq) => [seq, seq]));
    const some = { run: runFromText(runOf(1)), select };
    const one = await storage.trees.apply(undefined, [some], merge);
    const [, second] = await Promise.all([0, 1].map((task) => resultOf(storage, task)));
    const alone = await storage.trees.apply(undefined, [runFromText(second?.run ?? '')], merge);
    expect(one).toEqual(alone);
  });

  it('are runs by themselves where a task wrote more than a little', async () => {
    const storage = open();
    const small = await Promise.all([0, 2, 3].map((task) => resultOf(storage, task)));
    const writer = storage.newWriter(wait);
    const content = await writer.writeBytes(Buffer.alloc(70_000));
    await writer.flush(wait);
    const large = runToText(
      await writeRun(storage, [{ op: 'append', path: '/large', seq: 3, content }], wait),
    );
    const results = [...small, { ...(await resultOf(storage, 1)), run: large }];
    const kept = await gatherRuns(storage, results, { ...wait, group: 64 });
    const runOf = (task: number): string => kept.find((one) => one.task === task)?.run ?? '';
    expect([runOf(2), runOf(3)]).toEqual([runOf(0), runOf(0)]);
    expect(runOf(1)).toBe(refToText(await storage.putObject('run', inlineOf(large), wait)));
  });

  it('leave results alone that have none, or have them stored', async () => {
    const storage = open();
    const { run: _, ...empty } = await resultOf(storage, 0);
    const stored = { ...(await resultOf(storage, 1)), run: `run/1/${'ab'.repeat(32)}/9` };
    expect(await gatherRuns(storage, [empty, stored], { ...wait, group: 64 })).toEqual([]);
  });

  it('are as many runs at most as can be merged at once', () => {
    expect(groupSize(1)).toBe(64);
    expect(groupSize(31_250)).toBe(64);
    expect(groupSize(320_000)).toBe(625);
  });
});
