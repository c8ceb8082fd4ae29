/** Bytes of runs (docs/formats/run.md): blocks of sorted ops, each readable by itself. */
import { crc32 } from 'node:zlib';
import { corruptData, invalidInput, invariant } from '../core/errors.js';
import { ByteReader, ByteWriter, damaged, KeyReader, writeKey } from './bytes.js';
import type { PlaceTable, readPieces } from './content-format.js';
import { readContent, writeContent } from './content-format.js';
import { NodeReader, NodeWriter } from './node-format.js';
import { checkFormat, readRef, writeRef } from './page.js';
import { fromBinary, keyToPath, pathToKey, toBinary } from './path.js';
import type { FileContent, ObjectRef, RunOp, TreeNode } from './types.js';

const MAGIC = 0x52;
const VERSION = 1;
const FORM_OPS = 1;
const FORM_LIST = 2;
const BLOCK_BYTES = 64 * 1024;
export const SPLIT_FILES_MAX = 1024;
/** Bytes read at first to learn what a large run object is. */
export const HEAD_BYTES = 64 * 1024;

export const OP = {
  set: 1,
  append: 2,
  delete: 3,
  prune: 4,
  truncate: 5,
  mkdir: 6,
  graft: 7,
  split: 8,
  /** Header and footer of a directory; `files` holds the two. */
  edges: 9,
  /** A split whose files show their directory's header and footer. */
  splitInheriting: 10,
  /** Never stored: what becomes of one file of such a split. */
  appendInheriting: 11,
} as const;
export type OpCode = (typeof OP)[keyof typeof OP];

/** Files of a split, read from the run's bytes when they are needed. */
export interface SplitFiles {
  readonly count: number;
  read(): Iterable<FileContent>;
}

/** A change as it is merged: everything but glob deletes. One shape, so that loops stay fast. */
export interface KeyedOp {
  readonly key: string;
  readonly code: OpCode;
  /** Order of effect on one key; apply() puts its own times here. */
  seq: number;
  readonly content: FileContent | undefined;
  readonly keep: number;
  readonly node: TreeNode | undefined;
  readonly files: SplitFiles | undefined;
}

export interface GlobDelete {
  readonly seq: number;
  readonly pattern: string;
}

export interface RunHead {
  readonly ops: number;
  readonly seqMin: number;
  readonly seqMax: number;
  readonly globs: readonly GlobDelete[];
  /** Parts, when the run is a list of runs. */
  readonly parts: readonly ObjectRef[];
  /** Where blocks begin. */
  readonly at: number;
}

/** The op in its merged form; none for a glob delete. Splits of many files become several. */
export function toKeyed(op: RunOp): KeyedOp[] {
  const { seq } = op;
  switch (op.op) {
    case 'set':
    case 'append':
      return [keyed(op.path, OP[op.op], seq, { content: op.content })];
    case 'delete':
      return [keyed(op.path, op.prune ? OP.prune : OP.delete, seq)];
    case 'truncate':
      return [keyed(op.path, OP.truncate, seq, { keep: op.keep })];
    case 'mkdir':
      return [keyed(op.path, OP.mkdir, seq)];
    case 'graft':
      return [keyed(op.path, OP.graft, seq, { node: op.node })];
    case 'split': {
      const parts: KeyedOp[] = [];
      for (let from = 0; from < op.files.length; from += SPLIT_FILES_MAX) {
        const some = op.files.slice(from, from + SPLIT_FILES_MAX);
        const files = { count: some.length, read: () => some };
        parts.push(keyed(op.path, op.inherits ? OP.splitInheriting : OP.split, seq, { files }));
      }
      return parts;
    }
    case 'edges': {
      const files = { count: 2, read: () => [op.header, op.footer] };
      return [keyed(op.path, OP.edges, seq, { files })];
    }
    case 'deleteGlob':
      return [];
  }
}

