/**
 * An open pack: small pieces side by side in one buffer, in the order they arrive. Sealing gives
 * the bytes and their digest, and tells every piece where it lies.
 */
import { invariant } from '../core/errors.js';
import { sha256 } from '../core/sha256.js';
import type { Piece } from './types.js';

/** A pack is sealed when it reaches this size; it can exceed it by one small piece. */
export const PACK_BYTES = 8 * 1024 * 1024;
const FIRST_BYTES = 64 * 1024;

export interface SealedPack {
  readonly digest: Buffer;
  readonly bytes: Buffer;
  readonly pieces: readonly Piece[];
}

export class OpenPack {
  #buffer: Buffer;
  #length = 0;
  readonly #pieces: Piece[] = [];
  readonly #offsets: number[] = [];

  /** `recycled` is a buffer of an earlier pack that nobody reads any more. */
  constructor(recycled?: Buffer) {
    this.#buffer = recycled ?? Buffer.allocUnsafeSlow(FIRST_BYTES);
  }

  get size(): number {
    return this.#length;
  }

  get full(): boolean {
    return this.#length >= PACK_BYTES;
  }

  /** Copies the piece's bytes; its location is set by `seal`. */
  add(piece: Piece, parts: readonly Uint8Array[]): void {
    this.#reserve(piece.size);
    this.#pieces.push(piece);
    this.#offsets.push(this.#length);
    for (const part of parts) {
      this.#buffer.set(part, this.#length);
      this.#length += part.byteLength;
    }
  }

  /** Ends the pack. Every piece gets its location. */
  seal(epoch: number): SealedPack {
    invariant(this.#pieces.length > 0, 'an empty pack is never sealed');
    const bytes = this.#buffer.subarray(0, this.#length);
    const digest = sha256(bytes);
    this.#pieces.forEach((piece, index) => {
      piece.location = { kind: 'p', epoch, digest, offset: this.#offsets[index] as number };
    });
    return { digest, bytes, pieces: this.#pieces };
  }

  #reserve(bytes: number): void {
    const need = this.#length + bytes;
    if (need <= this.#buffer.length) return;
    let size = this.#buffer.length;
    while (size < need) size *= 2;
    const grown = Buffer.allocUnsafeSlow(size);
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
  }
}
