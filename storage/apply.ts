/**
 * Applies runs of changes to a tree. The runs are merged by path (apply-ops.ts), each path is decided
 * by what happened to it in order of time (apply-child.ts), directories are edited as sorted maps
 * (apply-dir.ts). Cost follows the changes, memory is bounded by depth and fan-out.
 */
import { invalidInput } from '../core/errors.js';
import { childController } from '../core/signals.js';
import { decideChild } from './apply-child.js';
import { ApplyContext } from './apply-context.js';
import type { Layer } from './apply-file.js';
import { BASE_TIME, openOps } from './apply-ops.js';
import { EMPTY_DIR } from './node-format.js';
import type { PageStore } from './page-store.js';
import type { KeyedOp } from './run-format.js';
import type { ApplyOptions, RunInput } from './tree-types.js';
import type { DirNode, TreeNode } from './types.js';

/** The tree after the changes; every object of it is stored when this returns. */
export async function applyRuns(
  store: PageStore<TreeNode>,
  base: DirNode | undefined,
  runs: readonly RunInput[],
  options: ApplyOptions,
): Promise<DirNode> {
  using control = childController(options.signal);
  const inner = { ...options, signal: control.signal };
  const context = new ApplyContext(store, inner, base !== undefined && !options.fresh);
  try {
    const root = await applyAll(context, base, runs);
    await context.sink.settle();
    return root;
  } catch (error) {
    control.abort(error);
    throw options.signal.aborted ? options.signal.reason : error;
  } finally {
    await context.idle();
  }
}

async function applyAll(
  context: ApplyContext,
  base: DirNode | undefined,
  runs: readonly RunInput[],
): Promise<DirNode> {
  const { ops, globs } = await openOps(context.store.storage, runs, context.options);
  const exact: KeyedOp[] = [];
  while (ops.head?.key === '') {
    exact.push(ops.head);
    const waiting = ops.advance();
    if (waiting) await waiting;
  }
  const layers: Layer[] = [];
  if (base && !context.options.fresh) layers.push({ time: BASE_TIME, node: base });
  const input = { key: '', exact, layers, before: base, wiped: BASE_TIME, globs };
  const { node } = await decideChild(context, input, ops);
  if (node?.type === 'file') throw invalidInput('the root of a commit can not be a file');
  return asRoot(context, node ?? EMPTY_DIR);
}

/** A commit's root is an object of its own, so that the record that names it stays small. */
function asRoot(context: ApplyContext, dir: DirNode): DirNode {
  if (!('inline' in dir.root) || dir.hash.equals(EMPTY_DIR.hash)) return dir;
  return { ...dir, root: { page: context.sink.put(dir.root.inline) } };
}
