/** Tags of objects. */
import { bare } from '../conditions.js';

/**
 * The content hash, marked so that no client takes it for an MD5 of the bytes: a tag with a dash is
 * one that can not be recomputed.
 */
export function etagOf(node: { readonly hash: Buffer }): string {
  return `"${node.hash.toString('hex')}-1"`;
}

/** Tags as clients send them back, with or without quotes, are the same. */
export function sameTag(a: string, b: string): boolean {
  return bare(a.trim()) === bare(b.trim());
}
