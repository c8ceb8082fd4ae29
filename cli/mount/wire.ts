/**
 * The kernel's FUSE messages (include/uapi/linux/fuse.h, protocol 7.31), as far as a file system
 * without links, locks and extended attributes needs them. All numbers are in the machine's byte
 * order, little-endian on every platform Node runs on.
 */
import { constants as os } from 'node:os';

export const OP = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  RENAME2: 45,
} as const;

const IN_HEADER = 40;
const OUT_HEADER = 16;
/** Bytes of one WRITE or READ at most. */
export const MAX_WRITE = 128 * 1024;
/** Room for the largest request. */
export const REQUEST_BYTES = MAX_WRITE + 4096;

const ATOMIC_O_TRUNC = 1 << 3;
const BIG_WRITES = 1 << 5;
const MAX_PAGES = 1 << 22;
const PAGE_BYTES = 4096;
/** Commits do not change under a mount; what is written through it, the kernel knows by itself. */
const VALID_SECONDS = 3600n;

export interface Request {
  readonly opcode: number;
  readonly unique: bigint;
  readonly node: number;
  readonly uid: number;
  readonly gid: number;
  readonly body: Buffer;
}

/** Attributes of a file or directory. */
export interface Attr {
  readonly ino: number;
  readonly dir: boolean;
  readonly writable: boolean;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the epoch. */
  readonly mtimeMs: number;
}

export interface DirEntry {
  readonly name: string;
  readonly dir: boolean;
}

/** An error whose number the kernel hands to the program that asked. */
export class FuseError extends Error {
  constructor(readonly code: keyof typeof os.errno) {
    super(code);
  }
  get errno(): number {
    return os.errno[this.code];
  }
}

export function parseRequest(bytes: Buffer): Request {
  return {
    opcode: bytes.readUInt32LE(4),
    unique: bytes.readBigUInt64LE(8),
    node: Number(bytes.readBigUInt64LE(16)),
    uid: bytes.readUInt32LE(24),
    gid: bytes.readUInt32LE(28),
    body: bytes.subarray(IN_HEADER),
  };
}

/** A whole answer; `errno` positive for a failure. */
export function reply(unique: bigint, body: Buffer, errno = 0): Buffer {
  const bytes = Buffer.alloc(OUT_HEADER + body.length);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeInt32LE(-errno, 4);
  bytes.writeBigUInt64LE(unique, 8);
  body.copy(bytes, OUT_HEADER);
  return bytes;
}

export function initReply(body: Buffer): Buffer {
  const offered = body.readUInt32LE(12);
  const out = Buffer.alloc(64);
  out.writeUInt32LE(7, 0);
  out.writeUInt32LE(31, 4);
  out.writeUInt32LE(body.readUInt32LE(8), 8);
  // Without ASYNC_READ the kernel asks for one read after the other, in order.
  out.writeUInt32LE(offered & (ATOMIC_O_TRUNC | BIG_WRITES | MAX_PAGES), 12);
  out.writeUInt16LE(16, 16);
  out.writeUInt16LE(12, 18);
  out.writeUInt32LE(MAX_WRITE, 20);
  out.writeUInt32LE(1, 24);
  out.writeUInt16LE(MAX_WRITE / PAGE_BYTES, 28);
  return out;
}

function putAttr(out: Buffer, at: number, attr: Attr, owner: Owner): void {
  const seconds = BigInt(Math.floor(attr.mtimeMs / 1000));
  out.writeBigUInt64LE(BigInt(attr.ino), at);
  out.writeBigUInt64LE(BigInt(attr.size), at + 8);
  out.writeBigUInt64LE(BigInt(Math.ceil(attr.size / 512)), at + 16);
  for (const place of [24, 32, 40]) out.writeBigUInt64LE(seconds, at + place);
  for (const place of [48, 52, 56]) out.writeUInt32LE((attr.mtimeMs % 1000) * 1e6, at + place);
  out.writeUInt32LE(modeOf(attr), at + 60);
  out.writeUInt32LE(attr.dir ? 2 : 1, at + 64);
  out.writeUInt32LE(owner.uid, at + 68);
  out.writeUInt32LE(owner.gid, at + 72);
  out.writeUInt32LE(PAGE_BYTES, at + 80);
}

