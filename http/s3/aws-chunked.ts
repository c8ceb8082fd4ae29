/**
 * Takes the `aws-chunked` framing off an upload: `SIZE[;chunk-signature=…]\r\n DATA \r\n` repeated,
 * a chunk of size 0, trailers. Memory is one line; data passes through as it comes.
 *
 * Throws unless the frame is complete: what breaks off, or goes on behind its end, is no upload.
 */
import { S3Error } from './s3-error.js';

export interface ChunkedOptions {
  /** Every chunk must carry a signature. */
  readonly signed: boolean;
  readonly onTrailer: (name: string, value: string) => void;
}

const LINE_BYTES_MAX = 8 * 1024;
const TRAILERS_MAX = 32;
const LF = 10;

type State = 'size' | 'data' | 'data-end' | 'trailer' | 'end';

export async function* decodeAwsChunked(
  source: AsyncIterable<Buffer>,
  options: ChunkedOptions,
): AsyncGenerator<Buffer> {
  const frame = new Frame(options);
  for await (const part of source) yield* frame.take(part);
  frame.end();
}

class Frame {
  #state: State = 'size';
  #left = 0;
  #line: Buffer = Buffer.alloc(0);
  #trailers = 0;

  constructor(readonly options: ChunkedOptions) {}

  *take(part: Buffer): Generator<Buffer> {
    let at = 0;
    while (at < part.length) {
      if (this.#state === 'data') {
        const to = Math.min(part.length, at + this.#left);
        yield part.subarray(at, to);
        this.#left -= to - at;
        at = to;
        if (this.#left === 0) this.#state = 'data-end';
        continue;
      }
      const end = part.indexOf(LF, at);
      const piece = part.subarray(at, end < 0 ? part.length : end + 1);
      at += piece.length;
      this.#line = this.#line.length === 0 ? piece : Buffer.concat([this.#line, piece]);
      if (this.#line.length > LINE_BYTES_MAX) throw malformed('a line is too long');
      if (end < 0) continue;
      const text = this.#line.toString('latin1').replace(/\r?\n$/, '');
      this.#line = Buffer.alloc(0);
      this.#takeLine(text);
    }
  }

  end(): void {
    // The last empty line is left out by some clients; a line begun is not.
    const complete =
      this.#line.length === 0 && (this.#state === 'end' || this.#state === 'trailer');
    if (!complete) {
      throw new S3Error(
        'IncompleteBody',
        400,
        'The request body terminated unexpectedly: its last chunk is missing',
      );
    }
  }

  #takeLine(text: string): void {
    switch (this.#state) {
      case 'size':
        this.#begin(text);
        return;
      case 'data-end':
        if (text !== '') throw malformed('a chunk is longer than it says');
        this.#state = 'size';
        return;
      case 'trailer':
        this.#trailer(text);
        return;
      case 'end':
        throw malformed('there is more behind the last chunk');
      case 'data':
        return;
    }
  }

  #begin(text: string): void {
    const [size = '', ...extensions] = text.split(';');
    if (!/^[0-9a-fA-F]{1,12}$/.test(size.trim())) throw malformed('a chunk has no size');
    const signature = extensions
      .map((extension) => extension.trim())
      .find((extension) => extension.startsWith('chunk-signature='));
    if (this.options.signed && !/^chunk-signature=[0-9a-f]{64}$/.test(signature ?? '')) {
      throw malformed('a chunk has no signature');
    }
    this.#left = Number.parseInt(size, 16);
    this.#state = this.#left === 0 ? 'trailer' : 'data';
  }

  #trailer(text: string): void {
    if (text === '') {
      this.#state = 'end';
      return;
    }
    this.#trailers += 1;
    const colon = text.indexOf(':');
    if (colon < 1 || this.#trailers > TRAILERS_MAX) {
      throw new S3Error('MalformedTrailerError', 400, 'The request contained a malformed trailer');
    }
    this.options.onTrailer(text.slice(0, colon).trim().toLowerCase(), text.slice(colon + 1).trim());
  }
}

function malformed(why: string): S3Error {
  return new S3Error('InvalidRequest', 400, `The aws-chunked body is malformed: ${why}`);
}
