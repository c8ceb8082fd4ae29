/**
 * Merges sorted streams of ops into one, by (key, seq), then position of the stream. A tournament
 * tree: one comparison per level and op, whatever the number of streams.
 */
import type { KeyedOp } from './run-format.js';

/** A sorted stream. `advance` answers a promise only when it has to wait. */
export interface OpStream {
  readonly head: KeyedOp | undefined;
  advance(): Promise<void> | undefined;
}

/** Starts all streams (none may have been advanced) and merges them. */
export async function mergeStreams(streams: readonly OpStream[]): Promise<OpStream> {
  const starting: Promise<void>[] = [];
  for (const stream of streams) {
    const waiting = stream.advance();
    if (waiting) starting.push(waiting);
    if (starting.length >= 32) await Promise.all(starting.splice(0));
  }
  await Promise.all(starting);
  return streams.length === 1 ? (streams[0] as OpStream) : new Tournament(streams);
}

class Tournament implements OpStream {
  /** `#losers[n]` lost at node n; node 0 holds the winner. */
  readonly #losers: number[];
  readonly #keys: (string | undefined)[];
  readonly #seqs: number[];
  #winner: OpStream | undefined;

  constructor(readonly streams: readonly OpStream[]) {
    const count = streams.length;
    this.#keys = streams.map((stream) => stream.head?.key);
    this.#seqs = streams.map((stream) => stream.head?.seq ?? 0);
    this.#losers = new Array<number>(Math.max(count, 1)).fill(-1);
    for (let index = count - 1; index >= 0; index -= 1) this.#play(index);
    this.#crown();
  }

  get head(): KeyedOp | undefined {
    return this.#winner?.head;
  }

  advance(): Promise<void> | undefined {
    const index = this.#losers[0] as number;
    const stream = this.streams[index] as OpStream;
    const waiting = stream.advance();
    if (waiting) return waiting.then(() => this.#moved(index, stream));
    this.#moved(index, stream);
    return undefined;
  }

  #moved(index: number, stream: OpStream): void {
    this.#keys[index] = stream.head?.key;
    this.#seqs[index] = stream.head?.seq ?? 0;
    this.#play(index);
    this.#crown();
  }

  #crown(): void {
    const index = this.#losers[0] ?? -1;
    this.#winner = index < 0 ? undefined : this.streams[index];
  }

  /** Lets a stream climb from its leaf; whoever loses stays at the node. */
  #play(index: number): void {
    const losers = this.#losers;
    let winner = index;
    for (let node = (index + this.streams.length) >> 1; node > 0; node >>= 1) {
      const other = losers[node] as number;
      if (other < 0) {
        // First visit while the tree is set up: wait here for an opponent.
        losers[node] = winner;
        return;
      }
      if (this.#before(other, winner)) {
        losers[node] = winner;
        winner = other;
      }
    }
    losers[0] = winner;
  }

  #before(a: number, b: number): boolean {
    const keyA = this.#keys[a];
    const keyB = this.#keys[b];
    if (keyA === undefined || keyB === undefined) return keyB === undefined && keyA !== undefined;
    if (keyA !== keyB) return keyA < keyB;
    const seqA = this.#seqs[a] as number;
    const seqB = this.#seqs[b] as number;
    return seqA === seqB ? a < b : seqA < seqB;
  }
}
