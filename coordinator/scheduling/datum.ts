/**
 * A datum and its two identities (docs/formats/work.md). The id covers paths and contents; the tag
 * adds input names, pipeline and salt, and decides skipping. The key places a datum in a manifest:
 * it is made of input names and paths alone, so the same datum has the same key in the next job.
 */
import { sha256 } from '../../core/sha256.js';
import type { TreeNode } from '../../storage/types.js';

/** One input of a job, resolved to a commit. */
export interface InputRef {
  readonly name: string;
  readonly repo: string;
  readonly branch: string;
  readonly commit: string;
  readonly lazy: boolean;
  readonly emptyFiles: boolean;
  /** Read through S3. */
  readonly s3?: boolean;
}

/** A file or directory of a datum, by reference. */
export interface DatumFile {
  readonly input: InputRef;
  /** Absolute; `/` for the root. */
  readonly path: string;
  readonly node: TreeNode;
  readonly joinKey: string;
  readonly groupKey: string;
}

export type Datum = readonly DatumFile[];

/** Files of a datum whose hash is made without copying their names. */
const FILES_AT_ONCE = 1000;

/** 32 bytes: sha256 over path and content hash of each file, in datum order. */
export function datumId(datum: Datum): Buffer {
  // Arguments lie on the stack, which tens of thousands overflow.
  if (datum.length > FILES_AT_ONCE) {
    const text = datum.map((file) => [Buffer.from(file.path), file.node.hash]).flat();
    return sha256(Buffer.concat(text));
  }
  return sha256(...datum.flatMap((file) => [file.path, file.node.hash]));
}

/**
 * The skip key, 68 hex digits: 4 of sha256(salt), then sha256 over the input names, the id, the
 * pipeline's name and the salt. (The id already covers paths and contents.)
 */
export function datumTag(
  id: Buffer,
  names: readonly string[],
  salted: { readonly pipeline: string; readonly salt: string },
): string {
  const inputs = names.map((name) => `${name}\0`).join('');
  const { pipeline, salt } = salted;
  return saltMark(salt) + sha256(inputs, id, `\0${pipeline}\0${salt}`).toString('hex');
}

let lastSalt = '';
let lastMark = sha256('').toString('hex', 0, 2);

/** 4 hex digits of sha256(salt); many tags in a row have the same salt. */
function saltMark(salt: string): string {
  if (salt !== lastSalt) {
    lastSalt = salt;
    lastMark = sha256(salt).toString('hex', 0, 2);
  }
  return lastMark;
}

const END = '\0\0';
/** More than any name with a path; a group of thousands of files would fill pages by itself. */
const KEY_BYTES_MAX = 16 * 1024;
/** What is left of the text of a longer key. */
const LONG_KEY_START = 4 * 1024;
/** Begins no input name. */
const LONG = '\u0001';

/**
 * Manifest key: for each file its input name, the path with `/` as NUL, and two NULs; then the twin
 * number (4 bytes big endian), which tells equal datums of one job apart. Keys of a single-input
 * pipeline sort in tree order. Of a key above 16 KiB the first files stay, as far as they fit into
 * 4 KiB, then a digest of all follows.
 */
export function datumKey(names: readonly string[], paths: readonly string[], twin: number): Buffer {
  let text = '';
  for (let i = 0; i < names.length; i += 1) {
    const path = paths[i] ?? '';
    text += `${names[i]}${path === '/' ? '' : path.replaceAll('/', '\0')}${END}`;
  }
  if (Buffer.byteLength(text) > KEY_BYTES_MAX) text = shortened(text);
  const key = Buffer.allocUnsafe(Buffer.byteLength(text) + 4);
  const length = key.write(text);
  key.writeUInt32BE(twin, length);
  return key;
}

function shortened(text: string): string {
  const start = Buffer.from(text).toString('latin1', 0, LONG_KEY_START);
  const end = start.lastIndexOf(END);
  const whole = end < 0 ? '' : Buffer.from(start.slice(0, end + END.length), 'latin1').toString();
  return `${whole}${LONG}${sha256(text).toString('hex')}${END}`;
}

/** Reverse of `datumKey`; of a long key only the first files are known. */
export function parseDatumKey(key: Buffer): {
  readonly files: readonly { readonly name: string; readonly path: string }[];
  readonly twin: number;
  /** There are more files than these. */
  readonly long: boolean;
} {
  const text = key.toString('utf8', 0, key.length - 4);
  const parts = text.split(END).slice(0, -1);
  const long = parts.at(-1)?.startsWith(LONG) === true;
  const files = (long ? parts.slice(0, -1) : parts).map((part) => {
    const cut = part.indexOf('\0');
    if (cut < 0) return { name: part, path: '/' };
    return { name: part.slice(0, cut), path: part.slice(cut).replaceAll('\0', '/') };
  });
  return { files, twin: key.readUInt32BE(key.length - 4), long };
}

/** Gives each datum of one job its key; equal name and path tuples get twin numbers 0, 1, … */
export class KeyMaker {
  readonly #seen = new Map<string, number>();

  keyOf(datum: Datum): { key: Buffer; twin: number } {
    const names = datum.map((file) => file.input.name);
    const paths = datum.map((file) => file.path);
    const first = datumKey(names, paths, 0);
    const text = first.toString('latin1');
    const twin = this.#seen.get(text) ?? 0;
    this.#seen.set(text, twin + 1);
    if (twin > 0) first.writeUInt32BE(twin, first.length - 4);
    return { key: first, twin };
  }
}

/** Byte order of the UTF-8 of two texts, without encoding them. */
export function compareBytes(a: string, b: string): number {
  if (a === b) return 0;
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i += 1) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return fix(x) - fix(y);
  }
  return a.length - b.length;
}

/** Surrogates stand for code points above every other, so they move above U+E000..U+FFFF. */
function fix(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
