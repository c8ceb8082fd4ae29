/** Pages of sorted maps: encoding, decoding and the two digests (docs/formats/tree.md). */
import { corruptData } from '../core/errors.js';
import { newSha256, sha256 } from '../core/sha256.js';
import type { ByteWriter } from './bytes.js';
import { ByteReader, damaged, KeyReader, writeKey } from './bytes.js';
import { ITEM_WEIGHT } from './page-boundary.js';
import type { ObjectKind, ObjectRef } from './types.js';

const MAGIC = 0x50;
const VERSION = 1;

/** How a map's values weigh, hash and are stored. Keys are latin1 strings throughout. */
export interface PageCodec<V> {
  readonly flavor: 1 | 2;
  weight(key: string, value: V): number;
  /** What totals `a` and `b` of index items add up. */
  a(value: V): number;
  b(value: V): number;
  encode(out: ByteWriter, keys: readonly string[], values: readonly V[]): void;
  decode(reader: ByteReader, count: number): LeafBody<V>;
  /** Adds what identifies the entry's content. */
  identify(out: ByteWriter, key: string, value: V): void;
}

export interface LeafBody<V> {
  readonly keys: readonly string[];
  value(index: number): V;
  /** A look at the stored value without making it; what it tells is the codec's matter. */
  readonly peek?: (index: number) => number;
}

/** A page below an index page. */
export interface PageChild {
  /** Last key of the page. */
  readonly key: string;
  readonly ref: ObjectRef;
  /** Content digest. */
  readonly digest: Buffer;
  readonly entries: number;
  readonly a: number;
  readonly b: number;
}

export interface LeafPage<V> extends LeafBody<V> {
  readonly level: 0;
  readonly weight: number;
}

export interface IndexPage {
  readonly level: number;
  readonly weight: number;
  readonly keys: readonly string[];
  readonly children: readonly PageChild[];
}

export type Page<V> = LeafPage<V> | IndexPage;

export function isLeaf<V>(page: Page<V>): page is LeafPage<V> {
  return page.level === 0;
}

/** Weight of an index item. */
export function childWeight(child: PageChild): number {
  return ITEM_WEIGHT + child.key.length;
}

/** Bytes of a leaf page. */
export function encodeLeaf<V>(
  codec: PageCodec<V>,
  page: { keys: readonly string[]; values: readonly V[]; weight: number },
  out: ByteWriter,
): Buffer {
  header(out, { flavor: codec.flavor, level: 0, count: page.keys.length, weight: page.weight });
  codec.encode(out, page.keys, page.values);
  return out.take();
}

/** Bytes of an index page. */
export function encodeIndex(
  flavor: number,
  page: { level: number; children: readonly PageChild[]; weight: number },
  out: ByteWriter,
): Buffer {
  const { level, weight, children } = page;
  header(out, { flavor, level, count: children.length, weight });
  let before = '';
  for (const child of children) {
    writeKey(out, before, child.key);
    writeRef(out, child.ref);
    out.bytes(child.digest);
    out.varint(child.entries);
    out.varint(child.a);
    out.varint(child.b);
    before = child.key;
  }
  return out.take();
}

/** Content digest of a leaf page. `scratch` is overwritten. */
export function digestLeaf<V>(
  codec: PageCodec<V>,
  keys: readonly string[],
  values: readonly V[],
  scratch: ByteWriter,
): Buffer {
  scratch.reset();
  scratch.u8(1);
  scratch.u8(codec.flavor);
  for (let index = 0; index < keys.length; index += 1) {
    const key = keys[index] as string;
    scratch.varint(key.length);
    scratch.binary(key);
    codec.identify(scratch, key, values[index] as V);
  }
  const digest = sha256(scratch.view());
  scratch.reset();
  return digest;
}

/** Content digest of an index page. */
export function digestIndex(flavor: number, level: number, children: readonly PageChild[]): Buffer {
  const hash = newSha256().update(Buffer.from([2, flavor, level]));
  for (const child of children) hash.update(child.digest);
  return hash.digest();
}

/** Reads a page; CORRUPT_DATA for anything that is not a page of this flavor and version. */
export function decodePage<V>(codec: PageCodec<V>, bytes: Buffer): Page<V> {
  const reader = new ByteReader(bytes);
  checkFormat(reader, { magic: MAGIC, version: VERSION, what: 'a page' });
  if (reader.u8() !== codec.flavor) throw damaged('a page');
  const level = reader.u8();
  const count = reader.varint();
  const weight = reader.varint();
  // Every item takes two bytes and more: a count above that would only reserve memory.
  if (count * 2 > bytes.length) throw damaged('a page');
  if (level > 0) return decodeIndex(reader, { level, count, weight });
  const body = codec.decode(reader, count);
  const { peek } = body;
  const value = (index: number): V => body.value(index);
  return { level: 0, weight, keys: body.keys, value, ...(peek ? { peek } : undefined) };
}

/** The fixed first two bytes of everything we store. */
export function checkFormat(
  reader: ByteReader,
  format: { magic: number; version: number; what: string },
): void {
  if (reader.u8() !== format.magic) throw damaged(format.what);
  const version = reader.u8();
  if (version !== format.version) {
    throw corruptData(
      `${format.what} has format version ${version}, this program reads ${format.version}: ` +
        'it was written by a newer release; upgrade this one',
    );
  }
}

export function writeRef(out: ByteWriter, ref: ObjectRef): void {
  out.varint(ref.epoch);
  out.bytes(ref.digest);
  out.varint(ref.size);
}

export function readRef(reader: ByteReader, kind: ObjectKind): ObjectRef {
  return { kind, epoch: reader.varint(), digest: reader.digest(), size: reader.varint() };
}

function header(
  out: ByteWriter,
  page: { flavor: number; level: number; count: number; weight: number },
): void {
  out.reset();
  out.u8(MAGIC);
  out.u8(VERSION);
  out.u8(page.flavor);
  out.u8(page.level);
  out.varint(page.count);
  out.varint(page.weight);
}

function decodeIndex(
  reader: ByteReader,
  page: { level: number; count: number; weight: number },
): IndexPage {
  const names = new KeyReader();
  const keys: string[] = [];
  const children: PageChild[] = [];
  for (let index = 0; index < page.count; index += 1) {
    const key = names.next(reader);
    keys.push(key);
    children.push({
      key,
      ref: readRef(reader, 'page'),
      digest: reader.digest(),
      entries: reader.varint(),
      a: reader.varint(),
      b: reader.varint(),
    });
  }
  return { level: page.level, weight: page.weight, keys, children };
}
