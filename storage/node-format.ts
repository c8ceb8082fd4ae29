/**
 * Entries of directory pages and single nodes (docs/formats/tree.md). `directoryCodec` gives the
 * sorted map of names its meaning; `encodeNode` and `decodeNode` carry one node elsewhere.
 *
 * A file read from a page with its pieces in a list object has `list` set and no pieces: trees
 * resolve it before it leaves storage.
 */
import { corruptData, invariant } from '../core/errors.js';
import { ByteReader, ByteWriter, damaged, KeyReader, writeKey } from './bytes.js';
import {
  PlaceTable,
  readContent,
  readPieces,
  readPlaces,
  writeContent,
  writePieces,
} from './content-format.js';
import { wholeOf } from './edges.js';
import {
  INLINE_PIECES_MAX,
  INLINE_WEIGHT_MAX,
  ITEM_WEIGHT,
  PIECE_WEIGHT,
} from './page-boundary.js';
import { checkFormat, readRef, writeRef, type LeafBody, type PageCodec } from './page.js';
import { newSha256 } from '../core/sha256.js';
import type { DirEdges, DirNode, FileNode, TreeNode } from './types.js';

const NODE_MAGIC = 0x4e;
const NODE_VERSION = 1;
const FILE = 1;
const DIR = 2;
const MARK = 4;
const APART = 8;
const FLOOR = 16;
/** A file inherits header and footer; a directory has them. */
const EDGES = 32;
/** A file by itself that brings header and footer along. */
const WHOLE = 64;
const KNOWN = 127;

/** Commit ordinals of a page, told by index. */
class OrdinalTable {
  readonly #ordinals: number[] = [];
  readonly #indexes = new Map<number, number>();

  clear(): void {
    this.#ordinals.length = 0;
    this.#indexes.clear();
  }

  indexOf(ordinal: number): number {
    let index = this.#indexes.get(ordinal);
    if (index === undefined) {
      index = this.#ordinals.length;
      this.#ordinals.push(ordinal);
      this.#indexes.set(ordinal, index);
    }
    return index;
  }

