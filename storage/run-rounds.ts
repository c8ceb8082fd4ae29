/**
 * Merging more runs than may be open at once: some of them at a time become one longer run in the
 * object store, until few enough are left. What an op is and when it takes effect stays as it is, so
 * the result is that of merging all at once. The runs in between are referred to by nobody: garbage
 * collection takes them.
 */
import { encodeRun, type KeyedOp } from './run-format.js';
import { mergeStreams, type OpStream } from './run-merge.js';
import { openRun } from './run-reader.js';
import { PageSink } from './page-store.js';
import type { TreeStorage } from './tree-types.js';
import type { ObjectRef, Wait } from './types.js';

/** Estimated bytes of an object in between: it is read whole, one of each longer run at a time. */
const PART_BYTES = 256 * 1024;

/** Collects streams, none of which was advanced; at most `most` are open at a time. */
export class Rounds {
  /** By round: those of the first were added, later ones each made of some of the round before. */
  readonly #rounds: OpStream[][] = [[]];

  constructor(
    readonly storage: TreeStorage,
    /** At least 2. */
    readonly most: number,
    readonly wait: Wait,
  ) {}

  /** Adds the streams of one run; ops of one key and seq stay in their order. */
  async add(streams: readonly OpStream[]): Promise<void> {
    await this.#push(0, streams);
  }

  /** The merge of all streams, started. */
  async merged(): Promise<OpStream> {
    const streams = this.#rounds.toReversed().flat();
    while (streams.length > this.most) {
      const some = streams.splice(-Math.min(this.most, streams.length - this.most + 1));
      streams.push(await this.#joined(some));
    }
    return mergeStreams(streams);
  }

  async #push(round: number, streams: readonly OpStream[]): Promise<void> {
    const open = (this.#rounds[round] ??= []);
    if (open.length > 0 && open.length + streams.length > this.most) {
      await this.#push(round + 1, [await this.#joined(open.splice(0))]);
    }
    open.push(...streams);
  }

  async #joined(streams: readonly OpStream[]): Promise<OpStream> {
    const merged = await mergeStreams(streams);
    return new Parts(this.storage, await store(this.storage, merged, this.wait), this.wait);
  }
}

/** Writes a started stream as runs that follow each other. */
async function store(storage: TreeStorage, ops: OpStream, wait: Wait): Promise<ObjectRef[]> {
  const sink = new PageSink(storage, wait);
  const parts: ObjectRef[] = [];
  try {
    while (ops.head) {
      parts.push(sink.put(encodeRun(await take(ops), []), 'run'));
      const room = sink.room();
      if (room) await room;
    }
    await sink.settle();
  } finally {
    await sink.idle();
  }
  return parts;
}

async function take(ops: OpStream): Promise<KeyedOp[]> {
  const taken: KeyedOp[] = [];
  for (let bytes = 0; ops.head && bytes < PART_BYTES;) {
    const { key, content, node, files } = ops.head;
    const pieces = (content?.pieces.length ?? 0) + (files?.count ?? 0);
    bytes += 16 + key.length + 80 * pieces + (node ? 256 : 0);
    taken.push(ops.head);
    const waiting = ops.advance();
    if (waiting) await waiting;
  }
  return taken;
}

/** Runs that follow each other, of which one is open. */
class Parts implements OpStream {
  head: KeyedOp | undefined;
  #open: OpStream | undefined;
  #next = 0;

  constructor(
    readonly storage: TreeStorage,
    readonly parts: readonly ObjectRef[],
    readonly wait: Wait,
  ) {}

  advance(): Promise<void> | undefined {
    const waiting = this.#open?.advance();
    if (waiting) return waiting.then(() => this.#settle());
    return this.#settle();
  }

  #settle(): Promise<void> | undefined {
    this.head = this.#open?.head;
    const part = this.parts[this.#next];
    if (this.head || !part) return undefined;
    this.#next += 1;
    return this.#enter(part);
  }

  async #enter(object: ObjectRef): Promise<void> {
    const { readers } = await openRun(this.storage, { object }, this.wait);
    this.#open = readers[0];
    await this.advance();
  }
}
