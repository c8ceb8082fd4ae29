/**
 * Runs: sorted lists of changes (docs/formats/run.md). RunWriter takes changes in any order and
 * keeps bounded memory: what does not fit is written as a part, and the run becomes a list of parts.
 */
import { invalidInput } from '../core/errors.js';
import { refFromText, refToText } from './refs.js';
import { encodeRun, encodeRunList, fromKeyed, toKeyed } from './run-format.js';
import type { GlobDelete, KeyedOp } from './run-format.js';
import { mergeStreams, type OpStream } from './run-merge.js';
import { openRun } from './run-reader.js';
import type { RunRef, TreeStorage } from './tree-types.js';
import type { ObjectRef, RunOp, Wait } from './types.js';

/** A run up to this size needs no object. */
export const INLINE_RUN_BYTES_MAX = 8 * 1024;
const PART_BYTES = 24 * 1024 * 1024;

export interface RunWriterOptions extends Wait {
  /**
   * Makes every piece added so far stored (ContentWriter.flush). With it memory is bounded: the
   * writer calls it before it writes a part.
   */
  readonly flush?: () => Promise<void>;
  /** Estimated bytes in memory at which a part is written. */
  readonly partBytes?: number;
}

export class RunWriter {
  #ops: KeyedOp[] = [];
  #globs: GlobDelete[] = [];
  #bytes = 0;
  #count = 0;
  readonly #parts: ObjectRef[] = [];

  constructor(
    readonly storage: TreeStorage,
    readonly options: RunWriterOptions,
  ) {}

  /** Changes added so far. */
  get count(): number {
    return this.#count;
  }

  /** Adds a change. Await what comes back, if anything, before the next call. */
  add(op: RunOp): Promise<void> | undefined {
    this.#count += 1;
    if (op.op === 'deleteGlob') {
      this.#globs.push({ seq: op.seq, pattern: op.path });
      this.#bytes += 64 + op.path.length;
    }
    for (const keyed of toKeyed(op)) {
      this.#ops.push(keyed);
      this.#bytes += estimate(keyed);
    }
    const full = this.#bytes > (this.options.partBytes ?? PART_BYTES);
    return full && this.options.flush ? this.#endPart() : undefined;
  }

  /** Writes the run. Every piece must be stored by now. */
  async finish(): Promise<RunRef> {
    const bytes = this.#encode();
    if (this.#parts.length === 0) {
      if (bytes.length <= INLINE_RUN_BYTES_MAX) return { inline: bytes };
      return { object: await this.storage.putObject('run', bytes, this.options) };
    }
    this.#parts.push(await this.storage.putObject('run', bytes, this.options));
    const list = encodeRunList(this.#parts);
    return { object: await this.storage.putObject('run', list, this.options) };
  }

  async #endPart(): Promise<void> {
    await this.options.flush?.();
    this.#parts.push(await this.storage.putObject('run', this.#encode(), this.options));
  }

  #encode(): Buffer {
    const ops = this.#ops;
    if (!isSorted(ops)) ops.sort(compareOps);
    const bytes = encodeRun(ops, this.#globs);
    this.#ops = [];
    this.#globs = [];
    this.#bytes = 0;
    return bytes;
  }
}

/** Writes changes, in any order, as one run. */
export async function writeRun(
  storage: TreeStorage,
  ops: Iterable<RunOp> | AsyncIterable<RunOp>,
  options: RunWriterOptions,
): Promise<RunRef> {
  const writer = new RunWriter(storage, options);
  for await (const op of ops) {
    const waiting = writer.add(op);
    if (waiting) await waiting;
  }
  return writer.finish();
}

/** The changes of a run: glob deletes first, then by path in tree order and seq. */
export async function* readRun(
  storage: TreeStorage,
  run: RunRef,
  wait: Wait,
): AsyncGenerator<RunOp> {
  const opened = await openRun(storage, run, wait);
  for (const { seq, pattern } of opened.globs) yield { op: 'deleteGlob', path: pattern, seq };
  const streams: OpStream[] = opened.readers;
  const merged = await mergeStreams(streams);
  while (merged.head) {
    yield fromKeyed(merged.head);
    const waiting = merged.advance();
    if (waiting) await waiting;
  }
}

/** A run reference as text, for messages and etcd values. */
export function runToText(run: RunRef): string {
  return 'inline' in run ? `i:${run.inline.toString('base64')}` : refToText(run.object);
}

/** INVALID_INPUT when the text is no run reference. */
export function runFromText(text: string): RunRef {
  if (text.startsWith('i:')) return { inline: Buffer.from(text.slice(2), 'base64') };
  const object = refFromText(text);
  if (object.kind !== 'run') throw invalidInput(`not a run: "${text.slice(0, 120)}"`);
  return { object };
}

/** Objects that a run is made of, itself included; for garbage collection marks. */
export async function runObjects(
  storage: TreeStorage,
  run: RunRef,
  wait: Wait,
): Promise<readonly ObjectRef[]> {
  if ('inline' in run) return [];
  const { parts } = await openRun(storage, run, wait);
  return [run.object, ...parts];
}

function compareOps(a: KeyedOp, b: KeyedOp): number {
  if (a.key === b.key) return a.seq - b.seq;
  return a.key < b.key ? -1 : 1;
}

function isSorted(ops: readonly KeyedOp[]): boolean {
  for (let index = 1; index < ops.length; index += 1) {
    if (compareOps(ops[index - 1] as KeyedOp, ops[index] as KeyedOp) > 0) return false;
  }
  return true;
}

function estimate(op: KeyedOp): number {
  const pieces = op.content?.pieces.length ?? 0;
  return 160 + op.key.length + 240 * (pieces + (op.files?.count ?? 0));
}