  write(out: ByteWriter): void {
    out.varint(this.#ordinals.length);
    for (const ordinal of this.#ordinals) out.u48(ordinal);
  }
}

function readOrdinals(reader: ByteReader): number[] {
  const count = reader.varint();
  const ordinals: number[] = [];
  for (let index = 0; index < count; index += 1) ordinals.push(reader.u48());
  return ordinals;
}

/** Writes values of entries; the tables they refer to go before them. */
export class NodeWriter {
  readonly body = new ByteWriter(1024);
  readonly places = new PlaceTable();
  readonly #ordinals = new OrdinalTable();
  readonly #value = new ByteWriter(1024);

  clear(): void {
    this.body.reset();
    this.places.clear();
    this.#ordinals.clear();
  }

  /** Tables, then everything written to `body`. */
  finish(out: ByteWriter): void {
    this.#ordinals.write(out);
    this.places.write(out);
    out.bytes(this.body.view());
    this.clear();
  }

  /** A value with its length in front. */
  sized(node: TreeNode): void {
    const value = this.#value;
    value.reset();
    this.value(node, value);
    this.body.varint(value.length);
    this.body.bytes(value.view());
  }

  value(node: TreeNode, out: ByteWriter): void {
    if (node.type === 'file') this.#file(node, out);
    else this.#dir(node, out);
  }

  #file(node: FileNode, out: ByteWriter): void {
    const { list, edges } = node;
    const own = edges ? edges.body : node;
    const flags = (node.inherits ? EDGES : 0) | (edges ? WHOLE : 0);
    out.u8(FILE | (node.shared ? MARK : 0) | (list ? APART : 0) | flags);
    out.varint(this.#ordinals.indexOf(node.changed));
    out.varint(own.size);
    out.bytes(own.hash);
    if (list) writeRef(out, list);
    else writePieces(out, this.places, own);
    if (!edges) return;
    writeContent(out, this.places, edges.header);
    writeContent(out, this.places, edges.footer);
  }

  #dir(node: DirNode, out: ByteWriter): void {
    const { root, floor, edges } = node;
    const inline = 'inline' in root;
    const flags = (floor === undefined ? 0 : FLOOR) | (edges ? EDGES : 0);
    out.u8(DIR | (node.explicit ? MARK : 0) | (inline ? 0 : APART) | flags);
    out.varint(this.#ordinals.indexOf(node.changed));
    out.varint(node.size);
    out.varint(node.files);
    out.bytes(node.hash);
    if (floor !== undefined) out.varint(this.#ordinals.indexOf(floor));
    if (inline) {
      out.varint(root.inline.length);
      out.bytes(root.inline);
    } else {
      writeRef(out, root.page);
    }
    if (!edges) return;
    out.varint(edges.files);
    out.varint(this.#ordinals.indexOf(edges.changed));
    writeContent(out, this.places, edges.header);
    writeContent(out, this.places, edges.footer);
  }
}

/** Reads values of entries with the tables of their page. */
export class NodeReader {
  readonly ordinals: readonly number[];
  readonly places: ReturnType<typeof readPlaces>;

  constructor(reader: ByteReader) {
    this.ordinals = readOrdinals(reader);
    this.places = readPlaces(reader);
  }

  value(reader: ByteReader): TreeNode {
    const flags = reader.u8();
    if ((flags & ~KNOWN) !== 0) {
      throw corruptData('an entry was written by a newer release; upgrade this one', {
        fields: { flags },
      });
    }
    const changed = this.#ordinal(reader.varint());
    const marked = (flags & MARK) !== 0;
    const apart = (flags & APART) !== 0;
    if ((flags & 3) === FILE) return this.#file(reader, { changed, marked, apart, flags });
    if ((flags & 3) !== DIR) throw damaged();
    const size = reader.varint();
    const files = reader.varint();
    const hash = reader.digest();
    const floor = (flags & FLOOR) === 0 ? undefined : this.#ordinal(reader.varint());
    const root = apart
      ? { page: readRef(reader, 'page') }
      : { inline: reader.bytes(reader.varint()) };
    const edges = (flags & EDGES) === 0 ? undefined : this.#edges(reader);
    return {
      type: 'dir',
      size,
      files,
      hash,
      root,
      changed,
      ...(floor === undefined ? undefined : { floor }),
      ...(marked ? { explicit: true } : undefined),
      ...(edges ? { edges } : undefined),
    };
  }

  #edges(reader: ByteReader): DirEdges {
    const files = reader.varint();
    const changed = this.#ordinal(reader.varint());
    const header = readContent(reader, this.places);
    return { header, footer: readContent(reader, this.places), files, changed };
  }

  #file(
    reader: ByteReader,
    entry: { changed: number; marked: boolean; apart: boolean; flags: number },
  ): FileNode {
    const size = reader.varint();
    const hash = reader.digest();
    const { changed, flags } = entry;
    if (entry.apart) {
      const list = readRef(reader, 'blob');
      const shared = entry.marked;
      const file: FileNode = { type: 'file', size, hash, pieces: [], changed, list, shared };
      return (flags & EDGES) === 0 ? file : { ...file, inherits: true };
    }
    const pieces = readPieces(reader, this.places, { size, hash });
    const file: FileNode = entry.marked
      ? { type: 'file', size, hash, pieces, changed, shared: true }
      : { type: 'file', size, hash, pieces, changed };
    if ((flags & WHOLE) !== 0) {
      const header = readContent(reader, this.places);
      const footer = readContent(reader, this.places);
      return { ...file, ...wholeOf({ header, body: { size, hash, pieces }, footer }) };
    }
    return (flags & EDGES) === 0 ? file : { ...file, inherits: true };
  }

  #ordinal(index: number): number {
    const ordinal = this.ordinals[index];
    if (ordinal === undefined) throw damaged();
    return ordinal;
  }
}

/**
 * The size of an entry, read without making its node: that of a file, or -1 - size of a directory;
 * NaN for a file of which the entry does not hold everything.
 */
function peekSize(buffer: Buffer, start: number): number {
  const flags = buffer[start] as number;
  const file = (flags & 3) === FILE;
  if (file && (flags & (APART | EDGES | WHOLE)) !== 0) return Number.NaN;
  let at = start + 1;
  while ((buffer[at] as number) >= 0x80) at += 1;
  at += 1;
  let size = 0;
  for (let scale = 1; ; scale *= 128) {
    const byte = buffer[at++] as number;
    size += (byte & 0x7f) * scale;
    if (byte < 0x80) return file ? size : -1 - size;
  }
}

/** Shared: encoding never waits, so no two pages are in it at once. */
const writer = new NodeWriter();

/** Directories: maps of names to nodes. */
export const directoryCodec: PageCodec<TreeNode> = {
  flavor: 1,
  weight: (name, node) => ITEM_WEIGHT + name.length + nodeWeight(node),
  a: (node) => node.size,
  b: (node) => (node.type === 'file' ? 1 : node.files),
  encode(out, keys, values) {
    writer.clear();
    let before = '';
    for (let index = 0; index < keys.length; index += 1) {
      const key = keys[index] as string;
      writeKey(writer.body, before, key);
      writer.sized(values[index] as TreeNode);
      before = key;
    }
    writer.finish(out);
  },
  decode(reader, count): LeafBody<TreeNode> {
    const nodes = new NodeReader(reader);
    const names = new KeyReader();
    const keys: string[] = [];
    const starts: number[] = [];
    for (let index = 0; index < count; index += 1) {
      keys.push(names.next(reader));
      const length = reader.varint();
      starts.push(reader.at);
      reader.skip(length);
    }
    const { buffer } = reader;
    return {
      keys,
      value: (index) => nodes.value(new ByteReader(buffer, starts[index])),
      peek: (index) => peekSize(buffer, starts[index] as number),
    };
  },
  identify(out, _key, node) {
    out.u8(node.type === 'dir' ? DIR : node.inherits ? FILE | EDGES : FILE);
    out.varint(node.size);
    out.bytes(node.hash);
  },
};

/** One node by itself: commit roots, inputs of datums. A file must have all its pieces. */
export function encodeNode(node: TreeNode): Buffer {
  writer.clear();
  writer.value(
    node.type === 'file' && node.list ? { ...node, list: undefined } : node,
    writer.body,
  );
  const out = new ByteWriter(writer.body.length + 128);
  out.u8(NODE_MAGIC);
  out.u8(NODE_VERSION);
  writer.finish(out);
  return out.take();
}

/** Reads what encodeNode wrote; CORRUPT_DATA otherwise. */
export function decodeNode(bytes: Buffer): TreeNode {
  const reader = new ByteReader(bytes);
  checkFormat(reader, { magic: NODE_MAGIC, version: NODE_VERSION, what: 'a tree node' });
  return new NodeReader(reader).value(reader);
}

/** Weight of an inlined directory, read from its page's header. */
export function inlineWeight(page: Buffer): number {
  const reader = new ByteReader(page, 4);
  reader.varint();
  return reader.varint();
}

function nodeWeight(node: TreeNode): number {
  if (node.type === 'file') {
    if (node.list) return PIECE_WEIGHT;
    const { length } = node.pieces;
    invariant(length <= INLINE_PIECES_MAX, 'a long piece list needs its own object', { length });
    return length * PIECE_WEIGHT;
  }
  const { root, edges } = node;
  const pieces = edges ? edges.header.pieces.length + edges.footer.pieces.length : 0;
  if (!('inline' in root)) return pieces * PIECE_WEIGHT;
  const weight = inlineWeight(root.inline);
  invariant(weight <= INLINE_WEIGHT_MAX, 'an inlined directory is too large', { weight });
  return weight + pieces * PIECE_WEIGHT;
}

/** The page of a directory without entries. */
export const EMPTY_PAGE: Buffer = Buffer.from([0x50, 1, 1, 0, 0, 0, 0, 0]);

/** The directory without entries. */
export const EMPTY_DIR: DirNode = {
  type: 'dir',
  size: 0,
  files: 0,
  hash: newSha256()
    .update(Buffer.from([1, 1]))
    .digest(),
  root: { inline: EMPTY_PAGE },
  changed: 0,
};
