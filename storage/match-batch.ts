/**
 * Matches of a glob, a page at a time: what one job over millions of files costs should be what is
 * looked at of each file, and that is its name and its size.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { withPieces } from './apply-file.js';
import type { DirWalk, OpenDir } from './dir-walk.js';
import { shownNode } from './edges.js';
import type { Glob } from './glob.js';
import { TURN_ENTRIES } from './map-read.js';
import type { LeafPage } from './page.js';
import { fromBinary } from './path.js';
import type { TreeStorage } from './tree-types.js';
import type { DirNode, TreeNode, Wait } from './types.js';

/** Matches by position; all may be asked in any order, any time later. */
export interface MatchBatch {
  readonly length: number;
  /** The paths are known to ascend in byte order. */
  readonly ascends: boolean;
  /** Canonical path; '' is the root. */
  path(index: number): string;
  size(index: number): number;
  /** A file has all its pieces. */
  node(index: number): TreeNode;
  /** `[0]` is the whole path, `[1]` the first group. */
  captures(index: number): readonly string[];
}

/** A match that is at hand. */
export interface WholeMatch {
  readonly path: string;
  readonly node: TreeNode;
  readonly captures: readonly string[];
}

/** Matches that are at hand, as a batch. */
export function batchOf(matches: readonly WholeMatch[]): MatchBatch {
  const at = (index: number): WholeMatch => matches[index] as WholeMatch;
  return {
    length: matches.length,
    ascends: matches.length < 2,
    path: (index) => at(index).path,
    size: (index) => at(index).node.size,
    node: (index) => at(index).node,
    captures: (index) => at(index).captures,
  };
}

/** The matches of `glob` below a directory, in tree order. */
export async function* matchBatches(
  deps: { readonly storage: Pick<TreeStorage, 'getObject'>; readonly walk: DirWalk },
  start: { readonly path: string; readonly dir: DirNode; readonly glob: Glob },
  wait: Wait,
): AsyncGenerator<MatchBatch> {
  const { glob } = start;
  const options = { ...wait, glob };
  const stack: OpenDir[] = [await deps.walk.open(start.path, start.dir, options)];
  let batch: PageMatches | undefined;
  let passed = 0;
  for (let top = stack.at(-1); top; top = stack.at(-1)) {
    const { cursor, path } = top;
    if (!cursor.done && !cursor.onEntry) {
      const opened = cursor.open();
      if (opened) await opened;
      continue;
    }
    if (cursor.done || !cursor.key.startsWith(top.prefix)) {
      stack.pop();
      continue;
    }
    passed += 1;
    if (passed % TURN_ENTRIES === 0) await nextTurn();
    const { leaf, at } = cursor.place;
    const child = `${path}/${fromBinary(leaf.keys[at] as string)}`;
    if (glob.match(child)) {
      if (batch?.leaf !== leaf || batch.top !== top) {
        if (batch) yield await batch.complete(deps.storage, wait);
        batch = new PageMatches(top, leaf, glob);
      }
      batch.add(at);
    }
    const enter = peek(leaf, at) < 0 && glob.mayMatchBelow(child);
    if (enter) deps.walk.prefetch(top, options);
    cursor.skip();
    if (!enter) continue;
    const node = shownNode(leaf.value(at), top.dir) as DirNode;
    // What is below comes before the next entry of this page.
    if (batch) yield await batch.complete(deps.storage, wait);
    batch = undefined;
    stack.push(await deps.walk.open(child, node, options));
  }
  if (batch) yield await batch.complete(deps.storage, wait);
}

/** As node-format.ts says: size of a file, -1 - size of a directory, NaN = look at the node. */
function peek(leaf: LeafPage<TreeNode>, at: number): number {
  return leaf.peek?.(at) ?? Number.NaN;
}

const LISTS_AHEAD = 16;

/** Matches within one leaf page. */
class PageMatches implements MatchBatch {
  readonly ascends = true;
  readonly #rows: number[] = [];
  /** Nodes of which the page does not hold everything, by row. */
  #whole: Map<number, TreeNode> | undefined;

  constructor(
    readonly top: OpenDir,
    readonly leaf: LeafPage<TreeNode>,
    readonly glob: Glob,
  ) {}

  get length(): number {
    return this.#rows.length;
  }

  add(row: number): void {
    this.#rows.push(row);
    if (Number.isNaN(peek(this.leaf, row))) (this.#whole ??= new Map()).set(row, this.#shown(row));
  }

  /** Loads what is missing of files with many pieces. */
  async complete(storage: Pick<TreeStorage, 'getObject'>, wait: Wait): Promise<this> {
    const rows = [...(this.#whole ?? [])];
    for (let from = 0; from < rows.length; from += LISTS_AHEAD) {
      const some = rows.slice(from, from + LISTS_AHEAD).map(async ([row, node]) => {
        if (node.type === 'file') this.#whole?.set(row, await withPieces(storage, node, wait));
      });
      await Promise.all(some);
    }
    return this;
  }

  path(index: number): string {
    return `${this.top.path}/${fromBinary(this.leaf.keys[this.#row(index)] as string)}`;
  }

  size(index: number): number {
    const row = this.#row(index);
    const known = peek(this.leaf, row);
    if (known >= 0) return known;
    return known < 0 ? -1 - known : (this.#whole?.get(row)?.size ?? 0);
  }

  node(index: number): TreeNode {
    const row = this.#row(index);
    return this.#whole?.get(row) ?? this.#shown(row);
  }

  captures(index: number): readonly string[] {
    return this.glob.match(this.path(index))?.captures ?? [];
  }

  #shown(row: number): TreeNode {
    return shownNode(this.leaf.value(row), this.top.dir);
  }

  #row(index: number): number {
    const row = this.#rows[index];
    if (row === undefined) throw new RangeError(`index ${index} out of range`);
    return row;
  }
}
