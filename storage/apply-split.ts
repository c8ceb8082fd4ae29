/**
 * Splits: files added to a directory under names that continue after the highest one there, as of
 * the split's place in the order of effect. A split becomes appends to named files.
 */
import { stateConflict } from '../core/errors.js';
import { makes, MadeOps, OpQueue, type TimedGlob } from './apply-ops.js';
import type { Layer } from './apply-file.js';
import { lastEntry } from './map-read.js';
import type { Page } from './page.js';
import type { PageStore } from './page-store.js';
import { fromBinary, KEY_SEPARATOR, keyToPath } from './path.js';
import { OP, type KeyedOp, type SplitFiles } from './run-format.js';
import type { DirNode, TreeNode, Wait } from './types.js';

const INDEX_LIMIT = 2n ** 63n;

export interface SplitInput {
  readonly store: PageStore<TreeNode>;
  readonly wait: Wait;
  /** Key of the directory. */
  readonly key: string;
  readonly layers: readonly Layer<DirNode>[];
  readonly open: (dir: DirNode) => Promise<Page<TreeNode>>;
  /** Splits into the directory, by time. */
  readonly splits: readonly KeyedOp[];
  /** All ops below the directory, by key. */
  readonly below: readonly KeyedOp[];
  readonly globs: readonly TimedGlob[];
  /** Ops before this have no effect. */
  readonly wiped: number;
}

interface Named {
  readonly start: bigint;
  readonly op: KeyedOp;
}

/** The ops below the directory with its splits among them as appends. */
export async function expandSplits(input: SplitInput): Promise<OpQueue> {
  const named = await nameSplits(input);
  const prefix = input.key + KEY_SEPARATOR;
  let ordered = true;
  for (let index = 1; index < named.length; index += 1) {
    const before = named[index - 1] as Named;
    const count = BigInt((before.op.files as SplitFiles).count);
    if ((named[index] as Named).start < before.start + count) ordered = false;
  }
  const appends = appendsOf(prefix, named);
  // Names that overlap (a directory that holds other hex names) must be put in order first.
  const made = ordered ? appends : [...appends].sort(compareOps)[Symbol.iterator]();
  return new OpQueue(new MadeOps(mergeTwo(input.below, made)));
}

function* appendsOf(prefix: string, named: readonly Named[]): Generator<KeyedOp> {
  for (const { start, op } of named) {
    let index = start;
    for (const content of (op.files as SplitFiles).read()) {
      const key = prefix + nameOf(index);
      index += 1n;
      yield {
        key,
        code: op.code === OP.splitInheriting ? OP.appendInheriting : OP.append,
        seq: op.seq,
        content,
        keep: 0,
        node: undefined,
        files: undefined,
      };
    }
  }
}

function* mergeTwo(a: readonly KeyedOp[], b: Iterator<KeyedOp>): Generator<KeyedOp> {
  let at = 0;
  let next = b.next();
  while (at < a.length || !next.done) {
    const op = a[at];
    if (op && (next.done || compareOps(op, next.value) <= 0)) {
      yield op;
      at += 1;
    } else if (!next.done) {
      yield next.value;
      next = b.next();
    }
  }
}

function compareOps(a: KeyedOp, b: KeyedOp): number {
  if (a.key === b.key) return a.seq - b.seq;
  return a.key < b.key ? -1 : 1;
}

/** Where the names of each split begin. */
async function nameSplits(input: SplitInput): Promise<Named[]> {
  const names = new ChildNames(input);
  const events = childEvents(input);
  let at = 0;
  const named: Named[] = [];
  for (const op of input.splits) {
    for (let event = events[at]; event && event.time <= op.seq; event = events[at]) {
      names.apply(event);
      at += 1;
    }
    const start = nextIndex(await names.highest(op.seq));
    const { count } = op.files as SplitFiles;
    named.push({ start, op });
    names.addRange(start, BigInt(count), op.seq);
  }
  return named;
}

function nextIndex(highest: string | undefined): bigint {
  if (highest === undefined) return 0n;
  const index = /^[0-9a-fA-F]{1,16}$/.test(highest) ? BigInt(`0x${highest}`) : INDEX_LIMIT;
  if (index >= INDEX_LIMIT) {
    throw stateConflict(
      `error parsing filename ${fromBinary(highest)} as int, this likely means you're using ` +
        "split on a directory which contains other data that wasn't put with split",
    );
  }
  return index + 1n;
}

