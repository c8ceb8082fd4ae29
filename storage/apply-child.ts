/**
 * One path of an apply: what is there after all that happened to it and below it.
 *
 * C1 A delete, a `set` or a matching glob at time t takes away everything at the path and below that
 *    is older than t. Nothing else changes the type of what is there, so after the latest of them
 *    files and directories can not mix: that is a conflict.
 * C2 The parents that an op made stay, also when the op's own effect was taken away again.
 */
import { stateConflict } from '../core/errors.js';
import type { ApplyContext } from './apply-context.js';
import { globsBelow, makeDir } from './apply-dir.js';
import { edgesAfter } from './apply-edges.js';
import { sharedEntry, subtractFiles, type Layer } from './apply-file.js';
import { isSubtracted, makes, type OpQueue, type TimedGlob } from './apply-ops.js';
import { expandSplits } from './apply-split.js';
import { dirHash, edgeBytes, withFloor } from './edges.js';
import { EMPTY_DIR } from './node-format.js';
import { KEY_SEPARATOR, keyToPath } from './path.js';
import { OP, type KeyedOp } from './run-format.js';
import type { DirEdges, DirNode, FileNode, TreeNode } from './types.js';

export interface ChildInput {
  readonly key: string;
  /** Ops at the path itself, by time. */
  readonly exact: readonly KeyedOp[];
  /** What the layers of the parent have here, by time. */
  readonly layers: readonly Layer[];
  readonly before: TreeNode | undefined;
  /** What is older was taken away with a parent. */
  readonly wiped: number;
  readonly globs: readonly TimedGlob[];
}

/** Result for a path; `made` and `pruned` as in MadeDir, the path itself included. */
export interface Outcome {
  readonly node: TreeNode | undefined;
  readonly made: number;
  readonly pruned: number;
}

interface Decision {
  readonly input: ChildInput;
  /** What is older has no effect at the path and below. */
  readonly wiped: number;
  /** Layers and ops that have an effect. */
  readonly layers: readonly Layer[];
  readonly live: readonly KeyedOp[];
  readonly made: number;
  readonly pruned: number;
}

/** Decides a path and takes the ops below it from the queue. */
export function decideChild(
  context: ApplyContext,
  input: ChildInput,
  ops: OpQueue,
): Outcome | Promise<Outcome> {
  const decision = weigh(context, input);
  const { made, pruned } = decision;
  const deep = ops.head?.key.startsWith(input.key + KEY_SEPARATOR) ?? false;
  const kind = firstKind(decision);
  if (kind === 'dir' || (kind === undefined && deep)) return directory(context, decision, ops);
  if (kind === undefined) return { node: undefined, made, pruned };
  if (deep) return fileAbove(context, decision, ops);
  return file(context, decision);
}

/** Sorts out what has an effect (C1). */
function weigh(context: ApplyContext, input: ChildInput): Decision {
  const { exact, globs, key } = input;
  const { mode } = context.options;
  let wiped = input.wiped;
  let made = -Infinity;
  let pruned = -Infinity;
  let subtracts = false;
  for (const op of exact) {
    if (isSubtracted(op, mode)) {
      subtracts = true;
      pruned = Math.max(pruned, op.seq);
      continue;
    }
    if (makes(op)) made = Math.max(made, op.seq);
    if (op.code === OP.prune) pruned = Math.max(pruned, op.seq);
    // The seqs of one datum are equal: there a `set` replaces only what that datum wrote.
    const replaces = op.code === OP.set && mode === 'put';
    if (op.code === OP.delete || op.code === OP.prune || replaces) wiped = Math.max(wiped, op.seq);
  }
  if (globs.length > 0) {
    const path = keyToPath(key);
    for (const { time, glob } of globs) if (time > wiped && glob.match(path)) wiped = time;
  }
  const there = subtracts ? subtractFiles(key, input.layers, exact) : input.layers;
  const simple = wiped === input.wiped && !subtracts;
  return {
    input,
    wiped,
    layers: simple && wiped < 0 ? there : there.filter(({ time }) => time >= wiped),
    live: exact.filter(
      (op) =>
        op.seq >= wiped &&
        op.code !== OP.delete &&
        op.code !== OP.prune &&
        !(subtracts && isSubtracted(op, mode)),
    ),
    made,
    pruned,
  };
}