/** Always the same fields in the same order: a million of these are compared and sorted. */
function keyed(
  path: string,
  code: OpCode,
  seq: number,
  body: Partial<Pick<KeyedOp, 'content' | 'keep' | 'node' | 'files'>> = {},
): KeyedOp {
  const { content, keep = 0, node, files } = body;
  if (path !== '' && (!path.startsWith('/') || /\/\/|\/$|\0/.test(path))) {
    throw invalidInput(`path (${path}) invalid: not in canonical form`);
  }
  return { key: pathToKey(path), code, seq, content, keep, node, files };
}

/** The op as callers of readRun see it. */
export function fromKeyed(op: KeyedOp): RunOp {
  const path = keyToPath(op.key);
  const { seq } = op;
  switch (op.code) {
    case OP.set:
      return { op: 'set', path, seq, content: op.content as FileContent };
    case OP.append:
      return { op: 'append', path, seq, content: op.content as FileContent };
    case OP.delete:
      return { op: 'delete', path, seq };
    case OP.prune:
      return { op: 'delete', path, seq, prune: true };
    case OP.truncate:
      return { op: 'truncate', path, seq, keep: op.keep };
    case OP.mkdir:
      return { op: 'mkdir', path, seq };
    case OP.graft:
      return { op: 'graft', path, seq, node: op.node as TreeNode };
    case OP.split:
      return { op: 'split', path, seq, files: contentsIn(op) };
    case OP.splitInheriting:
      return { op: 'split', path, seq, files: contentsIn(op), inherits: true };
    case OP.edges: {
      const [header, footer] = contentsIn(op) as [FileContent, FileContent];
      return { op: 'edges', path, seq, header, footer };
    }
    case OP.appendInheriting:
      return invariant(false, 'a change that is never stored') as never;
  }
}

/** The files of a split, or header and footer. */
export function contentsIn(op: KeyedOp): FileContent[] {
  return [...(op.files as SplitFiles).read()];
}

/** Bytes of a run of form 1. `ops` must be sorted by (key, seq). */
export function encodeRun(ops: readonly KeyedOp[], globs: readonly GlobDelete[]): Buffer {
  const out = new ByteWriter(Math.max(1024, ops.length * 64));
  let seqMin = Infinity;
  let seqMax = 0;
  for (const list of [globs, ops]) {
    for (const { seq } of list) {
      if (!Number.isSafeInteger(seq) || seq < 0) invariant(false, 'seq of an op', { seq });
      if (seq < seqMin) seqMin = seq;
      if (seq > seqMax) seqMax = seq;
    }
  }
  out.u8(MAGIC);
  out.u8(VERSION);
  out.u8(FORM_OPS);
  out.varint(ops.length);
  out.varint(seqMin === Infinity ? 0 : seqMin);
  out.varint(seqMax);
  out.varint(globs.length);
  for (const { seq, pattern } of globs) {
    const text = toBinary(pattern);
    out.varint(seq);
    out.varint(text.length);
    out.binary(text);
  }
  const block = new BlockWriter();
  for (const op of ops) if (block.add(op)) block.finish(out);
  block.finish(out);
  return out.take();
}

/** Bytes of a run made of several objects. */
export function encodeRunList(parts: readonly ObjectRef[]): Buffer {
  const out = new ByteWriter(64 + parts.length * 48);
  out.u8(MAGIC);
  out.u8(VERSION);
  out.u8(FORM_LIST);
  out.varint(parts.length);
  for (const part of parts) writeRef(out, part);
  return out.take();
}

/** Reads what comes before the blocks; undefined when `bytes` (a beginning) are too few. */
export function decodeHead(bytes: Buffer, whole: boolean): RunHead | undefined {
  try {
    return readHead(new ByteReader(bytes));
  } catch (error) {
    if (whole) throw error;
    return undefined;
  }
}

