/**
 * The changes of one call, in order, as runs. Long streams are cut into several runs, so memory
 * does not grow with the number of files; nothing is registered before the whole call succeeded.
 *
 * L1 `seq` counts over the whole log; the order of effect is (position of the run, seq).
 * L2 A run is written only after the writer was flushed: every piece it names is durable.
 */
import { writeRun, type ContentWriter, type RunRef, type Storage } from '../../../storage/index.js';
import type { RunOp, Wait } from '../../../storage/types.js';

/** An op before it has its place in the order. */
export type NewOp = RunOp extends infer Op ? (Op extends RunOp ? Omit<Op, 'seq'> : never) : never;

/** Entries of a run; about 30 MB of memory while it is gathered. */
const RUN_ENTRIES = 50_000;

export class OpLog {
  readonly #storage: Storage;
  readonly #writer: ContentWriter;
  readonly #runs: RunRef[] = [];
  #ops: RunOp[] = [];
  #entries = 0;
  #seq = 0;

  constructor(storage: Storage, writer: ContentWriter) {
    this.#storage = storage;
    this.#writer = writer;
  }

  /** Adds a change. Returns a promise to await when a run is full. */
  add(op: NewOp, wait: Wait): void | Promise<void> {
    this.#ops.push({ ...op, seq: this.#seq } as RunOp);
    this.#seq += 1;
    this.#entries += op.op === 'split' ? op.files.length : 1;
    return this.#entries >= RUN_ENTRIES ? this.#cut(wait) : undefined;
  }

  /** Everything is stored; the runs in order. */
  async end(wait: Wait): Promise<readonly RunRef[]> {
    await this.#cut(wait);
    return this.#runs;
  }

  async #cut(wait: Wait): Promise<void> {
    const ops = this.#ops;
    this.#ops = [];
    this.#entries = 0;
    await this.#writer.flush(wait);
    if (ops.length > 0) this.#runs.push(await writeRun(this.#storage, ops, wait));
  }
}
