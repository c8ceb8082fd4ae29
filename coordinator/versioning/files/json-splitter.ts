/**
 * Cuts a stream of JSON values (objects, arrays, strings, numbers, literals, with or without white
 * space between them) into records: the exact text of each top-level value.
 */
import { invalidInput, messageOf } from '../../../core/errors.js';
import type { Splitter } from './line-splitter.js';
import type { RecordGrouper } from './record-grouper.js';

/** A value is parsed to check it, so it must fit in memory a few times over. */
const VALUE_BYTES_MAX = 64 * 1024 * 1024;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

type State = 'between' | 'nested' | 'string' | 'scalar';

export class JsonSplitter implements Splitter {
  readonly #files: RecordGrouper;
  #state: State = 'between';
  #depth = 0;
  #inString = false;
  #escaped = false;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(files: RecordGrouper) {
    this.#files = files;
  }

  async write(bytes: Buffer): Promise<void> {
    let from = this.#state === 'between' ? -1 : 0;
    for (let at = 0; at < bytes.length; at += 1) {
      const byte = bytes[at] as number;
      if (this.#state === 'scalar' && endsScalar(byte)) {
        await this.#emit(bytes.subarray(from, at));
        from = -1;
      }
      if (this.#state === 'between') {
        if (isSpace(byte)) continue;
        from = at;
        this.#begin(byte);
      } else if (this.#step(byte)) {
        await this.#emit(bytes.subarray(from, at + 1));
        from = -1;
      }
    }
    if (from >= 0) this.#hold(bytes.subarray(from));
  }

  async end(): Promise<void> {
    if (this.#state === 'scalar') await this.#emit(Buffer.alloc(0));
    if (this.#state !== 'between') throw invalidInput('unexpected EOF');
    await this.#files.end();
  }

  #begin(byte: number): void {
    if (byte === QUOTE) {
      this.#state = 'string';
      this.#inString = true;
    } else if (byte === 0x7b || byte === 0x5b) {
      this.#state = 'nested';
      this.#depth = 1;
    } else this.#state = 'scalar';
  }

  /** Takes the next byte of a value; true when it is the value's last. */
  #step(byte: number): boolean {
    if (this.#inString) {
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) {
        this.#inString = false;
        return this.#state === 'string';
      }
      return false;
    }
    if (byte === QUOTE) this.#inString = true;
    else if (byte === 0x7b || byte === 0x5b) this.#depth += 1;
    else if (byte === 0x7d || byte === 0x5d) this.#depth -= 1;
    return this.#state === 'nested' && this.#depth === 0;
  }

  #hold(part: Buffer): void {
    this.#parts.push(part);
    this.#bytes += part.length;
    if (this.#bytes > VALUE_BYTES_MAX) {
      throw invalidInput(`a JSON value is larger than ${VALUE_BYTES_MAX} bytes: split it yourself`);
    }
  }

  async #emit(last: Buffer): Promise<void> {
    this.#hold(last);
    const value = this.#parts.length === 1 ? last : Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    this.#state = 'between';
    try {
      JSON.parse(value.toString());
    } catch (error) {
      throw invalidInput(`invalid JSON: ${messageOf(error)}`, { cause: error });
    }
    if (this.#files.closesWith(value.length)) await this.#files.close(value);
    else await this.#files.add(value);
  }
}

function isSpace(byte: number): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
}

/** White space, or the start of another value. */
function endsScalar(byte: number): boolean {
  return isSpace(byte) || byte === QUOTE || byte === 0x7b || byte === 0x5b;
}
