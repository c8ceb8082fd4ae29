/**
 * Where pages end (docs/formats/tree.md). Depends on names and logical weight alone and only on
 * items of the page itself, so an edit changes boundaries near it and nowhere else. Frozen: any
 * change here changes the hash of every large directory.
 */

/** No page ends below this weight, so a directory small enough to inline is one page. */
export const PAGE_WEIGHT_MIN = 2 ** 14;
/** Every page ends here at the latest (4 × the target of 128 KiB). */
export const PAGE_WEIGHT_MAX = 2 ** 19;
/** A directory up to this weight is part of its parent's entry. */
export const INLINE_WEIGHT_MAX = 8192;
/** Fixed part of every item's weight. */
export const ITEM_WEIGHT = 64;
/** Weight of one piece of a file. */
export const PIECE_WEIGHT = 48;
/** Files with more pieces keep the list in an object of its own. */
export const INLINE_PIECES_MAX = 16;

/** True when the page ends after the item `key` of `weight` that brought the page to `total`. */
export function endsPage(key: string, level: number, weight: number, total: number): boolean {
  if (total < PAGE_WEIGHT_MIN) return false;
  if (total >= PAGE_WEIGHT_MAX) return true;
  const chance = (4 * weight * ((total * total * total) / 2 ** 51)) / 2 ** 17;
  return keyHash(key, level) < chance * 2 ** 32;
}

/** 32 evenly spread bits of a latin1 key. */
export function keyHash(key: string, level: number): number {
  let hash = 0x811c9dc5 ^ level;
  for (let index = 0; index < key.length; index += 1) {
    hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
