/**
 * Turns streams of bytes into pieces in the object store. One writer per put stream or task; its
 * files share packs.
 *
 * W1 Memory is bounded: at most `bytesInFlight` of chunks and packs wait for the store, plus the
 *    buffer of an unfinished chunk (16 MiB) per open file and one open pack. All writers of a storage together
 *    keep to its budget: beyond it each has one upload on its way.
 * W2 After `flush` returned, every piece handed out so far is durable and knows its location.
 * W3 The first failed upload fails the writer: `write`, `end` and `flush` throw it.
 * W4 Nothing written becomes visible by itself; bytes of an aborted writer are garbage.
 */
import { cancelled } from '../core/errors.js';
import { sha256 } from '../core/sha256.js';
import { childController } from '../core/signals.js';
import { ChunkBuffers } from './chunk-buffers.js';
import { Chunker } from './chunker.js';
import { contentOf, PACKED_BYTES_MAX } from './content.js';
import type { ObjectStore } from './object-store.js';
import { OpenPack, PACK_BYTES } from './pack.js';
import { PieceCache } from './piece-cache.js';
import { keyOf } from './refs.js';
import type { FileContent, Piece, Wait } from './types.js';

/** Bytes of all writers of one storage that wait for the store. */
export class UploadBudget {
  used = 0;

  constructor(readonly bytesMax: number) {}
}

export interface WriterOptions extends Wait {
  /** Uploads at once. */
  readonly parallel?: number;
  /** Bytes that may wait for the store before writers have to wait. */
  readonly bytesInFlight?: number;
  /** Garbage-collection epoch of what is written; the storage's own when absent. */
  readonly epoch?: number;
}

const PARALLEL = 8;
const BYTES_IN_FLIGHT = 64 * 1024 * 1024;
/** Small pieces remembered per writer to store repeats once. */
const REMEMBERED_PIECES = 16_384;
/** Pack buffers kept for reuse, so that a long stream of small files allocates a handful. */
const SPARE_BUFFERS = 4;

export class ContentWriter {
  readonly #signal: AbortSignal;
  readonly #controller: AbortController & Disposable;
  readonly #epoch: number;
  readonly #parallel: number;
  readonly #bytesMax: number;
  readonly #budget: UploadBudget;
  /** Where files put the bytes of the chunk they are in. */
  readonly buffers: ChunkBuffers;
  readonly #remembered = new PieceCache(REMEMBERED_PIECES);
  readonly #spare: Buffer[] = [];
  readonly #uploads = new Set<Promise<void>>();
  #bytesInFlight = 0;
  #pack: OpenPack | undefined;
  #failed = false;
  #error: unknown;
  #waiters: (() => void)[] = [];

  constructor(
    readonly objects: ObjectStore,
    options: WriterOptions & {
      readonly epoch: number;
      readonly budget?: UploadBudget;
      readonly buffers?: ChunkBuffers;
    },
  ) {
    this.buffers = options.buffers ?? new ChunkBuffers();
    this.#budget = options.budget ?? new UploadBudget(Infinity);
    this.#controller = childController(options.signal);
    this.#signal = this.#controller.signal;
    this.#epoch = options.epoch;
    this.#parallel = options.parallel ?? PARALLEL;
    this.#bytesMax = options.bytesInFlight ?? BYTES_IN_FLIGHT;
  }

  /** Starts a file. Files of one writer may be open side by side. */
  beginFile(): FileSink {
    return new FileSink(this);
  }

  /** One file whose bytes are all here. */
  async writeBytes(bytes: Uint8Array): Promise<FileContent> {
    if (bytes.byteLength < PACKED_BYTES_MAX) {
      this.#check();
      const content = this.addSmall(bytes);
      const room = this.room();
      if (room) await room;
      return content;
    }
    const sink = this.beginFile();
    await sink.write(bytes);
    return sink.end();
  }

  /**
   * A file below PACKED_BYTES_MAX, without waiting. Call `room()` now and then and await what it
   * returns. For splitters that make very many small files.
   */
  addSmall(bytes: Uint8Array): FileContent {
    return contentOf(bytes.byteLength === 0 ? [] : [this.storePiece([bytes], sha256(bytes))]);
  }