type ChildEvent =
  | { readonly kind: 'made'; readonly name: string; readonly time: number }
  | { readonly kind: 'gone'; readonly name: string; readonly time: number }
  | { readonly kind: 'glob'; readonly glob: TimedGlob; readonly time: number };

/** What the other ops do to the children, by time; deletes of a time before its other ops. */
function childEvents(input: SplitInput): ChildEvent[] {
  const prefix = input.key + KEY_SEPARATOR;
  const events: ChildEvent[] = input.globs.map((glob) => ({ kind: 'glob', glob, time: glob.time }));
  for (const op of input.below) {
    if (op.seq < input.wiped) continue;
    const end = op.key.indexOf(KEY_SEPARATOR, prefix.length);
    const name = op.key.slice(prefix.length, end < 0 ? undefined : end);
    if (makes(op)) events.push({ kind: 'made', name, time: op.seq });
    else if (end < 0 && op.code !== OP.truncate) events.push({ kind: 'gone', name, time: op.seq });
  }
  const rank = (event: ChildEvent): number => (event.kind === 'made' ? 1 : 0);
  return events.sort((a, b) => a.time - b.time || rank(a) - rank(b));
}

interface Range {
  readonly start: bigint;
  readonly count: bigint;
  readonly time: number;
}

/** Names in the directory as time goes by. */
class ChildNames {
  /** Names that other ops touched: there or not, since when. */
  readonly #touched = new Map<string, { readonly there: boolean; readonly time: number }>();
  /** Names that splits gave. */
  readonly #ranges: Range[] = [];
  readonly #globs: TimedGlob[] = [];
  /** Of the names that other ops made. */
  #highestMade: string | undefined;

  constructor(readonly input: SplitInput) {}

  addRange(start: bigint, count: bigint, time: number): void {
    if (count > 0n) this.#ranges.push({ start, count, time });
  }

  apply(event: ChildEvent): void {
    if (event.kind === 'made') {
      this.#touched.set(event.name, { there: true, time: event.time });
      if (this.#highestMade === undefined || event.name > this.#highestMade) {
        this.#highestMade = event.name;
      }
    } else if (event.kind !== 'glob') {
      this.#remove(event.name, event.time);
    } else {
      this.#globs.push(event.glob);
      for (const [name, { there }] of this.#touched) {
        if (there && this.#matches(event.glob, name)) this.#remove(name, event.time);
      }
    }
  }

  async highest(time: number): Promise<string | undefined> {
    let highest = this.#highestMade;
    for (const range of this.#ranges) highest = this.#higherIn(range, highest) ?? highest;
    for (const layer of this.input.layers) {
      if (layer.time > time) continue;
      const name = await this.#highestIn(layer, highest);
      if (name !== undefined && (highest === undefined || name > highest)) highest = name;
    }
    return highest;
  }

  /** The highest name of a split that is still there, if it is above `floor`. */
  #higherIn(range: Range, floor: string | undefined): string | undefined {
    for (let index = range.start + range.count - 1n; index >= range.start; index -= 1n) {
      const name = nameOf(index);
      if (floor !== undefined && name <= floor) return undefined;
      if (!this.#removedSince(name, range.time)) return name;
    }
    return undefined;
  }

  /** The highest name of a layer that is still there, if it is above `floor`. */
  async #highestIn(layer: Layer<DirNode>, floor: string | undefined): Promise<string | undefined> {
    const { store, wait } = this.input;
    const page = await this.input.open(layer.node);
    let before: string | undefined;
    for (;;) {
      const last = await lastEntry(store, page, before, wait);
      if (!last || (floor !== undefined && last.key <= floor)) return undefined;
      if (!this.#removedSince(last.key, layer.time)) return last.key;
      before = last.key;
    }
  }

  #removedSince(name: string, time: number): boolean {
    const touched = this.#touched.get(name);
    if (touched?.there === false && touched.time > time) return true;
    return this.#globs.some((glob) => glob.time > time && this.#matches(glob, name));
  }

  #remove(name: string, time: number): void {
    this.#touched.set(name, { there: false, time });
    if (name !== this.#highestMade) return;
    this.#highestMade = undefined;
    for (const [each, { there }] of this.#touched) {
      if (there && (this.#highestMade === undefined || each > this.#highestMade)) {
        this.#highestMade = each;
      }
    }
  }

  #matches({ glob }: TimedGlob, name: string): boolean {
    return glob.match(keyToPath(this.input.key + KEY_SEPARATOR + name)) !== undefined;
  }
}

function nameOf(index: bigint): string {
  return index.toString(16).padStart(16, '0');
}
