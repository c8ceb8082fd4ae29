/** Several small runs as one object. */
import { encodeRun, type GlobDelete, type KeyedOp } from './run-format.js';
import { mergeStreams } from './run-merge.js';
import { openRun } from './run-reader.js';
import type { RunRef, TreeStorage } from './tree-types.js';
import type { ObjectRef, Wait } from './types.js';

const PUTS_AT_ONCE = 8;

/**
 * Where each of the runs is stored then: those that name less than `bytesMax` bytes of files are
 * joined to one, which has the changes of all; the others are objects by themselves. What one of the
 * joined needs is kept for as long as somebody needs another one, hence the bound.
 *
 * All of it is in memory at once. No two runs may have ops of one seq, except about different paths:
 * who wrote what is told by seq alone.
 */
export async function joinRuns(
  storage: TreeStorage,
  runs: readonly RunRef[],
  { bytesMax, ...wait }: Wait & { readonly bytesMax: number },
): Promise<ObjectRef[]> {
  const opened: Changes[] = [];
  for (const run of runs) opened.push(await read(storage, run, wait));
  const small = opened.filter(({ bytes }) => bytes <= bytesMax);
  let joined: ObjectRef | undefined;
  if (small.length > 1) {
    const ops = small.flatMap((one) => one.ops).sort(inOrder);
    const globs = small.flatMap((one) => one.globs);
    joined = await storage.putObject('run', encodeRun(ops, globs), wait);
  }
  const stored: ObjectRef[] = [];
  for (let from = 0; from < runs.length; from += PUTS_AT_ONCE) {
    const some = runs.slice(from, from + PUTS_AT_ONCE).map(async (run, at): Promise<ObjectRef> => {
      const isJoined = (opened[from + at] as Changes).bytes <= bytesMax;
      if (joined && isJoined) return joined;
      return 'object' in run ? run.object : storage.putObject('run', run.inline, wait);
    });
    stored.push(...(await Promise.all(some)));
  }
  return stored;
}

interface Changes {
  readonly ops: readonly KeyedOp[];
  readonly globs: readonly GlobDelete[];
  /** Of the files it names. */
  readonly bytes: number;
}

async function read(storage: TreeStorage, run: RunRef, wait: Wait): Promise<Changes> {
  const { readers, globs } = await openRun(storage, run, wait);
  const ops: KeyedOp[] = [];
  let bytes = 0;
  const merged = await mergeStreams(readers);
  while (merged.head) {
    ops.push(merged.head);
    bytes += bytesOf(merged.head);
    const waiting = merged.advance();
    if (waiting) await waiting;
  }
  return { ops, globs, bytes };
}

function bytesOf({ content, node, files }: KeyedOp): number {
  let bytes = (content?.size ?? 0) + (node?.size ?? 0);
  for (const file of files?.read() ?? []) bytes += file.size;
  return bytes;
}

/** Stable: ops of one key and seq are those of one run, and stay as they are. */
function inOrder(a: KeyedOp, b: KeyedOp): number {
  if (a.key === b.key) return a.seq - b.seq;
  return a.key < b.key ? -1 : 1;
}
