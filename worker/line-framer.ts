/** Cuts a stream of bytes into lines of text. One per output pipe. */
import { StringDecoder } from 'node:string_decoder';

export class LineFramer {
  #rest = '';
  #decoder = new StringDecoder('utf8');

  constructor(
    readonly lineBytesMax: number,
    readonly onLine: (line: string) => void,
  ) {}

  /** Takes the next bytes; calls `onLine` for every line that is complete, without its newline. */
  push(bytes: Buffer): void {
    const text = this.#rest + this.#decoder.write(bytes);
    let start = 0;
    for (let end = text.indexOf('\n'); end >= 0; end = text.indexOf('\n', start)) {
      this.#emit(text.slice(start, text[end - 1] === '\r' && end > start ? end - 1 : end));
      start = end + 1;
    }
    this.#rest = text.slice(start);
    while (this.#rest.length > this.lineBytesMax) {
      this.onLine(this.#rest.slice(0, this.lineBytesMax));
      this.#rest = this.#rest.slice(this.lineBytesMax);
    }
  }

  /** No more bytes of this run: a last line without newline counts as a line. */
  end(): void {
    const last = this.#rest + this.#decoder.end();
    this.#rest = '';
    if (last !== '') this.#emit(last);
  }

  #emit(line: string): void {
    if (line.length <= this.lineBytesMax) return this.onLine(line);
    for (let at = 0; at < line.length; at += this.lineBytesMax) {
      this.onLine(line.slice(at, at + this.lineBytesMax));
    }
  }
}
