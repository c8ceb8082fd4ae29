/** Reading sorted maps: one key, ranges, the last key, differences. Roots are decoded pages. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isLeaf, type Page } from './page.js';
import { lowerBound, MapCursor } from './map-cursor.js';
import type { PageStore } from './page-store.js';
import type { Wait } from './types.js';

export const READ_AHEAD_PAGES = 4;
/** Entries after which other work of the process gets its turn. */
export const TURN_ENTRIES = 4096;

/** One difference between two maps; equal values (by content) are none. */
export interface MapDiff<V> {
  readonly key: string;
  readonly a: V | undefined;
  readonly b: V | undefined;
}

/** The value at `key`. */
export async function getFrom<V>(
  store: PageStore<V>,
  root: Page<V>,
  key: string,
  wait: Wait,
): Promise<V | undefined> {
  let page = root;
  for (;;) {
    const at = lowerBound(page.keys, key);
    if (at === page.keys.length) return undefined;
    if (isLeaf(page)) return page.keys[at] === key ? page.value(at) : undefined;
    const child = page.children[at];
    if (!child) return undefined;
    page = await store.load(child.ref, wait);
  }
}

/** Entries in order, from the first key ≥ `from`. */
export async function* scanMap<V>(
  store: PageStore<V>,
  root: Page<V>,
  options: Wait & { readonly from?: string; readonly ahead?: number },
): AsyncGenerator<{ key: string; value: V }> {
  const cursor = new MapCursor(store, root, options, options.ahead ?? READ_AHEAD_PAGES);
  const start = options.from === undefined ? undefined : cursor.seek(options.from);
  if (start) await start;
  let passed = 0;
  while (!cursor.done) {
    if (cursor.onEntry) {
      passed += 1;
      if (passed % TURN_ENTRIES === 0) await nextTurn();
      yield { key: cursor.key, value: cursor.value };
      cursor.skip();
    } else {
      const opened = cursor.open();
      if (opened) await opened;
    }
  }
}

/** The entry with the greatest key below `before` (the last of all when undefined). */
export async function lastEntry<V>(
  store: PageStore<V>,
  root: Page<V>,
  before: string | undefined,
  wait: Wait,
): Promise<{ key: string; value: V } | undefined> {
  const limit = before === undefined ? root.keys.length : lowerBound(root.keys, before);
  if (isLeaf(root)) {
    return limit === 0
      ? undefined
      : { key: root.keys[limit - 1] as string, value: root.value(limit - 1) };
  }
  // The child at `limit` ends at or above `before`, yet may begin below it.
  for (let at = Math.min(limit, root.keys.length - 1); at >= 0; at -= 1) {
    const child = root.children[at];
    if (!child) continue;
    const found = await lastEntry(store, await store.load(child.ref, wait), before, wait);
    if (found) return found;
  }
  return undefined;
}

/**
 * Keys whose values differ by content, ascending. Pages with equal content digests are passed
 * unread, so the cost follows the differences.
 */
export async function* diffMaps<V>(
  store: PageStore<V>,
  roots: { readonly a: Page<V> | undefined; readonly b: Page<V> | undefined },
  options: Wait & {
    readonly same: (a: V, b: V) => boolean;
    /** Compare every value, also in equal pages. */
    readonly whole?: boolean | undefined;
  },
): AsyncGenerator<MapDiff<V>> {
  const open = (root: Page<V> | undefined): MapCursor<V> | undefined =>
    root && root.keys.length > 0 ? new MapCursor(store, root, options) : undefined;
  const a = open(roots.a);
  const b = open(roots.b);
  for (let passed = 1; ; passed += 1) {
    if (passed % TURN_ENTRIES === 0) await nextTurn();
    const liveA = a && !a.done ? a : undefined;
    const liveB = b && !b.done ? b : undefined;
    if (!liveA && !liveB) return;
    const waiting = approach(liveA, liveB, options.whole ?? false);
    if (waiting === 'moved') continue;
    if (waiting) {
      await waiting;
      continue;
    }
    // Both stand on entries, or are at their end.
    if (liveA && liveB && liveA.key === liveB.key) {
      const pair = { key: liveA.key, a: liveA.value, b: liveB.value };
      if (!options.same(pair.a, pair.b)) yield pair;
      liveA.skip();
      liveB.skip();
    } else if (liveA && (!liveB || liveA.key < liveB.key)) {
      yield { key: liveA.key, a: liveA.value, b: undefined };
      liveA.skip();
    } else if (liveB) {
      yield { key: liveB.key, a: undefined, b: liveB.value };
      liveB.skip();
    }
  }
}

/** One step towards entries: passes equal pages, opens unequal ones, the higher level first. */
function approach<V>(
  a: MapCursor<V> | undefined,
  b: MapCursor<V> | undefined,
  whole: boolean,
): Promise<void> | 'moved' | undefined {
  const levelA = a && !a.onEntry ? a.level : -1;
  const levelB = b && !b.onEntry ? b.level : -1;
  if (levelA < 0 && levelB < 0) return undefined;
  if (!whole && a && b && levelA === levelB && a.child.digest.equals(b.child.digest)) {
    a.skip();
    b.skip();
    return 'moved';
  }
  const higher = levelA >= levelB ? a : b;
  return higher?.open() ?? 'moved';
}