type Kind = 'file' | 'dir';

function kindOf(op: KeyedOp): Kind | undefined {
  switch (op.code) {
    case OP.set:
    case OP.append:
    case OP.appendInheriting:
      return 'file';
    case OP.mkdir:
    case OP.edges:
    case OP.split:
    case OP.splitInheriting:
      return 'dir';
    case OP.graft:
      return op.node?.type;
    case OP.delete:
    case OP.prune:
    case OP.truncate:
      return undefined;
  }
}

/** What the earliest event makes of the path. */
function firstKind({ layers, live }: Decision): Kind | undefined {
  const [layer] = layers;
  const op = live.find((each) => kindOf(each) !== undefined);
  if (layer && (!op || layer.time <= op.seq)) return layer.node.type;
  return op && kindOf(op);
}

function file(context: ApplyContext, decision: Decision): Outcome | Promise<Outcome> {
  const { input, layers, live, made, pruned } = decision;
  const { key, before } = input;
  const misfit = live.find((op) => kindOf(op) === 'dir');
  if (misfit) throw dirOverFile(context, key, misfit);
  if (layers.some(({ node }) => node.type === 'dir')) throw mixed(context, key);
  const files = layers as readonly Layer<FileNode>[];
  const node = context.files.make({ key, layers: files, ops: live, before });
  if (node instanceof Promise) return node.then((done) => ({ node: done, made, pruned }));
  return { node, made, pruned };
}

/** A file with ops below it: a conflict, unless a later delete took their effect away. */
async function fileAbove(
  context: ApplyContext,
  decision: Decision,
  ops: OpQueue,
): Promise<Outcome> {
  const prefix = decision.input.key + KEY_SEPARATOR;
  let { made, pruned } = decision;
  const below = new EffectBelow(decision);
  const check = (op: KeyedOp | undefined): void => {
    if (op) throw belowFile(context, decision, op);
  };
  for (let op = ops.head; op?.key.startsWith(prefix); op = ops.head) {
    if (isSubtracted(op, context.options.mode)) throw sharedEntry(op.key);
    check(below.add(op));
    if (makes(op)) made = Math.max(made, op.seq);
    if (op.code === OP.prune) pruned = Math.max(pruned, op.seq);
    const waiting = ops.advance();
    if (waiting) await waiting;
  }
  check(below.end());
  const outcome = await file(context, decision);
  return { node: outcome.node, made, pruned };
}

/** Finds, among ops in tree order, one that still has an effect after all deletes. */
class EffectBelow {
  readonly #decision: Decision;
  /** Deletes at the present path and its parents, outermost first. */
  readonly #wipes: { readonly key: string; readonly time: number }[] = [];
  /** Ops of the present path, by time. */
  #group: KeyedOp[] = [];

  constructor(decision: Decision) {
    this.#decision = decision;
  }

  /** Takes the next op; answers one of the path before that has an effect. */
  add(op: KeyedOp): KeyedOp | undefined {
    const found = this.#group[0]?.key === op.key ? undefined : this.end();
    this.#group.push(op);
    return found;
  }

  end(): KeyedOp | undefined {
    const group = this.#group;
    const [first] = group;
    if (!first) return undefined;
    this.#group = [];
    for (let top = this.#wipes.at(-1); top; top = this.#wipes.at(-1)) {
      if (first.key.startsWith(top.key + KEY_SEPARATOR)) break;
      this.#wipes.pop();
    }
    let time = this.#wipes.at(-1)?.time ?? this.#decision.wiped;
    for (const { code, seq } of group) {
      if (code === OP.delete || code === OP.prune) time = Math.max(time, seq);
    }
    const { globs } = this.#decision.input;
    const path = globs.length > 0 ? keyToPath(first.key) : '';
    for (const glob of globs) if (glob.time > time && glob.glob.match(path)) time = glob.time;
    this.#wipes.push({ key: first.key, time });
    return group.find((op) => makes(op) && op.seq >= time);
  }
}

