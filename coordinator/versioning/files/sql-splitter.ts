/**
 * Cuts a pg_dump of one table into its rows. What stands before the rows, through the COPY line, is
 * the header of every file, what follows them, from the `\\.` line on, the footer.
 */
import { invalidInput } from '../../../core/errors.js';
import type { ContentWriter, FileSink } from '../../../storage/index.js';
import type { FileContent } from '../../../storage/types.js';
import type { Splitter } from './line-splitter.js';
import { checkEdge, type RecordGrouper } from './record-grouper.js';

const NEWLINE = 10;
const RETURN = 13;
const LINE_BYTES_MAX = 64 * 1024 * 1024;
const COPY = Buffer.from('COPY');
const LAST = Buffer.from('\\.\n');

export class SqlSplitter implements Splitter {
  readonly #files: RecordGrouper;
  readonly #writer: ContentWriter;
  #state: 'header' | 'rows' | 'footer' = 'header';
  /** A line that is not complete yet. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #footer: FileSink | undefined;
  #footerBytes = 0;

  constructor(files: RecordGrouper, writer: ContentWriter) {
    this.#files = files;
    this.#writer = writer;
  }

  async write(bytes: Buffer): Promise<void> {
    let from = 0;
    while (this.#state !== 'footer') {
      const at = bytes.indexOf(NEWLINE, from);
      if (at < 0) break;
      await this.#line(this.#whole(bytes.subarray(from, at + 1)));
      from = at + 1;
    }
    if (from === bytes.length) return;
    const rest = bytes.subarray(from);
    if (this.#state === 'footer') await this.#addFooter(rest);
    else this.#hold(rest);
  }

  async end(): Promise<void> {
    const rest = this.#whole(Buffer.alloc(0));
    if (rest.length > 0) await this.#line(rest);
    if (this.#state === 'header') throw invalidInput('invalid header - missing row inserts');
    if (this.#state === 'rows') throw invalidInput('invalid pgdump - missing footer');
    await this.#files.end();
  }

  /** To be asked once, after `end`. */
  async footer(): Promise<FileContent | undefined> {
    return this.#footer?.end();
  }

  async #line(line: Buffer): Promise<void> {
    if (this.#state === 'header') {
      await this.#files.addHeader(line);
      if (line.subarray(0, COPY.length).equals(COPY)) this.#state = 'rows';
      return;
    }
    const row = withoutReturn(line);
    if (row.equals(LAST)) {
      this.#state = 'footer';
      await this.#addFooter(line);
      return;
    }
    if (row[row.length - 1] !== NEWLINE) throw invalidInput('invalid pgdump - missing footer');
    if (this.#files.closesWith(row.length)) await this.#files.close(row);
    else await this.#files.add(row);
  }

  async #addFooter(bytes: Buffer): Promise<void> {
    this.#footerBytes += bytes.length;
    checkEdge('footer', this.#footerBytes);
    this.#footer ??= this.#writer.beginFile();
    await this.#footer.write(bytes);
  }

  #hold(part: Buffer): void {
    this.#parts.push(part);
    this.#partBytes += part.length;
    if (this.#partBytes > LINE_BYTES_MAX) {
      throw invalidInput(`a row of the dump is larger than ${LINE_BYTES_MAX} bytes`);
    }
  }

  #whole(end: Buffer): Buffer {
    if (this.#parts.length === 0) return end;
    const line = Buffer.concat([...this.#parts, end]);
    this.#parts = [];
    this.#partBytes = 0;
    return line;
  }
}

/** A last line may lack its line end; `\\.` counts without it. */
function withoutReturn(line: Buffer): Buffer {
  const { length } = line;
  if (line[length - 1] === NEWLINE && line[length - 2] === RETURN) {
    return Buffer.concat([line.subarray(0, length - 2), LAST.subarray(2)]);
  }
  return length === 2 && line.equals(LAST.subarray(0, 2)) ? LAST : line;
}
