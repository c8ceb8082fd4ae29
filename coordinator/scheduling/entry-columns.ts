/**
 * Very many keys with their values in little memory: the bytes lie one after the other in large
 * buffers, 16 bytes a row say where. A million datums as objects were 600 MiB (measured), and
 * sorting those held up the event loop for seconds.
 */
import type { Wait } from '../../storage/types.js';
import type { KeyValue } from './carry.js';
import { sortedOrder } from './file-columns.js';

const CHUNK_BYTES = 4 * 1024 * 1024;
const ROWS_FIRST = 1024;

/** Entries that are made when they are asked for. */
export interface EntryList extends Iterable<KeyValue> {
  readonly length: number;
}

export class EntryColumns implements EntryList {
  readonly #chunks: Buffer[] = [];
  #used = CHUNK_BYTES;
  /** Per row: chunk, offset, bytes of the key, bytes of the value. */
  #rows = new Uint32Array(ROWS_FIRST * 4);
  #length = 0;
  #ascends = true;
  /** Rows in key order; undefined = as they came. */
  #order: Uint32Array | undefined;

  get length(): number {
    return this.#length;
  }

  /** Adds an entry; its bytes are copied. */
  add(key: Buffer, value: Buffer): void {
    const bytes = key.length + value.length;
    if (this.#used + bytes > (this.#chunks.at(-1)?.length ?? 0)) {
      this.#chunks.push(Buffer.allocUnsafeSlow(Math.max(CHUNK_BYTES, bytes)));
      this.#used = 0;
    }
    const chunk = this.#chunks.length - 1;
    const target = this.#chunks[chunk] as Buffer;
    key.copy(target, this.#used);
    value.copy(target, this.#used + key.length);
    this.#reserve();
    this.#rows.set([chunk, this.#used, key.length, value.length], this.#length * 4);
    this.#used += bytes;
    this.#length += 1;
    this.#order = undefined;
    const row = this.#length - 1;
    if (this.#ascends && row > 0) this.#ascends = this.#compare(row - 1, row) < 0;
  }

  /** Puts the entries in key order; other work runs meanwhile. */
  async sort(wait: Wait): Promise<this> {
    if (!this.#ascends) {
      this.#order = await sortedOrder(this.#length, (a, b) => this.#compare(a, b), wait);
    }
    return this;
  }

  *[Symbol.iterator](): Generator<KeyValue> {
    for (let place = 0; place < this.#length; place += 1) {
      yield this.#entry(this.#order ? (this.#order[place] as number) : place);
    }
  }

  #entry(row: number): KeyValue {
    const [chunk, start, key, value] = this.#place(row);
    const middle = start + key;
    return { key: chunk.subarray(start, middle), value: chunk.subarray(middle, middle + value) };
  }

  #compare(a: number, b: number): number {
    const [chunkA, startA, keyA] = this.#place(a);
    const [chunkB, startB, keyB] = this.#place(b);
    return chunkA.compare(chunkB, startB, startB + keyB, startA, startA + keyA);
  }

  #place(row: number): readonly [chunk: Buffer, start: number, key: number, value: number] {
    const at = row * 4;
    const number = (column: number): number => this.#rows[at + column] as number;
    return [this.#chunks[number(0)] as Buffer, number(1), number(2), number(3)];
  }

  #reserve(): void {
    if (this.#rows.length > this.#length * 4) return;
    const larger = new Uint32Array(this.#rows.length * 2);
    larger.set(this.#rows);
    this.#rows = larger;
  }
}
