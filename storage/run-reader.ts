/**
 * Reads the ops of a run block by block: small runs whole, large ones through a window, so that
 * merging a thousand runs needs a bounded amount of memory. Blocks are checked by their crc.
 */
import { corruptData } from '../core/errors.js';
import { damaged } from './bytes.js';
import { keyOf } from './refs.js';
import { decodeBlock, decodeHead, HEAD_BYTES } from './run-format.js';
import type { GlobDelete, KeyedOp, RunHead } from './run-format.js';
import type { OpStream } from './run-merge.js';
import type { RunRef, TreeStorage } from './tree-types.js';
import type { ObjectRef, Wait } from './types.js';

const WINDOW_BYTES = 1024 * 1024;

export interface OpenedRun {
  readonly globs: readonly GlobDelete[];
  /** One per part; merged by (key, seq) they are the run. Not started. */
  readonly readers: RunReader[];
  readonly parts: readonly ObjectRef[];
}

/** Opens a run. `windowBytes` bounds what is held of each part at a time. */
export async function openRun(
  storage: TreeStorage,
  run: RunRef,
  options: Wait & { readonly windowBytes?: number },
): Promise<OpenedRun> {
  const first = await openPart(storage, run, options);
  if (first.head.parts.length === 0) {
    return { globs: first.head.globs, readers: [first.reader], parts: [] };
  }
  const globs: GlobDelete[] = [];
  const readers: RunReader[] = [];
  for (const object of first.head.parts) {
    const part = await openPart(storage, { object }, options);
    if (part.head.parts.length > 0) throw corruptData('a part of a run is itself a list');
    globs.push(...part.head.globs);
    readers.push(part.reader);
  }
  return { globs, readers, parts: first.head.parts };
}

async function openPart(
  storage: TreeStorage,
  run: RunRef,
  options: Wait & { readonly windowBytes?: number },
): Promise<{ head: RunHead; reader: RunReader }> {
  const windowBytes = options.windowBytes ?? WINDOW_BYTES;
  if ('inline' in run || run.object.size <= windowBytes) {
    const bytes = 'inline' in run ? run.inline : await storage.getObject(run.object, options);
    const head = decodeHead(bytes, true) as RunHead;
    return { head, reader: new RunReader(new Window(bytes, head.at), head.ops) };
  }
  const { object } = run;
  const read = (offset: number, length: number): Promise<Buffer> =>
    storage.objects.get(keyOf(object), { signal: options.signal, offset, length });
  for (let bytes = HEAD_BYTES; ; bytes *= 4) {
    const whole = bytes >= object.size;
    const beginning = await read(0, Math.min(bytes, object.size));
    const head = decodeHead(beginning, whole);
    if (!head) continue;
    const window = new Window(beginning.subarray(head.at), 0);
    window.more = { offset: beginning.length, end: object.size, windowBytes, read };
    return { head, reader: new RunReader(window, head.ops) };
  }
}

/** The bytes at hand, and where more come from. */
class Window {
  more:
    | {
        offset: number;
        readonly end: number;
        readonly windowBytes: number;
        readonly read: (offset: number, length: number) => Promise<Buffer>;
      }
    | undefined;

  constructor(
    public bytes: Buffer,
    public at: number,
  ) {}

  get left(): number {
    return this.bytes.length - this.at;
  }

  /** True when `count` bytes are at hand. */
  has(count: number): boolean {
    return this.left >= count;
  }

  get ended(): boolean {
    return this.left === 0 && (!this.more || this.more.offset >= this.more.end);
  }

  /** Reads on, until `count` bytes are at hand. */
  async fill(count: number): Promise<void> {
    const { more } = this;
    const missing = count - this.left;
    if (!more || more.end - more.offset < missing) throw damaged('a run');
    const length = Math.min(Math.max(missing, more.windowBytes), more.end - more.offset);
    const next = await more.read(more.offset, length);
    if (next.length !== length) throw damaged('a run');
    more.offset += length;
    this.bytes = this.left === 0 ? next : Buffer.concat([this.bytes.subarray(this.at), next]);
    this.at = 0;
  }
}

export class RunReader implements OpStream {
  head: KeyedOp | undefined;
  #block: Iterator<KeyedOp> | undefined;
  #read = 0;

  constructor(
    readonly window: Window,
    /** Ops the run says it has. */
    readonly ops: number,
  ) {}

  /** Moves to the next op (the first, at first); `head` is undefined at the end. */
  advance(): Promise<void> | undefined {
    const next = this.#block?.next();
    if (next && !next.done) {
      this.head = next.value;
      this.#read += 1;
      return undefined;
    }
    return this.#nextBlock();
  }

  #nextBlock(): Promise<void> | undefined {
    const { window } = this;
    if (window.ended) {
      if (this.#read !== this.ops) throw damaged('a run');
      this.head = undefined;
      this.#block = undefined;
      return undefined;
    }
    if (!window.has(8)) return window.fill(8).then(() => this.#nextBlock());
    const length = window.bytes.readUInt32LE(window.at);
    if (!window.has(8 + length)) return window.fill(8 + length).then(() => this.#nextBlock());
    const sum = window.bytes.readUInt32LE(window.at + 4);
    this.#block = decodeBlock(window.bytes.subarray(window.at + 8, window.at + 8 + length), sum);
    window.at += 8 + length;
    return this.advance();
  }
}
