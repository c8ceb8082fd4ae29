/**
 * Remembers the last small pieces of one writer by hash, so that equal small files of one stream
 * share one place in a pack. Bounded in entries; the least recently used one goes first.
 */
import type { Piece } from './types.js';

export class PieceCache {
  readonly #pieces = new Map<string, Piece>();

  constructor(readonly entriesMax: number) {}

  get(hash: Buffer, size: number): Piece | undefined {
    const key = hash.toString('latin1');
    const piece = this.#pieces.get(key);
    if (!piece || piece.size !== size) return undefined;
    this.#pieces.delete(key);
    this.#pieces.set(key, piece);
    return piece;
  }

  add(piece: Piece): void {
    this.#pieces.set(piece.hash.toString('latin1'), piece);
    if (this.#pieces.size <= this.entriesMax) return;
    for (const oldest of this.#pieces.keys()) {
      this.#pieces.delete(oldest);
      return;
    }
  }
}
