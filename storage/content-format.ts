/**
 * File contents as pages, runs and nodes store them: pieces with their places, told by a table of
 * packs so that an extent costs a few bytes (docs/formats/tree.md).
 */
import { invariant } from '../core/errors.js';
import { ByteReader, ByteWriter, damaged } from './bytes.js';
import { checkFormat } from './page.js';
import type { FileContent, Piece, PieceLocation } from './types.js';

const LIST_MAGIC = 0x4c;
const LIST_VERSION = 1;
const CHUNK = 0x63;
const PACK = 0x70;
const LINK = 0x78;
const CODES = { c: CHUNK, p: PACK, x: LINK } as const;

type Place = Pick<PieceLocation, 'kind' | 'epoch' | 'digest'>;

/** Collects the packs that a page's pieces lie in; `write` puts the table. */
export class PlaceTable {
  readonly #places: Place[] = [];
  readonly #indexes = new Map<string, number>();
  #last: Place | undefined;
  #lastIndex = 0;

  clear(): void {
    this.#places.length = 0;
    this.#indexes.clear();
    this.#last = undefined;
  }

  /** Index of a place, added when new. Neighbours mostly lie in one pack. */
  indexOf(place: Place): number {
    const last = this.#last;
    if (
      last &&
      last.kind === place.kind &&
      last.epoch === place.epoch &&
      (last.digest === place.digest || last.digest.equals(place.digest))
    ) {
      return this.#lastIndex;
    }
    const text = `${place.kind}${place.epoch}/${place.digest.toString('latin1')}`;
    let index = this.#indexes.get(text);
    if (index === undefined) {
      index = this.#places.length;
      this.#places.push(place);
      this.#indexes.set(text, index);
    }
    this.#last = place;
    this.#lastIndex = index;
    return index;
  }

  write(out: ByteWriter): void {
    out.varint(this.#places.length);
    for (const place of this.#places) {
      out.u8(CODES[place.kind]);
      out.varint(place.epoch);
      out.bytes(place.digest);
    }
  }
}

/** Reads the table that PlaceTable wrote. */
export function readPlaces(reader: ByteReader): Place[] {
  const count = reader.varint();
  const places: Place[] = [];
  for (let index = 0; index < count; index += 1) {
    const code = reader.u8();
    if (code !== CHUNK && code !== PACK && code !== LINK) throw damaged();
    const kind = code === CHUNK ? 'c' : code === PACK ? 'p' : 'x';
    places.push({ kind, epoch: reader.varint(), digest: reader.digest() });
  }
  return places;
}

/** `varint size, hash, varint n, pieces`. */
export function writeContent(out: ByteWriter, table: PlaceTable, content: FileContent): void {
  out.varint(content.size);
  out.bytes(content.hash);
  writePieces(out, table, content);
}

/** `varint n, pieces`; the hash and size of an only piece are the content's. */
export function writePieces(out: ByteWriter, table: PlaceTable, content: FileContent): void {
  const { pieces } = content;
  out.varint(pieces.length);
  if (pieces.length === 1) {
    const only = pieces[0] as Piece;
    invariant(only.size === content.size, 'size of an only piece', { size: content.size });
    writePlace(out, table, only);
    return;
  }
  for (const piece of pieces) writePiece(out, table, piece);
}

/** Reads what writeContent wrote. */
export function readContent(reader: ByteReader, places: readonly Place[]): FileContent {
  const size = reader.varint();
  const hash = reader.digest();
  return { size, hash, pieces: readPieces(reader, places, { size, hash }) };
}

/** Reads what writePieces wrote. */
export function readPieces(
  reader: ByteReader,
  places: readonly Place[],
  content: { size: number; hash: Buffer },
): Piece[] {
  const count = reader.varint();
  if (count === 0) return [];
  if (count === 1) {
    const { hash, size } = content;
    return [{ hash, size, location: readPlace(reader, places, hash) }];
  }
  const pieces: Piece[] = [];
  for (let index = 0; index < count; index += 1) pieces.push(readPiece(reader, places));
  return pieces;
}

/** The object that holds the pieces of a file with many of them. */
export function encodePieceList(pieces: readonly Piece[]): Buffer {
  const table = new PlaceTable();
  const body = new ByteWriter(pieces.length * 48 + 64);
  body.varint(pieces.length);
  for (const piece of pieces) writePiece(body, table, piece);
  const out = new ByteWriter(body.length + 256);
  out.u8(LIST_MAGIC);
  out.u8(LIST_VERSION);
  table.write(out);
  out.bytes(body.view());
  return out.take();
}

/** Reads a piece list object. */
export function decodePieceList(bytes: Buffer): Piece[] {
  const reader = new ByteReader(bytes);
  checkFormat(reader, { magic: LIST_MAGIC, version: LIST_VERSION, what: 'a piece list' });
  const places = readPlaces(reader);
  const count = reader.varint();
  const pieces: Piece[] = [];
  for (let index = 0; index < count; index += 1) pieces.push(readPiece(reader, places));
  return pieces;
}

function writePiece(out: ByteWriter, table: PlaceTable, piece: Piece): void {
  out.bytes(piece.hash);
  out.varint(piece.size);
  writePlace(out, table, piece);
}

function readPiece(reader: ByteReader, places: readonly Place[]): Piece {
  const hash = reader.digest();
  return { hash, size: reader.varint(), location: readPlace(reader, places, hash) };
}

function writePlace(out: ByteWriter, table: PlaceTable, piece: Piece): void {
  const { location } = piece;
  invariant(location, 'a piece must be stored before its reference is');
  if (location.kind === 'c' && location.offset === 0 && location.digest.equals(piece.hash)) {
    out.varint(0);
    out.varint(location.epoch);
    return;
  }
  out.varint(table.indexOf(location) + 1);
  out.varint(location.offset);
}

function readPlace(reader: ByteReader, places: readonly Place[], hash: Buffer): PieceLocation {
  const index = reader.varint();
  if (index === 0) return { kind: 'c', epoch: reader.varint(), digest: hash, offset: 0 };
  const place = places[index - 1];
  if (!place) throw damaged();
  return { kind: place.kind, epoch: place.epoch, digest: place.digest, offset: reader.varint() };
}