function modeOf({ dir, writable }: Attr): number {
  if (dir) return 0o040000 | (writable ? 0o755 : 0o555);
  return 0o100000 | (writable ? 0o644 : 0o444);
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Answer to LOOKUP, MKDIR, MKNOD. */
export function entryReply(attr: Attr, owner: Owner): Buffer {
  const out = Buffer.alloc(128);
  out.writeBigUInt64LE(BigInt(attr.ino), 0);
  out.writeBigUInt64LE(VALID_SECONDS, 16);
  out.writeBigUInt64LE(VALID_SECONDS, 24);
  putAttr(out, 40, attr, owner);
  return out;
}

export function attrReply(attr: Attr, owner: Owner): Buffer {
  const out = Buffer.alloc(104);
  out.writeBigUInt64LE(VALID_SECONDS, 0);
  putAttr(out, 16, attr, owner);
  return out;
}

export function openReply(handle: number): Buffer {
  const out = Buffer.alloc(16);
  out.writeBigUInt64LE(BigInt(handle), 0);
  return out;
}

export function writeReply(bytes: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeUInt32LE(bytes, 0);
  return out;
}

export function statfsReply(): Buffer {
  const out = Buffer.alloc(80);
  const blocks = 1n << 40n;
  for (const place of [0, 8, 16, 24, 32]) out.writeBigUInt64LE(blocks, place);
  out.writeUInt32LE(PAGE_BYTES, 40);
  out.writeUInt32LE(255, 44);
  out.writeUInt32LE(PAGE_BYTES, 48);
  return out;
}

/**
 * Entries from position `from` on, as many as fit into `room` bytes. A position is an index into the
 * listing taken when the directory was opened.
 */
export function dirReply(entries: readonly DirEntry[], from: number, room: number): Buffer {
  const parts: Buffer[] = [];
  let left = room;
  for (let at = from; at < entries.length; at += 1) {
    const entry = entries[at] as DirEntry;
    const name = Buffer.from(entry.name);
    const size = (24 + name.length + 7) & ~7;
    if (size > left) break;
    const out = Buffer.alloc(size);
    // Any number but 0: the kernel asks by name when it wants to know more.
    out.writeBigUInt64LE(1n << 32n, 0);
    out.writeBigUInt64LE(BigInt(at + 1), 8);
    out.writeUInt32LE(name.length, 16);
    out.writeUInt32LE(entry.dir ? 4 : 8, 20);
    name.copy(out, 24);
    parts.push(out);
    left -= size;
  }
  return Buffer.concat(parts);
}

/** Texts in a request end with a zero byte. */
export function namesIn(body: Buffer, at: number): string[] {
  return body.subarray(at, body.lastIndexOf(0)).toString('utf8').split('\0');
}

export interface Transfer {
  readonly handle: number;
  readonly offset: number;
  readonly size: number;
}

/** Fields of READ, READDIR and WRITE. */
export function transferIn(body: Buffer): Transfer {
  return {
    handle: Number(body.readBigUInt64LE(0)),
    offset: Number(body.readBigUInt64LE(8)),
    size: body.readUInt32LE(16),
  };
}

/** The bytes that come with a WRITE. */
export const writtenIn = (body: Buffer, size: number): Buffer => body.subarray(40, 40 + size);

/** The new size of a SETATTR, when it sets one. */
export function sizeIn(body: Buffer): number | undefined {
  const SIZE = 1 << 3;
  return body.readUInt32LE(0) & SIZE ? Number(body.readBigUInt64LE(16)) : undefined;
}