function belowFile(context: ApplyContext, decision: Decision, op: KeyedOp): Error {
  const { key } = decision.input;
  if (context.options.mode === 'merge') return mixed(context, key);
  const { layers, live } = decision;
  const since = Math.min(layers[0]?.time ?? Infinity, live[0]?.seq ?? Infinity);
  if (op.seq < since) return fileOverDir(key);
  const end = op.key.indexOf(KEY_SEPARATOR, key.length + 1);
  return notDirectory(op.key.slice(0, end < 0 ? undefined : end));
}

async function directory(
  context: ApplyContext,
  decision: Decision,
  ops: OpQueue,
): Promise<Outcome> {
  const { input, live, wiped } = decision;
  const { key } = input;
  const misfit = live.find((op) => kindOf(op) === 'file');
  if (misfit || decision.layers.some(({ node }) => node.type === 'file')) {
    throw context.options.mode === 'merge' ? mixed(context, key) : fileOverDir(key);
  }
  const grafted = dirLayers(context, decision);
  const splits = live.filter(isSplit);
  const mkdir = live.some((op) => op.code === OP.mkdir);
  const globs = globsBelow(input.globs, key);
  const deep = ops.head?.key.startsWith(key + KEY_SEPARATOR) ?? false;
  if (!deep && splits.length === 0 && globs.length === 0 && grafted.length < 2) {
    return adopt(context, decision, grafted[0], mkdir);
  }
  const before = input.before?.type === 'dir' ? input.before : undefined;
  // Names of splits, and whether a header may come, depend on everything below.
  const whole = splits.length > 0 || grafted.some(({ time, node }) => time >= 0 && node.edges);
  const inside = whole ? ((await ops.takeGroup(key + KEY_SEPARATOR, Infinity)) ?? []) : [];
  const { ordinal } = context.options;
  const changes = { key, wiped, live, below: inside, ordinal };
  const { edges, layers } = edgesAfter({ ...changes, layers: grafted, before: before?.edges });
  const frame = { key, wiped, layers, before, globs };
  const below = whole ? await withSplits(context, frame, splits, inside) : ops;
  const done = await makeDir(context, frame, below);
  const made = Math.max(decision.made, done.made);
  const pruned = Math.max(decision.pruned, done.pruned);
  const exists = grafted.length > 0 || mkdir || made >= wiped;
  const explicit = isExplicit(context, grafted, mkdir);
  const since = Math.max(made, ...layers.map(({ time }) => time));
  const emptied = done.built.entries === 0 && pruned > since && !explicit;
  if (!exists || emptied) return { node: undefined, made, pruned };
  const own = edges && { ...edges, files: done.inheriting };
  const { built } = done;
  const node = await dirNode(context, { built, edges: own, layers, before, explicit, key });
  return { node, made, pruned };
}

function isSplit({ code }: KeyedOp): boolean {
  return code === OP.split || code === OP.splitInheriting || code === OP.edges;
}

async function withSplits(
  context: ApplyContext,
  frame: Parameters<typeof makeDir>[1],
  ops: readonly KeyedOp[],
  below: readonly KeyedOp[],
): Promise<OpQueue> {
  const splits = ops.filter(({ code }) => code !== OP.edges);
  const { store, options: wait } = context;
  const open = async (dir: DirNode): Promise<Awaited<ReturnType<ApplyContext['page']>>> =>
    context.page(dir);
  return expandSplits({ ...frame, store, wait, open, splits, below });
}