  /** Seals the open pack and waits until everything is stored (W2). */
  async flush(wait: Wait): Promise<void> {
    this.#sealPack();
    while (this.#uploads.size > 0 && !this.#failed) {
      wait.signal.throwIfAborted();
      await Promise.race(this.#uploads);
    }
    this.#check();
  }

  /** Drops what is not yet stored and cancels running uploads; does nothing after a last flush. */
  abort(): void {
    this.#fail(cancelled('the writer was aborted'));
  }

  /** A promise to await when too much waits for the store; undefined when there is room. */
  room(): Promise<void> | undefined {
    return this.#hasRoom() ? undefined : this.#waitForRoom();
  }

  /**
   * Stores one piece: small ones in the pack, others as chunks. The bytes must not change before
   * `release` is called; it is not called when the piece could not be stored.
   */
  storePiece(parts: readonly Uint8Array[], hash: Buffer, release?: () => void): Piece {
    this.#check();
    let size = 0;
    for (const part of parts) size += part.byteLength;
    if (size < PACKED_BYTES_MAX) {
      const piece = this.#packPiece(parts, hash, size);
      release?.();
      return piece;
    }
    const location = { kind: 'c', epoch: this.#epoch, digest: hash, offset: 0 } as const;
    this.#upload('c', hash, parts, size, release);
    return { hash, size, location };
  }

  #packPiece(parts: readonly Uint8Array[], hash: Buffer, size: number): Piece {
    const known = this.#remembered.get(hash, size);
    if (known) return known;
    const piece: Piece = { hash, size };
    this.#pack ??= new OpenPack(this.#spare.pop());
    this.#pack.add(piece, parts);
    this.#remembered.add(piece);
    if (this.#pack.full) this.#sealPack();
    return piece;
  }

  #sealPack(): void {
    const pack = this.#pack;
    this.#pack = undefined;
    if (!pack) return;
    const { digest, bytes } = pack.seal(this.#epoch);
    this.#upload('p', digest, [bytes], bytes.length, () => {
      // Only full-size buffers are worth keeping; the store is done reading this one.
      if (bytes.length >= PACK_BYTES && this.#spare.length < SPARE_BUFFERS) {
        this.#spare.push(Buffer.from(bytes.buffer, bytes.byteOffset));
      }
    });
  }

  #upload(
    kind: 'c' | 'p',
    digest: Buffer,
    parts: readonly Uint8Array[],
    size: number,
    onStored?: () => void,
  ): void {
    this.#bytesInFlight += size;
    this.#budget.used += size;
    const key = keyOf({ kind, epoch: this.#epoch, digest });
    const upload = this.objects
      .put(key, parts, { signal: this.#signal, sha256: digest })
      .then(onStored)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => {
        this.#uploads.delete(upload);
        this.#bytesInFlight -= size;
        this.#budget.used -= size;
        this.#wake();
      });
    this.#uploads.add(upload);
  }

  #hasRoom(): boolean {
    if (this.#failed || this.#signal.aborted) return false;
    // A writer that has nothing on its way may always go on, so many writers cannot block each
    // other; its own uploads wake one that has.
    if (this.#uploads.size === 0) return true;
    return (
      this.#bytesInFlight <= this.#bytesMax &&
      this.#uploads.size <= this.#parallel &&
      this.#budget.used <= this.#budget.bytesMax
    );
  }

  async #waitForRoom(): Promise<void> {
    for (;;) {
      this.#check();
      if (this.#hasRoom()) return;
      await new Promise<void>((resolve) => this.#waiters.push(resolve));
    }
  }

  #wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  #fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#error = error;
    this.#pack = undefined;
    this.#spare.length = 0;
    this.#controller.abort(error);
    this.#controller[Symbol.dispose]();
    this.#wake();
  }

  #check(): void {
    if (this.#failed) throw this.#error;
    this.#signal.throwIfAborted();
  }
}

/** One file being written. The bytes of its current chunk are gathered in one buffer. */
export class FileSink {
  readonly #writer: ContentWriter;
  readonly #chunker = new Chunker();
  readonly #pieces: Piece[] = [];
  #buffer: Buffer | undefined;
  #used = 0;

  constructor(writer: ContentWriter) {
    this.#writer = writer;
  }

  /** Takes a copy of bytes; returns a promise to await when the store is behind. */
  write(bytes: Uint8Array): void | Promise<void> {
    let from = 0;
    while (from < bytes.byteLength) {
      const cut = this.#chunker.next(bytes, from);
      const to = cut < 0 ? bytes.byteLength : cut;
      this.#take(from === 0 && to === bytes.byteLength ? bytes : bytes.subarray(from, to));
      if (cut >= 0) this.#endPiece();
      from = to;
    }
    return this.#writer.room();
  }

  /** Ends the file. Locations of small pieces are set when the writer is flushed. */
  async end(): Promise<FileContent> {
    if (this.#used > 0) this.#endPiece();
    const room = this.#writer.room();
    if (room) await room;
    return contentOf(this.#pieces);
  }

  #take(bytes: Uint8Array): void {
    const need = this.#used + bytes.byteLength;
    if (!this.#buffer || this.#buffer.length < need) this.#grow(need);
    this.#buffer?.set(bytes, this.#used);
    this.#used = need;
  }

  #grow(bytes: number): void {
    const { buffers } = this.#writer;
    const grown = buffers.take(bytes);
    if (this.#buffer) {
      this.#buffer.copy(grown, 0, 0, this.#used);
      buffers.give(this.#buffer);
    }
    this.#buffer = grown;
  }

  #endPiece(): void {
    const buffer = this.#buffer as Buffer;
    const bytes = buffer.subarray(0, this.#used);
    this.#buffer = undefined;
    this.#used = 0;
    const release = (): void => this.#writer.buffers.give(buffer);
    this.#pieces.push(this.#writer.storePiece([bytes], sha256(bytes), release));
  }
}
