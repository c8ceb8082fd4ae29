/**
 * The bytes of an archive (docs/formats/extract.md): a magic, then frames that each carry their own
 * checksum, the last one a digest of everything before it. Writing and reading, nothing else.
 *
 * A1 A reader hands out a frame only when its checksum is right, and ends only behind a right end
 *    frame: what was cut off, damaged or put together from two archives is an error that names the
 *    place.
 */
import { isUtf8 } from 'node:buffer';
import { crc32, deflateRawSync, inflateRawSync } from 'node:zlib';
import { corruptData, invalidInput, messageOf, stateConflict } from '../../core/errors.js';
import { newSha256 } from '../../core/sha256.js';

export const MAGIC = Buffer.from('TUSKARC\n');
export const ARCHIVE_FORMAT = 1;
/** type, bytes of the payload, crc32 of the payload. */
const HEAD_BYTES = 9;
/** Above any object there is; more is damage, not a reason to take that much memory. */
const FRAME_BYTES_MAX = 512 * 1024 * 1024;

/** The first frame. */
export interface ArchiveHeader {
  readonly format: number;
  /** Id of the archive. */
  readonly archive: string;
  /** Version of Tusk that made it. */
  readonly version: string;
  /** Cluster it was made of. */
  readonly cluster: string;
  /** Wall time in milliseconds. */
  readonly created: number;
  /** Format of the metadata: the value of the etcd key `format`. */
  readonly metadata: string;
  /** Garbage-collection epoch of the cluster. */
  readonly epoch: number;
  /** False: only the names of objects are there. */
  readonly objects: boolean;
  readonly pipelines: boolean;
}

/** One key of the metadata. */
export interface ArchiveRecord {
  readonly key: string;
  readonly value: Buffer;
  /** Revision that made the key: records of one revision came about together. */
  readonly made: number;
}

/** The last frame. */
export interface ArchiveTotals {
  readonly objects: number;
  readonly bytes: number;
  readonly records: number;
  /** Of every byte before this frame. */
  readonly sha256: string;
}

export type Frame =
  | { readonly kind: 'header'; readonly header: ArchiveHeader }
  | { readonly kind: 'object'; readonly key: string; readonly bytes: Buffer }
  /** Objects that the target's store must have. */
  | { readonly kind: 'names'; readonly names: readonly (readonly [key: string, size: number])[] }
  | { readonly kind: 'records'; readonly records: readonly ArchiveRecord[] }
  /** Records that make everything visible. */
  | { readonly kind: 'roots'; readonly records: readonly ArchiveRecord[] }
  | { readonly kind: 'end'; readonly totals: ArchiveTotals };

const CODES = { header: 72, object: 79, names: 78, records: 77, roots: 82, end: 69 } as const;
type Kind = keyof typeof CODES;
const KINDS = new Map(Object.entries(CODES).map(([kind, code]) => [code as number, kind as Kind]));

/** Puts an archive together. What each call returns are its next bytes. */
export class ArchiveEncoder {
  readonly #sha = newSha256();
  #objects = 0;
  #bytes = 0;
  #records = 0;

