/** Datums with outputs, gathered by the run that holds them; a million of them take 4 to 8 MiB. */
import { invariant } from '../../core/errors.js';
import { lowestAt } from '../../storage/index.js';
import type { RunPart } from './merge.js';
import type { DatumRecord } from './record.js';

const ROWS_FIRST = 16;
/** No datum has this number: the place of those that got none, which stays their own. */
const UNPLACED = 0xffffffff;

export class Parts {
  ops = 0;
  readonly #parts = new Map<string, Part>();

  constructor(
    /** Keeps the datums of tasks apart also where one run holds several tasks. */
    readonly byTask = false,
  ) {}

  /** False when the datum has no outputs. */
  add(record: DatumRecord): boolean {
    if (!hasOutputs(record)) return false;
    const name = this.#nameOf(record);
    let part = this.#parts.get(name);
    if (!part) {
      part = new Part(record.run);
      this.#parts.set(name, part);
    }
    part.add(record.seq);
    this.ops += record.outputs;
    return true;
  }

  /** Gives a datum that was added its place in this job. None may be added after that. */
  place(record: DatumRecord, place: number | undefined): void {
    if (place === undefined || !hasOutputs(record)) return;
    this.#parts.get(this.#nameOf(record))?.place(record.seq, place);
  }

  list(): RunPart[] {
    return [...this.#parts.values()].flatMap((part) => part.list());
  }

  #nameOf({ job, task, run }: DatumRecord): string {
    return this.byTask ? `${job}/${task}/${run}` : `${job}/${run}`;
  }
}

class Part {
  #seqs = new Uint32Array(ROWS_FIRST);
  #length = 0;
  /** Set once the numbers are sorted. */
  #places: Uint32Array | undefined;
  #sorted = false;

  constructor(readonly run: string) {}

  add(seq: number): void {
    invariant(!this.#sorted, 'datums are added before they get their places');
    if (this.#length === this.#seqs.length) {
      const larger = new Uint32Array(this.#length * 2);
      larger.set(this.#seqs);
      this.#seqs = larger;
    }
    this.#seqs[this.#length] = seq;
    this.#length += 1;
  }

  place(seq: number, place: number): void {
    const seqs = this.#sort();
    this.#places ??= new Uint32Array(seqs.length).fill(UNPLACED);
    // Equal numbers mean equal outputs: which of them gets which place is all the same.
    let at = lowestAt(seqs, seq);
    while (seqs[at] === seq && this.#places[at] !== UNPLACED) at += 1;
    if (seqs[at] === seq) this.#places[at] = place;
  }

  /** Equal outputs of two tasks are one object but count twice: each part has a number once. */
  list(): RunPart[] {
    const seqs = this.#sort();
    const places = this.#places?.map((place, at) =>
      place === UNPLACED ? (seqs[at] as number) : place,
    );
    const rounds: number[][] = [];
    let round = 0;
    for (let at = 0; at < seqs.length; at += 1) {
      round = at > 0 && seqs[at] === seqs[at - 1] ? round + 1 : 0;
      if (round > 0) (rounds[round] ??= []).push(at);
    }
    const { run } = this;
    if (rounds.length === 0) return [{ run, select: { seqs, ...(places ? { places } : {}) } }];
    const more = new Set(rounds.flat());
    rounds[0] = [...seqs.keys()].filter((at) => !more.has(at));
    return rounds.map((rows) => ({
      run,
      select: {
        seqs: Uint32Array.from(rows, (at) => seqs[at] as number),
        ...(places ? { places: Uint32Array.from(rows, (at) => places[at] as number) } : {}),
      },
    }));
  }

  #sort(): Uint32Array {
    if (!this.#sorted) {
      this.#seqs = this.#seqs.slice(0, this.#length).sort();
      this.#sorted = true;
    }
    return this.#seqs;
  }
}

function hasOutputs(record: DatumRecord): record is DatumRecord & { readonly run: string } {
  const { state, outputs, run } = record;
  return state === 'success' && outputs > 0 && run !== undefined;
}
