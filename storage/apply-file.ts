/** What becomes of a file: its parts in order of time, concatenated in canonical form. */
import { stateConflict } from '../core/errors.js';
import { isSubtracted, writerOf } from './apply-ops.js';
import { CanonicalBatch } from './canonical-batch.js';
import { contentOf, EMPTY_CONTENT } from './content.js';
import { decodePieceList, encodePieceList } from './content-format.js';
import { INLINE_PIECES_MAX } from './page-boundary.js';
import type { PageSink } from './page-store.js';
import { keyToPath } from './path.js';
import { OP, type KeyedOp } from './run-format.js';
import type { ApplyOptions, TreeStorage } from './tree-types.js';
import { wholeOf } from './edges.js';
import type { DirEdges, FileContent, FileNode, TreeNode, Wait } from './types.js';

/** Something that is at a path since `time`. */
export interface Layer<N extends TreeNode = TreeNode> {
  readonly time: number;
  readonly node: N;
  /** What a file that inherits shows. */
  readonly edges?: DirEdges | undefined;
  /** Its files showed another header or footer than the directory will have. */
  readonly foreign?: boolean | undefined;
}

type FileEvent = Layer<FileNode> | KeyedOp;

/** What a file is beside its content. */
interface Manner {
  readonly shared: boolean;
  readonly inherits: boolean;
}

const PLAIN: Manner = { shared: false, inherits: false };
const SHARED: Manner = { shared: true, inherits: false };
const INHERITING: Manner = { shared: false, inherits: true };

export interface FileEvents {
  readonly key: string;
  /** Files that were there, by time. */
  readonly layers: readonly Layer<FileNode>[];
  /** Ops that take effect, by time. */
  readonly ops: readonly KeyedOp[];
  /** The entry of the tree before, whose extents and ordinal are kept for equal content. */
  readonly before: TreeNode | undefined;
}

/** The error for a change of a base that can not tell what each datum wrote. */
export function sharedEntry(key: string): Error {
  const path = keyToPath(key);
  return stateConflict(`"${path}" has content of several datums; a full merge is needed`, {
    fields: { sharedPath: path },
  });
}

/**
 * True when apply in mode `merge` could not add to its base or subtract from it, because an entry
 * is the work of several datums: merge all runs afresh instead.
 */
export function isSharedEntry(error: unknown): boolean {
  const fields = (error as { fields?: Readonly<Record<string, unknown>> } | undefined)?.fields;
  return typeof fields?.['sharedPath'] === 'string';
}

/** The file with its pieces, also when they are in a list object. */
export async function withPieces(
  storage: Pick<TreeStorage, 'getObject'>,
  file: FileNode,
  wait: Wait,
): Promise<FileNode> {
  if (!file.list || file.pieces.length > 0) return file;
  const pieces = decodePieceList(await storage.getObject(file.list, wait));
  const { edges } = file;
  if (!edges) return { ...file, pieces };
  return { ...file, ...wholeOf({ ...edges, body: { ...edges.body, pieces } }) };
}

/** Makes the files of one apply. */
export class FileMaker {
  readonly #batch: CanonicalBatch;

  constructor(
    readonly storage: TreeStorage,
    readonly sink: PageSink,
    readonly options: ApplyOptions,
  ) {
    this.#batch = new CanonicalBatch(storage, options);
  }