  get progress(): { objects: number; bytes: number; records: number } {
    return { objects: this.#objects, bytes: this.#bytes, records: this.#records };
  }

  header(header: ArchiveHeader): Buffer[] {
    this.#sha.update(MAGIC);
    return [MAGIC, ...this.#frame('header', [json(header)])];
  }

  object(key: string, bytes: Buffer): Buffer[] {
    this.#objects += 1;
    this.#bytes += bytes.length;
    const name = Buffer.from(key);
    return this.#frame('object', [Buffer.from([name.length]), name, bytes]);
  }

  names(names: readonly (readonly [string, number])[]): Buffer[] {
    this.#objects += names.length;
    for (const [, size] of names) this.#bytes += size;
    return this.#frame('names', [packed(names)]);
  }

  records(kind: 'records' | 'roots', records: readonly ArchiveRecord[]): Buffer[] {
    this.#records += records.length;
    return this.#frame(kind, [packed(records.map(toRow))]);
  }

  end(): Buffer[] {
    const sha256 = this.#sha.copy().digest('hex');
    return this.#frame('end', [json({ ...this.progress, sha256 })]);
  }

  #frame(kind: Kind, parts: readonly Buffer[]): Buffer[] {
    const head = Buffer.allocUnsafe(HEAD_BYTES);
    head[0] = CODES[kind];
    head.writeUInt32LE(
      parts.reduce((sum, part) => sum + part.length, 0),
      1,
    );
    head.writeUInt32LE(
      parts.reduce((crc, part) => crc32(part, crc), 0),
      5,
    );
    const frame = [head, ...parts];
    for (const part of frame) this.#sha.update(part);
    return frame;
  }
}

/** The frames of an archive in order (A1). Throws CORRUPT_DATA with the place. */
export async function* readArchive(source: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  const input = new Input(source);
  try {
    yield* frames(input);
  } finally {
    await input.close();
  }
}

async function* frames(input: Input): AsyncGenerator<Frame> {
  const magic = await input.take(MAGIC.length, 'its first bytes');
  if (!magic.equals(MAGIC)) {
    throw invalidInput('this is no archive of tusk extract: its first bytes are others');
  }
  const counted = { objects: 0, bytes: 0, records: 0 };
  for (let first = true; ; first = false) {
    const sha256 = input.digest();
    const at = input.at;
    const frame = await readFrame(input);
    if (first !== (frame.kind === 'header')) {
      throw damaged(at, first ? 'it does not begin with a header' : 'a second header');
    }
    if (frame.kind === 'header') checkHeader(frame.header);
    count(counted, frame);
    if (frame.kind === 'end') {
      const { totals } = frame;
      const same =
        totals.sha256 === sha256 &&
        totals.objects === counted.objects &&
        totals.bytes === counted.bytes &&
        totals.records === counted.records;
      if (!same) throw damaged(at, 'parts are missing or belong to another archive');
      if (!(await input.ended())) throw damaged(input.at, 'there are bytes behind its end');
    }
    yield frame;
    if (frame.kind === 'end') return;
  }
}

function count(counted: { objects: number; bytes: number; records: number }, frame: Frame): void {
  if (frame.kind === 'object') {
    counted.objects += 1;
    counted.bytes += frame.bytes.length;
  } else if (frame.kind === 'names') {
    counted.objects += frame.names.length;
    for (const [, size] of frame.names) counted.bytes += size;
  } else if (frame.kind === 'records' || frame.kind === 'roots') {
    counted.records += frame.records.length;
  }
}

async function readFrame(input: Input): Promise<Frame> {
  const { at } = input;
  const head = await input.take(HEAD_BYTES, 'the head of a frame');
  const kind = KINDS.get(head[0] as number);
  const length = head.readUInt32LE(1);
  if (!kind || length > FRAME_BYTES_MAX) throw damaged(at, 'no frame begins here');
  const payload = await input.take(length, kind);
  if (crc32(payload) !== head.readUInt32LE(5)) {
    throw damaged(at, `the checksum of this frame (${kind}) is wrong`);
  }
  try {
    return decode(kind, payload);
  } catch (error) {
    throw damaged(at, `this frame (${kind}) can not be read: ${messageOf(error)}`);
  }
}

function decode(kind: Kind, payload: Buffer): Frame {
  switch (kind) {
    case 'header':
      return { kind, header: JSON.parse(payload.toString()) as ArchiveHeader };
    case 'object': {
      const from = 1 + (payload[0] as number);
      return { kind, key: payload.toString('latin1', 1, from), bytes: payload.subarray(from) };
    }
    case 'names':
      return { kind, names: unpacked<[string, number][]>(payload) };
    case 'records':
    case 'roots': {
      return { kind, records: unpacked<Row[]>(payload).map(fromRow) };
    }
    case 'end':
      return { kind, totals: JSON.parse(payload.toString()) as ArchiveTotals };
  }
}

function checkHeader(header: ArchiveHeader): void {
  if (header.format === ARCHIVE_FORMAT) return;
  throw stateConflict(
    `the archive has format ${header.format}, this version reads ${ARCHIVE_FORMAT}: ` +
      `it was made by Tusk ${header.version}; upgrade this one`,
  );
}

/** Values are text, nearly all of them; others go as base64 and say so. */
type Row = [key: string, value: string, made: number, base64?: 1];

function toRow({ key, value, made }: ArchiveRecord): Row {
  return isUtf8(value) ? [key, value.toString(), made] : [key, value.toString('base64'), made, 1];
}

function fromRow([key, value, made, base64]: Row): ArchiveRecord {
  return { key, value: Buffer.from(value, base64 ? 'base64' : 'utf8'), made };
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function packed(value: unknown): Buffer {
  return deflateRawSync(json(value), { level: 1 });
}

function unpacked<T>(bytes: Buffer): T {
  return JSON.parse(inflateRawSync(bytes).toString()) as T;
}

/** What is wrong with an archive, and where. */
export function damaged(at: number, what: string): Error {
  return corruptData(`the archive is damaged at byte ${at}: ${what}; nothing was restored`);
}

/** Bytes of a stream, so many at a time. */
class Input {
  readonly #source: AsyncIterator<Buffer>;
  readonly #sha = newSha256();
  #parts: Buffer[] = [];
  #have = 0;
  at = 0;

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async take(length: number, what: string): Promise<Buffer> {
    while (this.#have < length) {
      const next = await this.#source.next();
      if (next.done) {
        throw corruptData(
          `the archive ends at byte ${this.at + this.#have}, within ${what}: it is not whole; ` +
            'nothing was restored',
        );
      }
      this.#parts.push(next.value);
      this.#have += next.value.length;
    }
    const all = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts);
    const taken = all.subarray(0, length);
    this.#parts = [all.subarray(length)];
    this.#have -= length;
    this.#sha.update(taken);
    this.at += length;
    return taken;
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }

  async ended(): Promise<boolean> {
    while (this.#have === 0) {
      const next = await this.#source.next();
      if (next.done) return true;
      this.#parts.push(next.value);
      this.#have += next.value.length;
    }
    return false;
  }

  /** sha256 of everything taken so far. */
  digest(): string {
    return this.#sha.copy().digest('hex');
  }
}
