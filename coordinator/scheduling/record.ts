/**
 * One datum in a manifest, in bytes (docs/formats/work.md, "Manifest"). The value never says
 * "skipped": a datum is skipped in a job when the job that ran it is another one, so carrying a
 * datum over to the next manifest does not touch its page.
 */
import { corruptData } from '../../core/errors.js';
import { refFromText, refToText } from '../../storage/refs.js';
import type { ObjectKind } from '../../storage/types.js';

export type RanState = 'success' | 'failed' | 'recovered';

export interface DatumRecord {
  /** 32 bytes. */
  readonly id: Buffer;
  readonly state: RanState;
  /** 32 hex digits: the job that ran the datum. */
  readonly job: string;
  /** Place in that job's task list; its results index leads to log and details. */
  readonly task: number;
  /** Sequence number of its operations in the run. */
  readonly seq: number;
  /** Number of operations it has in the run. */
  readonly outputs: number;
  readonly tries: number;
  readonly downloadMs: number;
  readonly processMs: number;
  readonly uploadMs: number;
  readonly downloadBytes: number;
  readonly uploadBytes: number;
  /** Text of the run object with its outputs; absent when it wrote nothing. */
  readonly run?: string;
  /** JSON blob with the `[name, path]` of its files; only where the key does not tell them all. */
  readonly files?: string;
}

const FORMAT = 1;
const STATES: readonly RanState[] = ['success', 'failed', 'recovered'];
const FIXED = 2 + 32 + 16;
const HAS_RUN = 0x10;
const HAS_FILES = 0x20;

export function encodeRecord(record: DatumRecord): Buffer {
  const numbers = [
    record.task,
    record.seq,
    record.outputs,
    record.tries,
    Math.round(record.downloadMs),
    Math.round(record.processMs),
    Math.round(record.uploadMs),
    record.downloadBytes,
    record.uploadBytes,
  ];
  const tail: number[] = [];
  for (const value of numbers) pushVarint(tail, value);
  const { run, files } = record;
  const refs = [run, files].map((text) => (text === undefined ? [] : refBytes(text)));
  const fixed = Buffer.allocUnsafe(FIXED);
  fixed[0] = FORMAT;
  fixed[1] = STATES.indexOf(record.state) | (run ? HAS_RUN : 0) | (files ? HAS_FILES : 0);
  record.id.copy(fixed, 2);
  fixed.write(record.job, 34, 16, 'hex');
  return Buffer.concat([fixed, Buffer.from(tail), ...refs.flat()]);
}

/** Throws CORRUPT_DATA when the bytes are not a record. */
export function decodeRecord(bytes: Buffer): DatumRecord {
  const state = STATES[(bytes[1] ?? 0xff) & 0x0f];
  if (bytes[0] !== FORMAT || state === undefined || bytes.length < FIXED) {
    throw corruptData('a datum record of a manifest can not be read');
  }
  const at = { offset: FIXED };
  const next = (): number => readVarint(bytes, at);
  const flags = bytes[1] ?? 0;
  const record: DatumRecord = {
    id: Buffer.from(bytes.subarray(2, 34)),
    state,
    job: bytes.toString('hex', 34, 50),
    task: next(),
    seq: next(),
    outputs: next(),
    tries: next(),
    downloadMs: next(),
    processMs: next(),
    uploadMs: next(),
    downloadBytes: next(),
    uploadBytes: next(),
  };
  const ref = (kind: ObjectKind): string => {
    const epoch = next();
    const size = next();
    const digest = Buffer.from(bytes.subarray(at.offset, (at.offset += 32)));
    return refToText({ kind, epoch, size, digest });
  };
  return {
    ...record,
    ...((flags & HAS_RUN) === 0 ? {} : { run: ref('run') }),
    ...((flags & HAS_FILES) === 0 ? {} : { files: ref('blob') }),
  };
}

function refBytes(text: string): Buffer[] {
  const { epoch, size, digest } = refFromText(text);
  const numbers: number[] = [];
  pushVarint(numbers, epoch);
  pushVarint(numbers, size);
  return [Buffer.from(numbers), digest];
}

/** The id and state alone, for joins over many records. */
export function peekRecord(bytes: Buffer): { id: Buffer; state: RanState } {
  return { id: bytes.subarray(2, 34), state: STATES[(bytes[1] ?? 0) & 0x0f] ?? 'failed' };
}

function pushVarint(out: number[], value: number): void {
  let rest = Math.max(0, value);
  while (rest >= 0x80) {
    out.push((rest % 0x80) | 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
}

function readVarint(bytes: Buffer, at: { offset: number }): number {
  let value = 0;
  let scale = 1;
  for (;;) {
    const byte = bytes[at.offset];
    if (byte === undefined) throw corruptData('a datum record of a manifest is cut short');
    at.offset += 1;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return value;
    scale *= 0x80;
  }
}
