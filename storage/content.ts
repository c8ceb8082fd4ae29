/**
 * What a file's content is: its canonical pieces and the one hash that identifies it
 * (docs/formats/objects.md, "Content hash").
 */
import { newSha256, sha256 } from '../core/sha256.js';
import type { FileContent, Piece } from './types.js';

/** Pieces below this size go into packs; files below it are one piece and never scanned. */
export const PACKED_BYTES_MAX = 1024 * 1024;

export const EMPTY_HASH: Buffer = sha256();
export const EMPTY_CONTENT: FileContent = { size: 0, hash: EMPTY_HASH, pieces: [] };

/** The content made of these pieces, which must be a canonical chunking of it. */
export function contentOf(pieces: readonly Piece[]): FileContent {
  const first = pieces[0];
  if (!first) return EMPTY_CONTENT;
  if (pieces.length === 1) return { size: first.size, hash: first.hash, pieces };
  const hash = newSha256();
  const length = Buffer.alloc(8);
  let size = 0;
  for (const piece of pieces) {
    length.writeBigUInt64BE(BigInt(piece.size));
    hash.update(piece.hash).update(length);
    size += piece.size;
  }
  return { size, hash: hash.digest(), pieces };
}
