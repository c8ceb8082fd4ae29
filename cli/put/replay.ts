/** Standard input, the last bytes of which can be read once more. */

/** More than what can be on its way between two ends of a connection. */
const KEPT_BYTES = 64 * 1024 * 1024;

export class Replay implements AsyncIterableIterator<Buffer> {
  readonly #open: () => AsyncIterable<Uint8Array | string>;
  #source: AsyncIterator<Uint8Array | string> | undefined;
  readonly #keptMax: number;
  #kept: Buffer[] = [];
  /** Offset of the first kept byte, of the next one to hand out, of the next one to read. */
  #from = 0;
  #at = 0;
  #read = 0;

  /** Opens the source when the first byte is wanted. */
  constructor(open: () => AsyncIterable<Uint8Array | string>, keptMax = KEPT_BYTES) {
    this.#open = open;
    this.#keptMax = keptMax;
  }

  /** Whether the next byte can be the one at this offset; then it is. */
  rewind(offset: number): boolean {
    if (offset < this.#from || offset > this.#read) return false;
    this.#at = offset;
    return true;
  }

  async next(): Promise<IteratorResult<Buffer>> {
    if (this.#at < this.#read) return { done: false, value: this.#again() };
    this.#source ??= this.#open()[Symbol.asyncIterator]();
    const next = await this.#source.next();
    if (next.done === true) return { done: true, value: undefined };
    const bytes =
      typeof next.value === 'string' ? Buffer.from(next.value) : Buffer.from(next.value);
    this.#kept.push(bytes);
    this.#read += bytes.length;
    this.#at = this.#read;
    for (let first = this.#kept[0]; first && this.#spare(first); first = this.#kept[0]) {
      this.#from += first.length;
      this.#kept.shift();
    }
    return { done: false, value: bytes };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #spare(first: Buffer): boolean {
    return this.#read - this.#from - first.length >= this.#keptMax;
  }

  /** The rest of the kept buffer that holds the next byte. */
  #again(): Buffer {
    let start = this.#from;
    for (const bytes of this.#kept) {
      const end = start + bytes.length;
      if (this.#at < end) {
        const rest = bytes.subarray(this.#at - start);
        this.#at = end;
        return rest;
      }
      start = end;
    }
    throw new RangeError(`offset ${this.#at} is not kept`);
  }
}
