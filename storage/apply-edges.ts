/** What becomes of a directory's header and footer. */
import { stateConflict } from '../core/errors.js';
import type { Layer } from './apply-file.js';
import { makes } from './apply-ops.js';
import { sameEdges } from './edges.js';
import { EMPTY_DIR } from './node-format.js';
import { keyToPath } from './path.js';
import { contentsIn, OP, type KeyedOp } from './run-format.js';
import type { DirEdges, DirNode, FileContent } from './types.js';

interface EdgesInput {
  readonly key: string;
  /** What is older has no effect. */
  readonly wiped: number;
  /** Directories at the path, by time. */
  readonly layers: readonly Layer<DirNode>[];
  /** Ops at the path that take effect, by time. */
  readonly live: readonly KeyedOp[];
  /** Ops below it, when there are splits. */
  readonly below: readonly KeyedOp[];
  /** What the directory had before the apply. */
  readonly before: DirEdges | undefined;
  readonly ordinal: number;
}

/**
 * Header and footer after everything that happened. A directory has those it was made with, or what
 * later splits with a header put in their place; one that was made without gets none. What is
 * grafted onto it keeps its bytes: layers whose files showed something else are marked `foreign`.
 * `files` of the answer is not counted yet.
 */
export function edgesAfter(input: EdgesInput): {
  readonly edges: DirEdges | undefined;
  readonly layers: readonly Layer<DirNode>[];
} {
  const { layers } = input;
  if (!input.live.some(isEdges) && !layers.some(({ node }) => node.edges)) {
    return { edges: undefined, layers };
  }
  let edges: DirEdges | undefined;
  let exists = false;
  const marked: Layer<DirNode>[] = [];
  for (const event of inOrder(input)) {
    if ('code' in event) {
      // Ops below say only that the directory is there; a header there is not its own.
      if (isEdges(event) && event.key === input.key)
        edges = replaced(input, { edges, exists }, event);
    } else {
      const own = event.node.edges;
      if (!exists) edges = own;
      const foreign = own !== undefined && !sameEdges(own, edges);
      marked.push(foreign ? { ...event, foreign } : event);
    }
    exists = true;
  }
  // The first layer is changed in place: its files must be what they are going to be.
  const [first] = marked;
  if (first?.foreign) marked.unshift({ time: first.time, node: EMPTY_DIR });
  return { edges, layers: marked };
}

function replaced(
  input: EdgesInput,
  dir: { readonly edges: DirEdges | undefined; readonly exists: boolean },
  op: KeyedOp,
): DirEdges {
  if (dir.exists && !dir.edges) {
    throw stateConflict(
      `could not put header/footer in directory at "${keyToPath(input.key)}" as it was not ` +
        'initialized with a header/footer, and headers/footers cannot be added after creation',
    );
  }
  const [header, footer] = contentsIn(op) as [FileContent, FileContent];
  const edges: DirEdges = { header, footer, files: 0, changed: input.ordinal };
  const { before } = input;
  return before && sameEdges(before, edges) ? before : edges;
}

/** Everything that makes the directory or tells its header, by time. */
function inOrder(input: EdgesInput): (Layer<DirNode> | KeyedOp)[] {
  const ops = input.live.filter((op) => op.code !== OP.graft && makes(op));
  // Of what was put below it, only the first tells something: since then the directory is there.
  let first: KeyedOp | undefined;
  for (const op of input.below) {
    if (makes(op) && op.seq >= input.wiped && (!first || op.seq < first.seq)) first = op;
  }
  const events = [...input.layers, ...ops, ...(first ? [first] : [])];
  return events.sort((a, b) => timeOf(a) - timeOf(b));
}

function timeOf(event: Layer<DirNode> | KeyedOp): number {
  return 'code' in event ? event.seq : event.time;
}

function isEdges({ code }: KeyedOp): boolean {
  return code === OP.edges;
}
