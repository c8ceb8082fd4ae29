/** Growing buffers and cursors over bytes: the primitives of pages, runs and nodes. */
import { corruptData } from '../core/errors.js';
import { DIGEST_BYTES } from '../core/sha256.js';

/** Appends numbers and bytes to a buffer that grows; `take` hands out a copy and starts again. */
export class ByteWriter {
  #buffer: Buffer;
  #at = 0;

  constructor(capacity = 4096) {
    this.#buffer = Buffer.allocUnsafeSlow(capacity);
  }

  get length(): number {
    return this.#at;
  }

  u8(value: number): void {
    this.#room(1);
    this.#buffer[this.#at++] = value;
  }

  /** Unsigned LEB128, below 2^53. */
  varint(value: number): void {
    this.#room(8);
    const buffer = this.#buffer;
    while (value >= 0x80) {
      if (value < 0x80000000) {
        buffer[this.#at++] = (value & 0x7f) | 0x80;
        value >>>= 7;
      } else {
        buffer[this.#at++] = (value % 128) | 0x80;
        value = Math.floor(value / 128);
      }
    }
    buffer[this.#at++] = value;
  }

  bytes(value: Uint8Array): void {
    this.#room(value.length);
    this.#buffer.set(value, this.#at);
    this.#at += value.length;
  }

  u32(value: number): void {
    this.#room(4);
    this.#at = this.#buffer.writeUInt32LE(value, this.#at);
  }

  /** 48 bits, big endian. */
  u48(value: number): void {
    this.#room(6);
    this.#at = this.#buffer.writeUIntBE(value, this.#at, 6);
  }

  /** A latin1 string, from position `from`, without its length. */
  binary(text: string, from = 0): void {
    const length = text.length - from;
    this.#room(length);
    const buffer = this.#buffer;
    if (length > 48) {
      this.#at += buffer.write(from === 0 ? text : text.slice(from), this.#at, 'latin1');
      return;
    }
    let at = this.#at;
    for (let index = from; index < text.length; index += 1) buffer[at++] = text.charCodeAt(index);
    this.#at = at;
  }

  /** A view of what was written; good until the next write or reset. */
  view(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }

  reset(): void {
    this.#at = 0;
  }

  /** A copy of what was written; the writer starts again. */
  take(): Buffer {
    // Small copies come from the shared pool: a million inlined directories are made this way.
    const copy = this.#at > 1024 ? Buffer.allocUnsafeSlow(this.#at) : Buffer.allocUnsafe(this.#at);
    this.#buffer.copy(copy, 0, 0, this.#at);
    this.#at = 0;
    return copy;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, this.#at + bytes));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

/** Reads what ByteWriter wrote; anything that does not fit is CORRUPT_DATA. */
export class ByteReader {
  at: number;

  constructor(
    readonly buffer: Buffer,
    at = 0,
    readonly end = buffer.length,
  ) {
    this.at = at;
  }

  get done(): boolean {
    return this.at >= this.end;
  }

  u8(): number {
    if (this.at >= this.end) throw damaged();
    return this.buffer[this.at++] as number;
  }

  varint(): number {
    const buffer = this.buffer;
    let byte = this.at < this.end ? (buffer[this.at++] as number) : 0x80;
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let scale = 128;
    do {
      if (this.at >= this.end || scale > Number.MAX_SAFE_INTEGER) throw damaged();
      byte = buffer[this.at++] as number;
      value += (byte & 0x7f) * scale;
      scale *= 128;
    } while (byte >= 0x80);
    if (value > Number.MAX_SAFE_INTEGER) throw damaged();
    return value;
  }

  bytes(length: number): Buffer {
    this.#need(length);
    const view = this.buffer.subarray(this.at, this.at + length);
    this.at += length;
    return view;
  }

  digest(): Buffer {
    return this.bytes(DIGEST_BYTES);
  }

  u32(): number {
    this.#need(4);
    this.at += 4;
    return this.buffer.readUInt32LE(this.at - 4);
  }

  u48(): number {
    this.#need(6);
    this.at += 6;
    return this.buffer.readUIntBE(this.at - 6, 6);
  }

  binary(length: number): string {
    this.#need(length);
    this.at += length;
    return this.buffer.toString('latin1', this.at - length, this.at);
  }

  skip(length: number): void {
    this.#need(length);
    this.at += length;
  }

  #need(length: number): void {
    if (length > this.end - this.at) throw damaged();
  }
}

/** Bytes of a key that it shares with the key before it. */
export function sharedPrefix(before: string, key: string): number {
  const limit = Math.min(before.length, key.length);
  let at = 0;
  while (at < limit && before.charCodeAt(at) === key.charCodeAt(at)) at += 1;
  return at;
}

/** Writes a key front coded against the one before it. */
export function writeKey(out: ByteWriter, before: string, key: string): void {
  const prefix = sharedPrefix(before, key);
  out.varint(prefix);
  out.varint(key.length - prefix);
  out.binary(key, prefix);
}

/** Reads front-coded keys; one per page or block, since each key builds on the one before. */
export class KeyReader {
  #scratch = Buffer.allocUnsafe(256);
  #length = 0;

  next(reader: ByteReader): string {
    const prefix = reader.varint();
    const suffix = reader.varint();
    if (prefix > this.#length || suffix > reader.end - reader.at) throw damaged();
    const length = prefix + suffix;
    if (length > this.#scratch.length) {
      const larger = Buffer.allocUnsafe(length * 2);
      this.#scratch.copy(larger, 0, 0, prefix);
      this.#scratch = larger;
    }
    const { buffer, at } = reader;
    if (suffix > 24) buffer.copy(this.#scratch, prefix, at, at + suffix);
    else for (let i = 0; i < suffix; i += 1) this.#scratch[prefix + i] = buffer[at + i] as number;
    reader.at += suffix;
    this.#length = length;
    return this.#scratch.toString('latin1', 0, length);
  }
}

/** The error for bytes that are not what their format says. */
export function damaged(what = 'stored metadata'): Error {
  return corruptData(`${what} is damaged: its bytes do not follow the format`);
}
