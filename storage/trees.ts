/**
 * Directory trees: immutable, shared page by page between commits. Reading is by streams; a change
 * costs the pages on its way (docs/formats/tree.md, docs/formats/run.md).
 *
 * T1 Nodes that leave this class have all their pieces.
 * T2 `apply` answers only when every object of the new tree is stored.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { applyRuns } from './apply.js';
import { withPieces } from './apply-file.js';
import { openPage } from './apply-context.js';
import { sameEdges, shownNode } from './edges.js';
import { compileGlob, type Glob } from './glob.js';
import { DIRS_AHEAD, DirWalk } from './dir-walk.js';
import { diffMaps, getFrom, scanMap, TURN_ENTRIES } from './map-read.js';
import { batchOf, matchBatches, type MatchBatch } from './match-batch.js';
import type { MapDiff } from './map-read.js';
import { directoryCodec, EMPTY_DIR } from './node-format.js';
import { PageStore } from './page-store.js';
import { fromBinary, toBinary } from './path.js';
import type { TreePool } from './tree-pool.js';
import type { ApplyOptions, RunInput, TreeDiff, TreeReader, TreeStorage } from './tree-types.js';
import type { DirNode, FileNode, TreeNode, Wait } from './types.js';

const LISTS_AHEAD = 16;

export class Trees implements TreeReader {
  readonly empty: DirNode = EMPTY_DIR;
  readonly #store: PageStore<TreeNode>;
  readonly #walk: DirWalk;
  #pool: TreePool | undefined;

  constructor(readonly storage: TreeStorage) {
    this.#store = new PageStore(storage, directoryCodec);
    this.#walk = new DirWalk(this.#store);
  }

  /** Gives heavy applies to threads of this pool. The caller closes it. */
  usePool(pool: TreePool): void {
    this.#pool = pool;
  }

  /** What is at a canonical path; undefined when nothing is. */
  async lookup(root: DirNode, path: string, wait: Wait): Promise<TreeNode | undefined> {
    const node = await this.#find(root, path, wait);
    return node?.type === 'file' ? withPieces(this.storage, node, wait) : node;
  }

  /** Children of the directory at `path` in byte order of names, those after `after`. */
  async *list(
    root: DirNode,
    path: string,
    options: Wait & { readonly after?: string },
  ): AsyncGenerator<{ name: string; node: TreeNode }> {
    const dir = await this.#find(root, path, options);
    if (dir?.type !== 'dir') return;
    const { signal, after } = options;
    const range = after === undefined ? { signal } : { signal, from: `${toBinary(after)}\0` };
    const page = await openPage(this.#store, dir, options);
    const entries = scanMap(this.#store, page, range);
    yield* this.#complete(named(entries, dir), options);
  }

  /** The node at `path`, then everything below it in tree order. */
  async *walk(
    root: DirNode,
    path: string,
    wait: Wait,
  ): AsyncGenerator<{ path: string; node: TreeNode }> {
    const node = await this.#find(root, path, wait);
    if (node) yield* this.#complete(this.#below(path, node, wait), wait);
  }

  /** Nodes whose path matches the pattern, in tree order, with what its groups captured. */
  async *glob(
    root: DirNode,
    pattern: string,
    wait: Wait,
  ): AsyncGenerator<{ path: string; node: TreeNode; captures: string[] }> {
    const glob = compileGlob(pattern);
    if (glob.literal) {
      const node = await this.lookup(root, glob.pattern, wait);
      if (node) yield { path: glob.pattern, node, captures: [glob.pattern] };
      return;
    }
    const start = glob.literalPrefix.slice(0, glob.literalPrefix.lastIndexOf('/'));
    const dir = await this.#find(root, start, wait);
    if (dir?.type !== 'dir') return;
    const matches = this.#matches(this.#below(start, dir, { ...wait, glob }), glob);
    yield* this.#complete(matches, wait);
  }

  /** As `glob`, many matches at a time, which are decoded only when they are asked for. */
  async *globBatches(root: DirNode, pattern: string, wait: Wait): AsyncGenerator<MatchBatch> {
    const glob = compileGlob(pattern);
    if (glob.literal) {
      const node = await this.lookup(root, glob.pattern, wait);
      if (node) yield batchOf([{ path: glob.pattern, node, captures: [glob.pattern] }]);
      return;
    }
    const start = glob.literalPrefix.slice(0, glob.literalPrefix.lastIndexOf('/'));
    const dir = await this.#find(root, start, wait);
    if (dir?.type !== 'dir') return;
    const at = { path: start, dir, glob };
    yield* matchBatches({ storage: this.storage, walk: this.#walk }, at, wait);
  }

  /**
   * Nodes whose content differs, in tree order, directories before what is below them. What is only
   * on one side is reported with everything below it.
   */
  async *diff(
    a: DirNode | undefined,
    b: DirNode | undefined,
    wait: Wait,
  ): AsyncGenerator<TreeDiff> {
    if (a && b && a.hash.equals(b.hash)) return;
    for await (const found of this.#differences('', a, b, wait)) {
      yield {
        path: found.path,
        ...(found.a && { a: await this.#whole(found.a, wait) }),
        ...(found.b && { b: await this.#whole(found.b, wait) }),
      };
    }
  }

  /**
   * The tree after runs of changes were applied to `base` (none: an empty tree). Conflicts are
   * STATE_CONFLICT in the words of the old servers; in mode `merge` see also isSharedEntry.
   */
  async apply(
    base: DirNode | undefined,
    runs: readonly RunInput[],
    options: ApplyOptions,
  ): Promise<DirNode> {
    if (this.#pool?.wants(runs)) return this.#pool.apply(base, runs, options);
    return applyRuns(this.#store, base, runs, options);
  }

  async #find(root: DirNode, path: string, wait: Wait): Promise<TreeNode | undefined> {
    let node: TreeNode = root;
    for (const name of path.split('/')) {
      if (name === '') continue;
      if (node.type !== 'dir') return undefined;
      const page = await openPage(this.#store, node, wait);
      const found: TreeNode | undefined = await getFrom(this.#store, page, toBinary(name), wait);
      if (!found) return undefined;
      node = shownNode(found, node);
    }
    return node;
  }

  /** The node and everything below it; with a glob, only where it may match, without the node. */
  async *#below(
    path: string,
    node: TreeNode,
    options: Wait & { readonly glob?: Glob },
  ): AsyncGenerator<{ path: string; node: TreeNode }> {
    const { glob } = options;
    if (!glob) yield { path, node };
    if (node.type === 'file') return;
    const stack = [await this.#walk.open(path, node, options)];
    let passed = 0;
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const { cursor } = top;
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
      const child = {
        path: `${top.path}/${fromBinary(cursor.key)}`,
        node: shownNode(cursor.value, top.dir),
      };
      const enter = child.node.type === 'dir' && (!glob || glob.mayMatchBelow(child.path));
      if (enter) this.#walk.prefetch(top, options);
      cursor.skip();
      yield child;
      if (enter) stack.push(await this.#walk.open(child.path, child.node as DirNode, options));
    }
  }

  async *#matches(
    entries: AsyncIterable<{ path: string; node: TreeNode }>,
    glob: Glob,
  ): AsyncGenerator<{ path: string; node: TreeNode; captures: string[] }> {
    for await (const { path, node } of entries) {
      const match = glob.match(path);
      if (match) yield { path, node, captures: match.captures };
    }
  }

  async *#differences(
    path: string,
    a: TreeNode | undefined,
    b: TreeNode | undefined,
    wait: Wait,
  ): AsyncGenerator<TreeDiff> {
    yield { path, ...(a && { a }), ...(b && { b }) };
    const dirA = a?.type === 'dir' ? a : undefined;
    const dirB = b?.type === 'dir' ? b : undefined;
    if (!dirA && !dirB) return;
    const roots = {
      a: dirA && (await openPage(this.#store, dirA, wait)),
      b: dirB && (await openPage(this.#store, dirB, wait)),
    };
    const { signal } = wait;
    // Another header changes every file that shows it, wherever pages are equal.
    const whole = dirA && dirB && !sameEdges(dirA.edges, dirB.edges);
    const same = whole ? sameUnlessInheriting : sameContent;
    const changes = diffMaps(this.#store, roots, { signal, same, whole });
    const prefetch = (change: MapDiff<TreeNode>): void => {
      this.#walk.prefetchNode(change.a, wait);
      this.#walk.prefetchNode(change.b, wait);
    };
    for await (const child of lookAhead(changes, DIRS_AHEAD, prefetch)) {
      const at = `${path}/${fromBinary(child.key)}`;
      const childA = child.a && shownNode(child.a, dirA ?? {});
      const childB = child.b && shownNode(child.b, dirB ?? {});
      yield* this.#differences(at, childA, childB, wait);
    }
  }

  async #whole(node: TreeNode, wait: Wait): Promise<TreeNode> {
    return node.type === 'file' ? withPieces(this.storage, node, wait) : node;
  }

  /** Loads missing piece lists (T1), several ahead of the reader. */
  async *#complete<T extends { node: TreeNode }>(
    items: AsyncIterable<T>,
    wait: Wait,
  ): AsyncGenerator<T> {
    const ahead: (T | Promise<T>)[] = [];
    for await (const item of items) {
      if (ahead.length === 0 && !needsList(item.node)) {
        yield item;
        continue;
      }
      const complete = needsList(item.node) ? this.#completed(item, wait) : item;
      // A failure is thrown where the item is due.
      if (complete instanceof Promise) complete.catch(() => undefined);
      ahead.push(complete);
      if (ahead.length >= LISTS_AHEAD) yield await (ahead.shift() as T | Promise<T>);
    }
    for (const item of ahead) yield await item;
  }

  async #completed<T extends { node: TreeNode }>(item: T, wait: Wait): Promise<T> {
    return { ...item, node: await withPieces(this.storage, item.node as FileNode, wait) };
  }
}

/** The items, each seen `count` items before it is due. */
async function* lookAhead<T>(
  items: AsyncIterable<T>,
  count: number,
  seen: (item: T) => void,
): AsyncGenerator<T> {
  const queue: T[] = [];
  for await (const item of items) {
    seen(item);
    queue.push(item);
    if (queue.length > count) yield queue.shift() as T;
  }
  yield* queue;
}

async function* named(
  entries: AsyncIterable<{ key: string; value: TreeNode }>,
  dir: DirNode,
): AsyncGenerator<{ name: string; node: TreeNode }> {
  for await (const { key, value } of entries) {
    yield { name: fromBinary(key), node: shownNode(value, dir) };
  }
}

function needsList(node: TreeNode): boolean {
  return node.type === 'file' && node.list !== undefined && node.pieces.length === 0;
}

function sameContent(a: TreeNode, b: TreeNode): boolean {
  return a.type === b.type && a.hash.equals(b.hash) && inherits(a) === inherits(b);
}

function sameUnlessInheriting(a: TreeNode, b: TreeNode): boolean {
  return sameContent(a, b) && !inherits(a);
}

function inherits(node: TreeNode): boolean {
  return node.type === 'file' && node.inherits === true;
}