function readHead(reader: ByteReader): RunHead {
  checkFormat(reader, { magic: MAGIC, version: VERSION, what: 'a run' });
  const form = reader.u8();
  if (form === FORM_LIST) {
    const count = reader.varint();
    const parts: ObjectRef[] = [];
    for (let index = 0; index < count; index += 1) parts.push(readRef(reader, 'run'));
    return { ops: 0, seqMin: 0, seqMax: 0, globs: [], parts, at: reader.at };
  }
  if (form !== FORM_OPS) throw damaged('a run');
  const ops = reader.varint();
  const seqMin = reader.varint();
  const seqMax = reader.varint();
  const globs: GlobDelete[] = [];
  const count = reader.varint();
  for (let index = 0; index < count; index += 1) {
    const seq = reader.varint();
    globs.push({ seq, pattern: fromBinary(reader.binary(reader.varint())) });
  }
  return { ops, seqMin, seqMax, globs, parts: [], at: reader.at };
}

class BlockWriter {
  readonly #nodes = new NodeWriter();
  readonly #payload = new ByteWriter(1024);
  readonly #scratch = new ByteWriter(1024);
  #count = 0;
  #before = '';

  /** True when the block is full. */
  add(op: KeyedOp): boolean {
    const out = this.#nodes.body;
    writeKey(out, this.#before, op.key);
    this.#before = op.key;
    this.#count += 1;
    out.u8(op.code);
    out.varint(op.seq);
    if (op.content) writeContent(out, this.#nodes.places, op.content);
    else if (op.code === OP.truncate) out.varint(op.keep);
    else if (op.node) this.#nodes.value(withoutList(op.node), out);
    else if (op.files) this.#split(out, op.files, this.#nodes.places);
    return out.length >= BLOCK_BYTES;
  }

  finish(out: ByteWriter): void {
    if (this.#count === 0) return;
    const payload = this.#payload;
    payload.varint(this.#count);
    this.#nodes.finish(payload);
    const bytes = payload.view();
    out.u32(bytes.length);
    out.u32(crc32(bytes));
    out.bytes(bytes);
    payload.reset();
    this.#count = 0;
    this.#before = '';
  }

  #split(out: ByteWriter, files: SplitFiles, places: PlaceTable): void {
    this.#scratch.reset();
    for (const content of files.read()) writeContent(this.#scratch, places, content);
    out.varint(files.count);
    out.varint(this.#scratch.length);
    out.bytes(this.#scratch.view());
  }
}

function withoutList(node: TreeNode): TreeNode {
  return node.type === 'file' && node.list ? { ...node, list: undefined } : node;
}

/** Checks a block against its sum and answers its ops, in order. */
export function* decodeBlock(payload: Buffer, sum: number): Generator<KeyedOp> {
  if (crc32(payload) !== sum) throw damaged('a block of a run');
  const reader = new ByteReader(payload);
  const count = reader.varint();
  const nodes = new NodeReader(reader);
  const keys = new KeyReader();
  for (let index = 0; index < count; index += 1) yield decodeOp(reader, keys, nodes);
}

function decodeOp(reader: ByteReader, keys: KeyReader, nodes: NodeReader): KeyedOp {
  const key = keys.next(reader);
  const code = reader.u8() as OpCode;
  const seq = reader.varint();
  let content: FileContent | undefined;
  let keep = 0;
  let node: TreeNode | undefined;
  let files: SplitFiles | undefined;
  switch (code) {
    case OP.set:
    case OP.append:
      content = readContent(reader, nodes.places);
      break;
    case OP.truncate:
      keep = reader.varint();
      break;
    case OP.graft:
      node = nodes.value(reader);
      break;
    case OP.edges:
    case OP.split:
    case OP.splitInheriting:
      files = splitFiles(reader, nodes.places);
      break;
    case OP.delete:
    case OP.prune:
    case OP.mkdir:
      break;
    default:
      throw corruptData(`a run has changes of kind ${String(code)}, which a newer release wrote`);
  }
  return { key, code, seq, content, keep, node, files };
}

function splitFiles(reader: ByteReader, places: Parameters<typeof readPieces>[1]): SplitFiles {
  const count = reader.varint();
  const bytes = reader.bytes(reader.varint());
  return {
    count,
    *read() {
      const each = new ByteReader(bytes);
      for (let index = 0; index < count; index += 1) yield readContent(each, places);
    },
  };
}
