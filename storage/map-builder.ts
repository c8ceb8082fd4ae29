/**
 * Builds a sorted map bottom up from entries in ascending order, level by level, and reuses whole
 * pages of an older map where `addPage` hands them over.
 *
 * B1 The pages depend on the entries alone: a reused page is taken only when no level below it has
 *    an open page, so it begins where a fresh build would begin it.
 */
import { invariant } from '../core/errors.js';
import { ByteWriter } from './bytes.js';
import { endsPage } from './page-boundary.js';
import { childWeight, digestIndex, digestLeaf, encodeIndex, encodeLeaf, isLeaf } from './page.js';
import type { Page, PageChild, PageCodec } from './page.js';
import type { PageSink, PageStore } from './page-store.js';
import type { ObjectRef, Wait } from './types.js';

/** A finished map. `bytes` is set when the only page is a leaf that was not stored. */
export interface BuiltMap {
  readonly level: number;
  readonly digest: Buffer;
  readonly entries: number;
  readonly a: number;
  readonly b: number;
  readonly weight: number;
  readonly root: { readonly bytes: Buffer } | { readonly ref: ObjectRef };
}

interface IndexLevel {
  children: PageChild[];
  weight: number;
  /** Pages of this level that are done. */
  pages: number;
}

/** Shared: a page is encoded without waiting, so no two are in it at once. */
const scratch = new ByteWriter(64 * 1024);

export class MapBuilder<V> {
  #keys: string[] = [];
  #values: V[] = [];
  #weight = 0;
  #leaves = 0;
  /** `#levels[0]` is level 1. */
  readonly #levels: IndexLevel[] = [];
  /** The page made last, which the root is unless it was reused. */
  #made: { child: PageChild; weight: number; items: number } | undefined;
  readonly #codec: PageCodec<V>;

  constructor(
    readonly store: PageStore<V>,
    readonly sink: PageSink,
  ) {
    this.#codec = store.codec;
  }

  /** Adds the next entry. Await what comes back before the next call. */
  add(key: string, value: V): Promise<void> | undefined {
    const weight = this.#codec.weight(key, value);
    this.#keys.push(key);
    this.#values.push(value);
    this.#weight += weight;
    if (!endsPage(key, 0, weight, this.#weight)) return undefined;
    this.#endLeaf();
    return this.sink.room();
  }

  /** True when no page below `level` is open, so a page of that level may follow. */
  closedBelow(level: number): boolean {
    if (this.#keys.length > 0) return false;
    for (let each = 1; each <= level; each += 1) {
      const open = this.#levels[each - 1];
      if (open && open.children.length > 0) return false;
    }
    return true;
  }

  /** Adds a whole page of `level` (B1: only when `closedBelow(level)`). */
  addPage(level: number, child: PageChild): void {
    invariant(this.closedBelow(level), 'a page is reused at a place where none begins', { level });
    if (level === 0) this.#leaves += 1;
    else this.#level(level).pages += 1;
    this.#addChild(level + 1, child);
  }

  /** Ends all open pages. The map is stored once the sink is settled, its root perhaps not. */
  async finish(wait: Wait): Promise<BuiltMap> {
    if (this.#leaves === 0 && !this.#levels.some((each) => each.children.length > 0)) {
      return this.#onlyLeaf();
    }
    if (this.#keys.length > 0) this.#endLeaf();
    for (let level = 1; ; level += 1) {
      const open = this.#level(level);
      const above = this.#levels.slice(level).some((each) => each.children.length > 0);
      if (!above && open.pages === 0 && open.children.length === 1) {
        return this.#collapse(level - 1, open.children[0] as PageChild, wait);
      }
      if (open.children.length > 0) this.#endIndex(level);
    }
  }

  #onlyLeaf(): BuiltMap {
    const page = { keys: this.#keys, values: this.#values, weight: this.#weight };
    const totals = this.#leafTotals();
    const digest = digestLeaf(this.#codec, this.#keys, this.#values, scratch);
    const bytes = encodeLeaf(this.#codec, page, scratch);
    return { level: 0, digest, ...totals, weight: this.#weight, root: { bytes } };
  }

  #leafTotals(): { entries: number; a: number; b: number } {
    let a = 0;
    let b = 0;
    for (const value of this.#values) {
      a += this.#codec.a(value);
      b += this.#codec.b(value);
    }
    return { entries: this.#values.length, a, b };
  }

  #endLeaf(): void {
    const only = this.#onlyLeaf();
    const { digest, entries, a, b } = only;
    const key = this.#keys.at(-1) as string;
    const ref = this.sink.put((only.root as { bytes: Buffer }).bytes);
    const child = { key, ref, digest, entries, a, b };
    this.#made = { child, weight: this.#weight, items: entries };
    this.#keys = [];
    this.#values = [];
    this.#weight = 0;
    this.#leaves += 1;
    this.#addChild(1, child);
  }

  #level(level: number): IndexLevel {
    while (this.#levels.length < level) this.#levels.push({ children: [], weight: 0, pages: 0 });
    return this.#levels[level - 1] as IndexLevel;
  }

  #addChild(level: number, child: PageChild): void {
    const open = this.#level(level);
    const weight = childWeight(child);
    open.children.push(child);
    open.weight += weight;
    if (endsPage(child.key, level, weight, open.weight)) this.#endIndex(level);
  }

  #endIndex(level: number): void {
    const open = this.#level(level);
    const { children, weight } = open;
    const key = (children.at(-1) as PageChild).key;
    const { flavor } = this.#codec;
    const ref = this.sink.put(encodeIndex(flavor, { level, children, weight }, scratch));
    const digest = digestIndex(flavor, level, children);
    const child = { key, ref, digest, ...childTotals(children) };
    this.#made = { child, weight, items: children.length };
    open.children = [];
    open.weight = 0;
    open.pages += 1;
    this.#addChild(level + 1, child);
  }

  /** The root: the page itself, or below it while it is an index with one child. */
  async #collapse(level: number, child: PageChild, wait: Wait): Promise<BuiltMap> {
    const { ref, digest, entries, a, b } = child;
    const made = this.#made?.child === child ? this.#made : undefined;
    if (made && (level === 0 || made.items > 1)) {
      return { level, digest, entries, a, b, weight: made.weight, root: { ref } };
    }
    // Pages of this build may still be on their way to the store.
    await this.sink.settle();
    const page: Page<V> = await this.store.load(ref, wait);
    const index = isLeaf<V>(page) ? undefined : page;
    if (index?.children.length === 1) {
      return this.#collapse(level - 1, index.children[0] as PageChild, wait);
    }
    return { level, digest, entries, a, b, weight: page.weight, root: { ref } };
  }
}

/** Sums over the children of an index page. */
export function childTotals(children: readonly PageChild[]): {
  entries: number;
  a: number;
  b: number;
} {
  const totals = { entries: 0, a: 0, b: 0 };
  for (const child of children) {
    totals.entries += child.entries;
    totals.a += child.a;
    totals.b += child.b;
  }
  return totals;
}
