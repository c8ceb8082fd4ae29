/** Several small runs as one object. */
import { encodeRun, type GlobDelete, type KeyedOp } from './run-format.js';
import { mergeStreams } from './run-merge.js';
import { openRun, type RunReader } from './run-reader.js';
import type { RunRef, TreeStorage } from './tree-types.js';
import type { ObjectRef, Wait } from './types.js';

/**
 * One run with the changes of all, stored on return. All of them are in memory at once. No two may
 * have ops of the same seq, except about different paths: who wrote what is told by seq alone.
 */
export async function joinRuns(
  storage: TreeStorage,
  runs: readonly RunRef[],
  wait: Wait,
): Promise<ObjectRef> {
  const [only] = runs;
  if (only && runs.length === 1) {
    return 'object' in only ? only.object : storage.putObject('run', only.inline, wait);
  }
  const globs: GlobDelete[] = [];
  const readers: RunReader[] = [];
  for (const run of runs) {
    const opened = await openRun(storage, run, wait);
    globs.push(...opened.globs);
    readers.push(...opened.readers);
  }
  const ops: KeyedOp[] = [];
  const merged = await mergeStreams(readers);
  while (merged.head) {
    ops.push(merged.head);
    const waiting = merged.advance();
    if (waiting) await waiting;
  }
  return storage.putObject('run', encodeRun(ops, globs), wait);
}
