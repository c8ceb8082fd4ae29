/**
 * The changes of one call, in order, as a run. Long streams are written part by part, so memory
 * does not grow with the number of files; nothing is registered before the whole call succeeded.
 *
 * L1 `seq` counts over the whole log and is the order of effect.
 * L2 Changes are written only after the content writer was flushed: every piece is durable.
 */
import {
  RunWriter,
  type ContentWriter,
  type RunRef,
  type Storage,
} from '../../../storage/index.js';
import type { RunOp, Wait } from '../../../storage/types.js';

/** An op before it has its place in the order. */
export type NewOp = RunOp extends infer Op ? (Op extends RunOp ? Omit<Op, 'seq'> : never) : never;

export class OpLog {
  readonly #writer: ContentWriter;
  readonly #run: RunWriter;
  #seq = 0;

  constructor(storage: Storage, writer: ContentWriter, wait: Wait) {
    this.#writer = writer;
    this.#run = new RunWriter(storage, { ...wait, flush: () => writer.flush(wait) });
  }

  /** Adds a change. Await what comes back, if anything, before the next one. */
  add(op: NewOp): void | Promise<void> {
    return this.addAt(this.reserve(), op);
  }

  /** A place in the order for a change that is complete only later. It may stay empty. */
  reserve(): number {
    const seq = this.#seq;
    this.#seq += 1;
    return seq;
  }

  /** Adds a change at a place that was reserved. */
  addAt(seq: number, op: NewOp): void | Promise<void> {
    return this.#run.add({ ...op, seq } as RunOp);
  }

  /** Everything is stored; the runs in order (none when nothing changed). */
  async end(wait: Wait): Promise<readonly RunRef[]> {
    await this.#writer.flush(wait);
    return this.#seq === 0 ? [] : [await this.#run.finish()];
  }
}
