/**
 * Buffers for bytes that wait longer than an instant: a chunk being cut, an upload, a read ahead.
 *
 * They are used again because V8 starts a full collection whenever the buffers alive have grown by
 * 64 MiB; with a fresh buffer per chunk that was a third of the coordinator's time on large files
 * (docs/benchmarks.md).
 *
 * B1 A buffer is given back only when nobody reads or writes it any more; when in doubt it is
 *    dropped and left to the collector.
 */
import { CHUNK_BYTES_MAX } from './chunker.js';

/** Buffers kept; more come and go at times of much traffic. */
const SPARE_MAX = 6;
/** Below the size of a chunk: what is read or written in small parts grows through these. */
const SMALL_BYTES = [64 * 1024, 1024 * 1024] as const;

export class ChunkBuffers {
  readonly #spare: Buffer[] = [];

  /** A buffer of at least `bytes` (and at most CHUNK_BYTES_MAX) with anything in it. */
  take(bytes: number): Buffer {
    const small = SMALL_BYTES.find((size) => size >= bytes);
    if (small !== undefined) return Buffer.allocUnsafeSlow(small);
    return this.#spare.pop() ?? Buffer.allocUnsafeSlow(Math.max(bytes, CHUNK_BYTES_MAX));
  }

  /** Gives a buffer of `take` back (B1). */
  give(buffer: Buffer): void {
    if (buffer.length === CHUNK_BYTES_MAX && this.#spare.length < SPARE_MAX) {
      this.#spare.push(buffer);
    }
  }
}
