/**
 * A place in a sorted map, from which one moves forward over entries or over whole pages.
 *
 * The cursor stands on an *item*: an entry of a leaf, or a page that it has not opened yet. Only
 * `open` and `seek` may read from the store; they answer undefined when the page was in memory, so
 * that loops over millions of entries wait only where they must.
 */
import { isLeaf, type LeafPage, type Page, type PageChild } from './page.js';
import type { PageStore } from './page-store.js';
import type { Wait } from './types.js';

interface Frame<V> {
  readonly page: Page<V>;
  at: number;
}

export class MapCursor<V> {
  /** From the root down; empty at the end. */
  readonly #frames: Frame<V>[] = [];
  /** Leaf under the cursor, when it stands on an entry. */
  #leaf: LeafPage<V> | undefined;

  constructor(
    readonly store: PageStore<V>,
    root: Page<V>,
    readonly wait: Wait,
    /** Pages to read ahead of a scan. */
    readonly ahead = 0,
  ) {
    if (root.keys.length > 0) this.#frames.push({ page: root, at: 0 });
    this.#settle();
  }

  get done(): boolean {
    return this.#frames.length === 0;
  }

  /** True when the item is an entry (then `key` and `value` are its own). */
  get onEntry(): boolean {
    return this.#leaf !== undefined;
  }

  /** Key of the entry, or last key of the page. */
  get key(): string {
    const { page, at } = this.#top();
    return page.keys[at] as string;
  }

  get value(): V {
    return (this.#leaf as LeafPage<V>).value(this.#top().at);
  }

  /** The page that is the item. */
  get child(): PageChild {
    const { page, at } = this.#top();
    return (page as Exclude<Page<V>, LeafPage<V>>).children[at] as PageChild;
  }

  /** Level of the page that is the item; -1 for an entry. */
  get level(): number {
    return this.#top().page.level - 1;
  }

  /** True when nothing follows the item. */
  get last(): boolean {
    return this.#frames.every(({ page, at }) => at === page.keys.length - 1);
  }

  /** The leaf page and the position in it, when the item is an entry. */
  get place(): { readonly leaf: LeafPage<V>; readonly at: number } {
    return { leaf: this.#leaf as LeafPage<V>, at: this.#top().at };
  }

  /** Passes the item. */
  skip(): void {
    this.#top().at += 1;
    this.#settle();
  }

  /** Goes into the page that is the item; its first item is the next. */
  open(): Promise<void> | undefined {
    const { ref } = this.child;
    const known = this.store.cached(ref);
    if (known) {
      this.#enter(known);
      return undefined;
    }
    const loading = this.store.load(ref, this.wait);
    for (const next of this.#following()) {
      // A failure shows when the page is opened.
      if (!this.store.cached(next.ref)) this.store.load(next.ref, this.wait).catch(() => undefined);
    }
    return loading.then((page) => this.#enter(page));
  }

  /** Moves forward to the first entry with a key ≥ `key`, or the end. */
  seek(key: string): Promise<void> | undefined {
    while (!this.done) {
      if (this.key < key) {
        this.#skipBefore(key);
      } else if (this.onEntry) {
        return undefined;
      } else {
        const opened = this.open();
        if (opened) return opened.then(() => this.seek(key));
      }
    }
    return undefined;
  }

  /** Pages after the item, in its page. */
  #following(): readonly PageChild[] {
    const top = this.#top();
    if (this.ahead === 0 || isLeaf(top.page)) return [];
    return top.page.children.slice(top.at + 1, top.at + 1 + this.ahead);
  }

  #top(): Frame<V> {
    return this.#frames[this.#frames.length - 1] as Frame<V>;
  }

  #enter(page: Page<V>): void {
    this.#frames.push({ page, at: 0 });
    this.#settle();
  }

  /** Within the page: the first item ≥ key by halving, else past the page. */
  #skipBefore(key: string): void {
    const top = this.#top();
    top.at = lowerBound(top.page.keys, key, top.at);
    this.#settle();
  }

  /** Leaves pages that are used up. */
  #settle(): void {
    let top = this.#frames.at(-1);
    while (top && top.at >= top.page.keys.length) {
      this.#frames.pop();
      top = this.#frames.at(-1);
      if (top) top.at += 1;
    }
    this.#leaf = top && isLeaf(top.page) ? top.page : undefined;
  }
}

/** Index of the first key ≥ `key`, from `from` on. */
export function lowerBound(keys: readonly string[], key: string, from = 0): number {
  let low = from;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
