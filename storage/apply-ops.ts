/**
 * The ops of an apply: runs merged into one stream ordered by path, every op with its *time*.
 *
 * Times order all effects. `put`: position of the run, then seq. `merge`: seq, then position; ops of
 * subtracted runs come before all others. What was there before has time BASE_TIME.
 */
import { invariant } from '../core/errors.js';
import { compileGlob, type Glob } from './glob.js';
import { OP, type KeyedOp } from './run-format.js';
import type { OpStream } from './run-merge.js';
import { openRun } from './run-reader.js';
import { Rounds } from './run-rounds.js';
import { selector } from './selection.js';
import type { ApplyOptions, RunInput, RunPart, TreeStorage } from './tree-types.js';

export const BASE_TIME = -1;
const SEQ_LIMIT = 2 ** 32;
const RUNS_MAX = 2 ** 20;
const WINDOWS_BYTES = 64 * 1024 * 1024;
const WINDOW_BYTES_MIN = 128 * 1024;
const WINDOW_BYTES_MAX = 4 * 1024 * 1024;
const OPEN_PARALLEL = 32;
/** Runs that are open at a time unless the caller says otherwise. */
const RUNS_AT_ONCE = 512;

export interface TimedGlob {
  readonly time: number;
  readonly glob: Glob;
}

/** Opens all runs, or, of very many, some at a time. The stream is started: its head is the first op. */
export async function openOps(
  storage: TreeStorage,
  runs: readonly RunInput[],
  options: ApplyOptions,
): Promise<{ ops: OpQueue; globs: TimedGlob[] }> {
  invariant(runs.length < RUNS_MAX, 'too many runs at once', { runs: runs.length });
  const atOnce = Math.max(2, options.runsAtOnce ?? RUNS_AT_ONCE);
  const open = Math.max(1, Math.min(runs.length, atOnce));
  const windowBytes = Math.min(
    WINDOW_BYTES_MAX,
    Math.max(WINDOW_BYTES_MIN, Math.floor(WINDOWS_BYTES / open)),
  );
  const rounds = new Rounds(storage, atOnce, options);
  const globs: TimedGlob[] = [];
  const wait = { signal: options.signal, windowBytes };
  const parts = runs.map((input): RunPart => ('run' in input ? input : { run: input }));
  for (let from = 0; from < parts.length; from += OPEN_PARALLEL) {
    const slice = parts.slice(from, from + OPEN_PARALLEL);
    const opened = await Promise.all(slice.map((part) => openRun(storage, part.run, wait)));
    for (const [index, run] of opened.entries()) {
      const timeOf = timing(slice[index] as RunPart, from + index, options.mode);
      await rounds.add(run.readers.map((reader) => new TimedOps(reader, timeOf)));
      for (const { seq, pattern } of run.globs) {
        const time = timeOf(seq);
        if (time !== undefined) globs.push({ time, glob: compileGlob(pattern) });
      }
    }
  }
  return { ops: new OpQueue(await rounds.merged()), globs };
}

/** True for an op of a subtracted run. */
export function isSubtracted(op: KeyedOp, mode: ApplyOptions['mode']): boolean {
  return mode === 'merge' && op.seq < RUNS_MAX;
}

/** Who wrote at this time in mode `merge`: the seq, or BASE_TIME for what was there. */
export function writerOf(time: number): number {
  return time < 0 ? BASE_TIME : Math.floor(time / RUNS_MAX) - 1;
}

function timing(
  part: RunPart,
  position: number,
  mode: ApplyOptions['mode'],
): (seq: number) => number | undefined {
  const find = part.select && selector(part.select);
  return (seq) => {
    if (part.keep && !part.keep(seq)) return undefined;
    const place = find ? find(seq) : (part.order?.(seq) ?? seq);
    if (place === undefined) return undefined;
    const legal = Number.isSafeInteger(place) && place >= 0 && place < SEQ_LIMIT;
    invariant(legal, 'seq of an op', { seq: place });
    if (mode === 'put') return position * SEQ_LIMIT + place;
    return part.subtract ? position : (place + 1) * RUNS_MAX + position;
  };
}

/** A run whose ops carry times; ops that were not selected are passed. */
class TimedOps implements OpStream {
  head: KeyedOp | undefined;

  constructor(
    readonly run: OpStream,
    readonly timeOf: (seq: number) => number | undefined,
  ) {}

  advance(): Promise<void> | undefined {
    for (;;) {
      const waiting = this.run.advance();
      if (waiting) return waiting.then(() => (this.#take() ? undefined : this.advance()));
      if (this.#take()) return undefined;
    }
  }

  #take(): boolean {
    const op = this.run.head;
    this.head = op;
    if (!op) return true;
    const time = this.timeOf(op.seq);
    if (time === undefined) return false;
    op.seq = time;
    return true;
  }
}

/** A started stream that takes ops back. */
export class OpQueue implements OpStream {
  head: KeyedOp | undefined;
  #returned: readonly KeyedOp[];
  #at = 0;

  /** `rest` must be started; `first` come before it. */
  constructor(
    readonly rest: OpStream | undefined,
    first: readonly KeyedOp[] = [],
  ) {
    this.#returned = first;
    this.head = first[0] ?? rest?.head;
  }

  advance(): Promise<void> | undefined {
    if (this.#at < this.#returned.length) {
      this.#at += 1;
      this.head = this.#returned[this.#at] ?? this.rest?.head;
      return undefined;
    }
    const waiting = this.rest?.advance();
    if (waiting) {
      return waiting.then(() => {
        this.head = this.rest?.head;
      });
    }
    this.head = this.rest?.head;
    return undefined;
  }

  /**
   * Takes all ops whose key starts with `prefix` if they are at most `limit`; else leaves them
   * where they are and answers undefined.
   */
  async takeGroup(prefix: string, limit: number): Promise<KeyedOp[] | undefined> {
    const taken: KeyedOp[] = [];
    while (this.head?.key.startsWith(prefix)) {
      if (taken.length === limit) {
        this.#giveBack(taken);
        return undefined;
      }
      taken.push(this.head);
      const waiting = this.advance();
      if (waiting) await waiting;
    }
    return taken;
  }

  #giveBack(ops: readonly KeyedOp[]): void {
    this.#returned = [...ops, ...this.#returned.slice(this.#at)];
    this.#at = 0;
    this.head = this.#returned[0] ?? this.rest?.head;
  }
}

/** A started stream over ops that are made as they are needed. */
export class MadeOps implements OpStream {
  head: KeyedOp | undefined;

  constructor(readonly ops: Iterator<KeyedOp>) {
    this.advance();
  }

  advance(): undefined {
    const next = this.ops.next();
    this.head = next.done ? undefined : next.value;
  }
}

/** True for ops that leave something at their path. */
export function makes(op: KeyedOp): boolean {
  return op.code !== OP.delete && op.code !== OP.prune && op.code !== OP.truncate;
}
