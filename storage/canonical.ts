/**
 * Concatenation of files in canonical form: the pieces (and so the hash) are those of one put of
 * the same bytes, whatever the history. Only bytes around the seams are read again: a boundary
 * depends on nothing before the last boundary, so old pieces are reused from the first boundary
 * that old and new cuts share.
 */
import { readContent, type ReadFrom } from './content-reader.js';
import { Chunker } from './chunker.js';
import { contentOf, EMPTY_CONTENT } from './content.js';
import type { ContentWriter } from './content-writer.js';
import { newSha256 } from '../core/sha256.js';
import type { FileContent, Piece, Wait } from './types.js';

/**
 * The content `contents[0] ‖ contents[1] ‖ …`. Every input must be canonical and stored. New pieces
 * go through `writer`, which the caller flushes.
 */
export async function concatenate(
  from: ReadFrom,
  contents: readonly FileContent[],
  writer: ContentWriter,
  wait: Wait,
): Promise<FileContent> {
  const full = contents.filter((content) => content.size > 0);
  if (full.length === 0) return EMPTY_CONTENT;
  if (full.length === 1) return full[0] as FileContent;
  const join = new Joiner(writer);
  for (const run of readRuns(full)) {
    if (run.reuse && join.atBoundary) {
      join.reuse(run.reuse);
      continue;
    }
    for await (const bytes of readContent(from, contentForReading(run.pieces), wait)) {
      await join.write(bytes);
    }
  }
  return contentOf(join.end());
}

interface Run {
  /** Set when this is one piece that ends at a true boundary if it starts at one. */
  readonly reuse?: Piece;
  readonly pieces: readonly Piece[];
}

/**
 * Cuts the inputs into single pieces that may be reused and stretches that must be read: the last
 * piece of each file but the last ends where the file ended, which is no boundary; neighbours of
 * that kind (many tiny appends) are read together.
 */
function* readRuns(contents: readonly FileContent[]): Generator<Run> {
  let tails: Piece[] = [];
  for (const [index, content] of contents.entries()) {
    const lastFile = index === contents.length - 1;
    for (const [at, piece] of content.pieces.entries()) {
      // Where a linked file ends is no boundary either, not even in front of itself.
      const linked = piece.location?.kind === 'x';
      const tail = linked || (at === content.pieces.length - 1 && !lastFile);
      if (tail) {
        tails.push(piece);
        continue;
      }
      if (tails.length > 0) yield { pieces: tails };
      tails = [];
      yield { reuse: piece, pieces: [piece] };
    }
  }
  if (tails.length > 0) yield { pieces: tails };
}

/** Only pieces and size matter to a reader. */
function contentForReading(pieces: readonly Piece[]): FileContent {
  const size = pieces.reduce((total, piece) => total + piece.size, 0);
  return { size, hash: Buffer.alloc(0), pieces };
}

class Joiner {
  readonly #chunker = new Chunker();
  readonly #pieces: Piece[] = [];
  #parts: Uint8Array[] = [];
  #hash = newSha256();

  constructor(readonly writer: ContentWriter) {}

  get atBoundary(): boolean {
    return this.#parts.length === 0;
  }

  reuse(piece: Piece): void {
    this.#pieces.push(piece);
  }

  async write(bytes: Uint8Array): Promise<void> {
    let from = 0;
    while (from < bytes.byteLength) {
      const cut = this.#chunker.next(bytes, from);
      const to = cut < 0 ? bytes.byteLength : cut;
      const part = bytes.subarray(from, to);
      this.#hash.update(part);
      this.#parts.push(part);
      if (cut >= 0) this.#endPiece();
      from = to;
    }
    await this.writer.room();
  }

  end(): readonly Piece[] {
    if (this.#parts.length > 0) this.#endPiece();
    return this.#pieces;
  }

  #endPiece(): void {
    this.#pieces.push(this.writer.storePiece(this.#parts, this.#hash.digest()));
    this.#parts = [];
    this.#hash = newSha256();
  }
}
