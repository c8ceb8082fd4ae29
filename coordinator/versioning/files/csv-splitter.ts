/**
 * Cuts CSV into rows: line ends inside quotes belong to the field, blank lines are dropped. Rows
 * are written anew: comma, `\n`, quotes only where a field needs them.
 */
import { invalidInput } from '../../../core/errors.js';
import type { Splitter } from './line-splitter.js';
import type { RecordGrouper } from './record-grouper.js';

const ROW_CHARS_MAX = 64 * 1024 * 1024;

type State = 'rowStart' | 'fieldStart' | 'plain' | 'quoted' | 'quoteSeen';

export class CsvSplitter implements Splitter {
  readonly #files: RecordGrouper;
  #state: State = 'rowStart';
  #fields: string[] = [];
  #field = '';
  #rowChars = 0;
  #line = 1;
  #column = 0;
  /** A `\r` whose next character is not known yet. */
  #return = false;

  constructor(files: RecordGrouper) {
    this.#files = files;
  }

  async write(bytes: Buffer): Promise<void> {
    // latin1 keeps every byte one character, whatever the encoding of the text is.
    const text = bytes.toString('latin1');
    for (let at = 0; at < text.length; at += 1) {
      const char = text[at] as string;
      if (this.#return) {
        this.#return = false;
        if (char !== '\n') this.#take('\r');
      }
      if (char === '\r') {
        this.#return = true;
        continue;
      }
      this.#column += 1;
      this.#take(char);
      if (char === '\n') {
        this.#line += 1;
        this.#column = 0;
        if (this.#state === 'rowStart') await this.#endRow();
      }
    }
  }

  async end(): Promise<void> {
    // A lone `\r` at the very end counts as a line end.
    this.#return = false;
    if (this.#state === 'quoted') throw this.#error('extraneous or missing " in quoted-field');
    if (this.#state !== 'rowStart') {
      this.#fields.push(this.#field);
      await this.#endRow();
    }
    await this.#files.end();
  }

  #take(char: string): void {
    if (this.#state === 'quoted') {
      if (char === '"') this.#state = 'quoteSeen';
      else this.#add(char);
      return;
    }
    if (char === ',' || char === '\n') {
      // A line end right at the start of a row is a blank line, and no row.
      const blank = char === '\n' && this.#state === 'rowStart';
      if (!blank) this.#fields.push(this.#field);
      this.#field = '';
      this.#state = char === ',' ? 'fieldStart' : 'rowStart';
      return;
    }
    if (this.#state === 'quoteSeen') {
      if (char !== '"') throw this.#error('extraneous or missing " in quoted-field');
      this.#add('"');
      this.#state = 'quoted';
      return;
    }
    if (char === '"') {
      if (this.#state === 'plain') throw this.#error('bare " in non-quoted-field');
      this.#state = 'quoted';
      return;
    }
    this.#state = 'plain';
    this.#add(char);
  }

  #add(char: string): void {
    this.#field += char;
    this.#rowChars += 1;
    if (this.#rowChars > ROW_CHARS_MAX) throw this.#error(`row larger than ${ROW_CHARS_MAX} bytes`);
  }

  async #endRow(): Promise<void> {
    const fields = this.#fields;
    this.#fields = [];
    this.#field = '';
    this.#rowChars = 0;
    this.#state = 'rowStart';
    if (fields.length === 0) return;
    const row = Buffer.from(`${fields.map(encodeField).join(',')}\n`, 'latin1');
    if (this.#files.closesWith(row.length)) await this.#files.close(row);
    else await this.#files.add(row);
  }

  #error(what: string): Error {
    return invalidInput(`parse error on line ${this.#line}, column ${this.#column}: ${what}`);
  }
}

function encodeField(field: string): string {
  const quote = /[,"\r\n]|^\s/.test(field) || field === '\\.';
  return quote ? `"${field.replaceAll('"', '""')}"` : field;
}