/** Directories at the path, by time: what was there, and what was grafted. */
function dirLayers(context: ApplyContext, decision: Decision): Layer<DirNode>[] {
  const layers = decision.layers.slice() as Layer<DirNode>[];
  const { ordinal } = context.options;
  let grafts = false;
  for (const { code, node, seq } of decision.live) {
    if (code !== OP.graft || node?.type !== 'dir') continue;
    grafts = true;
    layers.push({ time: seq, node: withFloor(node, ordinal) as DirNode });
  }
  return grafts ? layers.sort((a, b) => a.time - b.time) : layers;
}

/** A directory that is one thing only: taken as it is. */
async function adopt(
  context: ApplyContext,
  decision: Decision,
  layer: Layer<DirNode> | undefined,
  mkdir: boolean,
): Promise<Outcome> {
  const { input, made, pruned } = decision;
  const { before } = input;
  const { ordinal, mode } = context.options;
  const explicit = mkdir && mode === 'merge';
  if (!layer) {
    const empty = before?.type === 'dir' && before.hash.equals(EMPTY_DIR.hash) ? before : EMPTY_DIR;
    const changed = empty === before ? empty.changed : ordinal;
    const node: DirNode = { ...empty, changed };
    return { node: explicit ? { ...node, explicit } : node, made, pruned };
  }
  let { node } = layer;
  if (layer.time >= 0) {
    const same = before?.type === 'dir' && before.hash.equals(node.hash);
    node = same && mode === 'put' ? before : await context.asEntry(node);
    if (same) node = { ...node, changed: before.changed };
  }
  return { node: explicit && !node.explicit ? { ...node, explicit } : node, made, pruned };
}

/**
 * In job outputs: somebody made this directory for itself, or it was empty when it came, so it must
 * stay when the files that others put into it go.
 */
function isExplicit(
  context: ApplyContext,
  layers: readonly Layer<DirNode>[],
  mkdir: boolean,
): boolean {
  if (context.options.mode !== 'merge') return false;
  return mkdir || layers.some(({ node }) => node.explicit || node.hash.equals(EMPTY_DIR.hash));
}

async function dirNode(
  context: ApplyContext,
  dir: {
    readonly built: Parameters<ApplyContext['place']>[0];
    readonly layers: readonly Layer<DirNode>[];
    readonly before: DirNode | undefined;
    readonly explicit: boolean;
    readonly key: string;
    readonly edges: DirEdges | undefined;
  },
): Promise<DirNode> {
  const { built, layers, before, explicit, key, edges } = dir;
  const hash = dirHash(built.digest, edges);
  const same = before?.hash.equals(hash) ?? false;
  if (before && same && before === layers[0]?.node && context.options.mode === 'put') return before;
  const { floor } = layers[0]?.node ?? {};
  return {
    type: 'dir',
    size: built.a + edgeBytes(edges),
    files: built.b,
    hash,
    root: await context.place(built, key === ''),
    changed: before && same ? before.changed : context.options.ordinal,
    ...(floor === undefined ? undefined : { floor }),
    ...(explicit ? { explicit } : undefined),
    ...(edges ? { edges } : undefined),
  };
}

function fileOverDir(key: string): Error {
  return stateConflict(
    `could not put file at "${keyToPath(key)}"; a file of type directory is already there`,
  );
}

function notDirectory(key: string): Error {
  return stateConflict(`attempted to visit "${keyToPath(key)}", but it's not a directory`);
}

function dirOverFile(context: ApplyContext, key: string, op: KeyedOp): Error {
  if (context.options.mode === 'merge') return mixed(context, key);
  if (!isSplit(op)) return notDirectory(key);
  return stateConflict(`the file at "${keyToPath(key)}" is not a directory`);
}

function mixed(context: ApplyContext, key: string): Error {
  // Over a base the order of datums is not known: only a full merge tells what really happens.
  if (context.hasBase) return sharedEntry(key);
  return stateConflict(
    `could not merge path "${keyToPath(key)}" which is a different type in different hashtrees`,
  );
}
