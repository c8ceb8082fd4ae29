/**
 * Gathers records into files: a file is closed after a record when it has enough records or enough
 * bytes; with neither limit every record is a file (the v1 split rules). Small files go straight to
 * the pack, growing ones are streamed, so memory stays bounded for any record size.
 *
 * The first records may be a header instead: they are gathered in one content of their own.
 */
import { invalidInput } from '../../../core/errors.js';
import { PACKED_BYTES_MAX, type ContentWriter, type FileSink } from '../../../storage/index.js';
import type { FileContent } from '../../../storage/types.js';

export interface GroupLimits {
  /** Records per file; 0 = no such limit. */
  readonly datums: number;
  /** Close a file once it holds this many bytes; 0 = no such limit. */
  readonly bytes: number;
}

/** What of a header or a footer one entry of a directory can hold. */
export const EDGE_BYTES_MAX = 64 * 1024 * 1024;

/** Throws INVALID_INPUT when a header or a footer is too long. */
export function checkEdge(what: 'header' | 'footer', bytes: number): void {
  if (bytes <= EDGE_BYTES_MAX) return;
  throw invalidInput(`the ${what} of a split is larger than ${EDGE_BYTES_MAX} bytes`);
}

export class RecordGrouper {
  readonly #writer: ContentWriter;
  readonly #limits: GroupLimits;
  readonly #onFile: (content: FileContent) => void | Promise<void>;
  #parts: Uint8Array[] = [];
  #bytes = 0;
  #datums = 0;
  #sink: FileSink | undefined;
  #header: FileSink | undefined;
  #headerBytes = 0;
  #headerLeft: number;

  /** The first `headerRecords` records become the header. */
  constructor(
    writer: ContentWriter,
    limits: GroupLimits,
    onFile: (content: FileContent) => void | Promise<void>,
    headerRecords = 0,
  ) {
    this.#headerLeft = headerRecords;
    this.#writer = writer;
    this.#limits = limits;
    this.#onFile = onFile;
  }

  /** Whether the current file ends with a record that brings `bytes` more. Counts the record. */
  closesWith(bytes: number): boolean {
    if (this.#headerLeft > 0) return true;
    const { datums, bytes: bytesMax } = this.#limits;
    this.#datums += 1;
    return (
      (datums === 0 && bytesMax === 0) ||
      (datums > 0 && this.#datums >= datums) ||
      (bytesMax > 0 && this.#bytes + bytes >= bytesMax)
    );
  }

  /** Adds bytes to the current file. They must not change until it is closed. */
  add(bytes: Uint8Array): void | Promise<void> {
    if (this.#headerLeft > 0) return this.addHeader(bytes);
    this.#bytes += bytes.byteLength;
    if (this.#sink) return this.#sink.write(bytes);
    this.#parts.push(bytes);
    if (this.#bytes < PACKED_BYTES_MAX && this.#parts.length < 4096) return undefined;
    return this.#stream();
  }

  /** Ends the current file with these last bytes. */
  close(last: Uint8Array): void | Promise<void> {
    if (this.#headerLeft > 0) {
      this.#headerLeft -= 1;
      return this.addHeader(last);
    }
    if (!this.#sink && this.#bytes + last.byteLength < PACKED_BYTES_MAX) {
      const bytes = this.#parts.length === 0 ? last : Buffer.concat([...this.#parts, last]);
      this.#reset();
      const done = this.#onFile(this.#writer.addSmall(bytes));
      const room = this.#writer.room();
      return done && room ? Promise.all([done, room]).then(() => undefined) : (done ?? room);
    }
    return this.#closeLarge(last);
  }

  /** At the end of the input: what is left becomes the last file. */
  async end(): Promise<void> {
    if (this.#bytes > 0) await this.close(new Uint8Array(0));
  }

  /** Adds to the header, before or among the records that belong to it. */
  addHeader(bytes: Uint8Array): void | Promise<void> {
    this.#headerBytes += bytes.byteLength;
    checkEdge('header', this.#headerBytes);
    this.#header ??= this.#writer.beginFile();
    return this.#header.write(bytes);
  }

  /** The header, when there was any of it. To be asked once, after `end`. */
  async header(): Promise<FileContent | undefined> {
    return this.#header?.end();
  }

  async #stream(): Promise<void> {
    const sink = this.#writer.beginFile();
    this.#sink = sink;
    const parts = this.#parts;
    this.#parts = [];
    for (const part of parts) await sink.write(part);
  }

  async #closeLarge(last: Uint8Array): Promise<void> {
    await this.add(last);
    if (!this.#sink) await this.#stream();
    const content = await this.#sink?.end();
    this.#reset();
    if (content) await this.#onFile(content);
  }

  #reset(): void {
    this.#parts = [];
    this.#bytes = 0;
    this.#datums = 0;
    this.#sink = undefined;
  }
}
