/**
 * Takes a spout's pipe apart: tar archives one after the other, each ended by its end marker or by the
 * end of the pipe. Entries are handed on as they come, with back-pressure; memory does not grow with
 * archives or files.
 *
 * T1 The parser is fed header by header: it is always known where an archive ends, and what follows
 *    it belongs to the next one.
 * T2 Anything that is not tar is an error, before the archive counts as complete.
 */
import { Parser, type ReadEntry } from 'tar';
import { invalidInput, messageOf } from '../../core/errors.js';

export interface TarSink {
  /** A file begins; its bytes follow, then `fileEnd`. */
  file(path: string): void;
  bytes(part: Buffer): Promise<void> | undefined;
  fileEnd(): Promise<void>;
  directory(path: string): void;
  /** An entry that is neither file nor directory; it is left out. */
  skipped(path: string, kind: string): void;
  /** The archive is complete. */
  end(): Promise<void>;
}

const BLOCK = 512;
const FILES = new Set(['File', 'OldFile', 'ContiguousFile']);

export class TarReader {
  #parser: Parser | undefined;
  #rest: Buffer = Buffer.alloc(0);
  #entry: ReadEntry | undefined;
  #entries = 0;
  #ended = false;
  #error: Error | undefined;
  #work: Promise<void> | undefined;

  constructor(readonly sink: TarSink) {}

  /** Some of an archive has been read, and not its end. */
  get open(): boolean {
    return this.#parser !== undefined || this.#rest.length > 0;
  }

  /** Throws INVALID_INPUT when the bytes are no tar, and what the sink throws. */
  async push(chunk: Buffer): Promise<void> {
    let bytes = this.#rest.length > 0 ? Buffer.concat([this.#rest, chunk]) : chunk;
    for (;;) {
      if (!this.#parser) bytes = withoutPadding(bytes);
      const take = this.#next(bytes.length);
      if (take === 0) break;
      if (!this.#parser) this.#begin(bytes);
      await this.#feed(bytes.subarray(0, take));
      bytes = bytes.subarray(take);
    }
    // Our own copy: the chunk's memory is used again.
    this.#rest = Buffer.from(bytes);
  }

  /** The pipe was closed. An archive that stops between entries is complete. */
  async finish(): Promise<void> {
    if (!this.open) return;
    if (!this.#parser) needPlain(this.#rest);
    const cut = this.#rest.some((byte) => byte !== 0) || (this.#entry?.blockRemain ?? 0) > 0;
    if (cut) throw badTar('it stops in the middle of an entry');
    this.#rest = Buffer.alloc(0);
    this.#parser?.end();
    this.#check();
    await this.#complete();
  }

  #next(length: number): number {
    const whole = length - (length % BLOCK);
    const body = this.#entry?.blockRemain ?? 0;
    return body > 0 ? Math.min(whole, body) : Math.min(whole, BLOCK);
  }

  #begin(bytes: Buffer): void {
    needPlain(bytes);
    this.#entries = 0;
    this.#ended = false;
    const parser = new Parser({ strict: true, zstd: false });
    parser.on('error', (error: unknown) => (this.#error ??= badTar(messageOf(error), error)));
    parser.on('entry', (entry: ReadEntry) => this.#take(entry));
    parser.on('eof', () => (this.#ended = true));
    this.#parser = parser;
  }

  async #feed(bytes: Buffer): Promise<void> {
    this.#parser?.write(bytes);
    this.#check();
    // One entry's end and the next one's begin never come with one write (T1).
    const work = this.#work;
    this.#work = undefined;
    if (work) await work;
    if (this.#ended) await this.#complete();
  }

  #check(): void {
    const error = this.#error;
    if (error) throw error;
  }

  #take(entry: ReadEntry): void {
    this.#entry = entry;
    this.#entries += 1;
    const { path, type } = entry;
    if (!FILES.has(type)) {
      if (type === 'Directory' || type === 'GNUDumpDir') this.sink.directory(path);
      else this.sink.skipped(path, type);
      entry.on('end', () => (this.#entry = undefined));
      entry.resume();
      return;
    }
    this.sink.file(path);
    entry.on('data', (part) => {
      const room = this.sink.bytes(Buffer.from(part));
      if (room) this.#after(room);
    });
    entry.on('end', () => {
      this.#entry = undefined;
      const before = this.#work ?? Promise.resolve();
      this.#work = before.then(() => this.sink.fileEnd());
      this.#work.catch(() => undefined);
    });
  }

  #after(room: Promise<void>): void {
    this.#work = (this.#work ?? Promise.resolve()).then(() => room);
    this.#work.catch(() => undefined);
  }

  async #complete(): Promise<void> {
    const entries = this.#entries;
    this.#parser?.removeAllListeners();
    this.#parser = undefined;
    this.#entry = undefined;
    if (entries > 0) await this.sink.end();
  }
}

/** Zero blocks between archives belong to the one before. */
function withoutPadding(bytes: Buffer): Buffer {
  let at = 0;
  while (at + BLOCK <= bytes.length && bytes.subarray(at, at + BLOCK).equals(ZEROS)) at += BLOCK;
  return at === 0 ? bytes : bytes.subarray(at);
}

function needPlain(bytes: Buffer): void {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) {
    throw badTar('it is compressed with gzip; write a plain tar stream');
  }
}

const ZEROS = Buffer.alloc(BLOCK);

function badTar(why: string, cause?: unknown): Error {
  return invalidInput(`what the spout wrote to /pfs/out is no tar stream: ${why}`, { cause });
}