  /** The file after all events, or undefined when nothing makes one. */
  make(events: FileEvents): FileNode | undefined | Promise<FileNode | undefined> {
    const { layers, ops } = events;
    const [layer] = layers;
    if (layers.length + ops.length === 1 && ops[0]?.code !== OP.truncate) {
      if (layer && layer.time < 0) return layer.node;
      const event = layer ?? (ops[0] as KeyedOp);
      const inherits = startsInheriting(event);
      const parts = partsIn(event, inherits);
      if (parts.length > 1) return this.#joined(events, parts, PLAIN);
      return this.#node(events, parts[0] as FileContent, inherits ? INHERITING : PLAIN);
    }
    if (this.options.mode === 'merge') return this.#merged(events);
    const ordered = inOrder(events);
    const inherits = startsInheriting(ordered.find((event) => !isOp(event, OP.truncate)));
    const how = inherits ? INHERITING : PLAIN;
    if (ops.some((op) => op.code === OP.truncate)) return this.#truncated(events, ordered, how);
    return this.#joined(
      events,
      ordered.flatMap((event) => partsIn(event, inherits)),
      how,
    );
  }

  #merged(events: FileEvents): FileNode | Promise<FileNode> | undefined {
    const writers = new Map<number, FileContent[]>();
    for (const event of inOrder(events)) {
      const writer = writerOf(timeOf(event));
      const parts = writers.get(writer);
      const own = partsIn(event, false);
      // A datum that sets a path again replaces what it wrote; appends add.
      if (!parts || isOp(event, OP.set)) writers.set(writer, own);
      else parts.push(...own);
    }
    if (writers.size === 0) return undefined;
    if (writers.size > 1 && writers.has(-1)) throw sharedEntry(events.key);
    return this.#joined(events, [...writers.values()].flat(), writers.size > 1 ? SHARED : PLAIN);
  }

  /** Truncation counts pieces as a reader would have seen them then. */
  async #truncated(
    events: FileEvents,
    ordered: readonly FileEvent[],
    how: Manner,
  ): Promise<FileNode | undefined> {
    let parts: FileContent[] | undefined;
    for (const event of ordered) {
      if (!isOp(event, OP.truncate)) {
        const own = partsIn(event, how.inherits);
        if (isOp(event, OP.set)) parts = own;
        else (parts ??= []).push(...own);
        continue;
      }
      if (!parts) continue;
      const { keep } = event as KeyedOp;
      const whole = await this.#join(parts);
      parts = [keep < whole.pieces.length ? contentOf(whole.pieces.slice(0, keep)) : whole];
    }
    return parts && this.#joined(events, parts, how);
  }

  #joined(
    events: FileEvents,
    parts: readonly FileContent[],
    how: Manner,
  ): FileNode | Promise<FileNode> {
    const full = parts.filter((part) => part.size > 0);
    if (full.length < 2) return this.#node(events, full[0] ?? parts[0] ?? EMPTY_CONTENT, how);
    return this.#join(full).then((content) => this.#node(events, content, how));
  }

  async #join(parts: readonly FileContent[]): Promise<FileContent> {
    const whole: FileContent[] = [];
    for (const part of parts) {
      if (part.size === 0) continue;
      whole.push('type' in part ? await this.#resolve(part as FileNode) : part);
    }
    if (whole.length === 0) return EMPTY_CONTENT;
    return whole.length === 1 ? (whole[0] as FileContent) : this.#batch.join(whole);
  }

  #resolve(file: FileNode): Promise<FileNode> {
    return withPieces(this.storage, file, this.options);
  }

  /** The entry: what was there before when its content is the same. */
  #node(events: FileEvents, content: FileContent, { shared, inherits }: Manner): FileNode {
    const { before } = events;
    if (
      before?.type === 'file' &&
      (before.shared ?? false) === shared &&
      (before.inherits ?? false) === inherits &&
      before.hash.equals(content.hash)
    ) {
      return before;
    }
    const { size, hash, pieces } = content;
    const changed = this.options.ordinal;
    const list = 'list' in content ? (content as FileNode).list : undefined;
    const plain: FileNode = shared
      ? { type: 'file', size, hash, pieces, changed, shared }
      : { type: 'file', size, hash, pieces, changed };
    const file = inherits ? { ...plain, inherits } : plain;
    if (list) return { ...file, list };
    if (pieces.length <= INLINE_PIECES_MAX) return file;
    return { ...file, list: this.sink.put(encodePieceList(pieces), 'blob') };
  }
}

/** What is there once the files of subtracted runs are taken out (mode `merge`). */
export function subtractFiles(
  key: string,
  layers: readonly Layer[],
  ops: readonly KeyedOp[],
): readonly Layer[] {
  const subtracted = ops.filter((op) => isSubtracted(op, 'merge'));
  if (subtracted.length === 0) return layers;
  const base = layers.find((layer) => layer.time < 0)?.node;
  const files = subtracted.every((op) => op.content || op.node?.type === 'file');
  if (!files || base?.type !== 'file' || base.shared) throw sharedEntry(key);
  return layers.filter((layer) => layer.time >= 0);
}

function isOp(event: FileEvent, code: number): boolean {
  return 'code' in event && event.code === code;
}

function timeOf(event: FileEvent): number {
  return 'code' in event ? event.seq : event.time;
}

/** Layers and ops by time; a layer before an op of its time. */
function inOrder(events: FileEvents): FileEvent[] {
  const all: FileEvent[] = [...events.layers, ...events.ops];
  return events.layers.length === 0 ? all : all.sort((a, b) => timeOf(a) - timeOf(b));
}

/** A file that begins with this event shows its directory's header and footer. */
function startsInheriting(event: FileEvent | undefined): boolean {
  if (!event) return false;
  if ('code' in event) return event.code === OP.appendInheriting;
  return event.node.inherits === true && !event.foreign;
}

/** What the event brings: own bytes only when header and footer go on being inherited. */
function partsIn(event: FileEvent, inherits: boolean): FileContent[] {
  if ('code' in event) {
    const node = event.node as FileNode | undefined;
    if (node?.edges) return [node.edges.header, node.edges.body, node.edges.footer];
    return [event.content ?? (node as FileNode)];
  }
  const { node, edges, foreign } = event;
  if ((inherits && !foreign) || !node.inherits || !edges) return [node];
  return [edges.header, node, edges.footer];
}
