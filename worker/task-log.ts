/**
 * The log of one task: every line gets its number, live followers get it at once (as far as the
 * budget allows), and all lines become deflated segment objects (docs/formats/work.md). A segment
 * that is full is stored while the task still runs, so memory does not grow with the log.
 */
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { constants, deflateRaw, deflateRawSync, inflateRaw } from 'node:zlib';
import { linesOf, restRow, sharedRow, type LogRow } from '../queue/log-text.js';
import type { LinesSoFar, LogLine, TaskMessage } from '../queue/messages.js';
import { LineFramer } from './line-framer.js';
import { LINE_BYTES_MAX, type OutputLine } from './spawner-protocol.js';

const deflate = promisify(deflateRaw);
/** The last block of a raw deflate stream, without content. Making it costs as much as a block. */
const DEFLATED_END = Buffer.from([0x03, 0x00]);
const inflate = promisify(inflateRaw);
/** Text kept before it is deflated. */
const BLOCK_CHARS = 1024 * 1024;
/** Text that is deflated at once: half a millisecond, less than a trip to the thread pool. */
const AT_ONCE_BYTES = 64 * 1024;
/** Deflated bytes of a segment. */
const SEGMENT_BYTES = 4 * 1024 * 1024;
/** Text of a run in progress that is kept for readers; it is all in the segments afterwards. */
const CURRENT_CHARS = 1024 * 1024;
/** Datums with more names of files than this are shown to followers without them. */
const LIVE_SHARED_CHARS = 64 * 1024;
/** One answer to a reader. */
const ANSWER_CHARS = 256 * 1024;

/** Live lines of all tasks of a worker together: so many a second, the rest is left out visibly. */
export class LiveBudget {
  #left: number;
  #second = 0;

  constructor(
    readonly linesPerSecond: number,
    readonly monotonicMs: () => number,
  ) {
    this.#left = linesPerSecond;
  }

  /** Takes one line from the budget. */
  take(): boolean {
    const second = Math.floor(this.monotonicMs() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#left = this.linesPerSecond;
    }
    this.#left -= 1;
    return this.#left >= 0;
  }
}

export interface TaskLogDeps {
  readonly task: TaskMessage;
  readonly worker: string;
  readonly wallMs: () => number;
  /** Sends a line to followers: its own part, and what it shares with others of its datum. */
  readonly publish: (row: LogRow, shared: LogRow) => void;
  readonly budget: LiveBudget;
  /** Stores a segment; answers its reference. */
  readonly store: (bytes: Buffer) => Promise<string>;
}

export interface DatumLogContext {
  readonly datum: string;
  readonly data: NonNullable<LogLine['data']>;
}

type Base = Omit<LogLine, 'ts' | 'line' | 'user' | 'message'>;

/** Lines from `first` on, up to the next block; inflates by itself. */
interface Block {
  readonly first: number;
  readonly bytes: Buffer;
}

export class TaskLog {
  #blocks: Block[] = [];
  #blockBytes = 0;
  readonly #stored: { readonly first: number; readonly ref: string }[] = [];
  #text = '';
  /** Number of the first line in #text. */
  #textFirst = 0;
  #count = 0;
  #live = 0;
  #skipped = 0;
  #base: Base;
  /** What all lines of the datum at hand begin with. */
  #shared: LogRow = '';
  /** The same for followers. */
  #liveShared: LogRow = '';
  /** The newest beginning in #text. */
  #textShared: LogRow = '';
  /** Newest lines of the run in progress. */
  #current: LogLine[] = [];
  #currentChars = 0;

  constructor(readonly deps: TaskLogDeps) {
    this.#base = this.#context({ datum: '', data: [] });
  }

  /** Number of lines so far, which is the number of the next one. */
  get count(): number {
    return this.#count;
  }

  /** Lines from now on are about this datum. */
  enter(context: DatumLogContext): void {
    this.#base = this.#context(context);
  }

  /** A line of the worker's own. */
  say(message: string): void {
    this.#add(this.deps.wallMs(), message, false);
  }

  /** Lines of a run in progress, for followers only; `first` is the run's first line number. */
  live(first: number, lines: readonly OutputLine[]): void {
    lines.forEach(([ts, message], index) => {
      const line = first + index;
      this.#publish(restRow(ts, line, true, message));
      this.#remember({ ...this.#base, ts, line, user: true, message });
    });
    this.#live = Math.max(this.#live, first + lines.length);
  }

  /** Takes over all output of a run that ended. */
  async output(done: { lines: readonly OutputLine[]; file?: string }): Promise<void> {
    this.#current = [];
    this.#currentChars = 0;
    for (const [ts, message] of done.lines) this.#add(ts, message, true);
    if (done.file !== undefined) await this.#file(done.file);
    if (this.#text.length > BLOCK_CHARS) await this.#endBlock();
  }

  /** Stores what is left; answers every segment's reference, in order. */
  async finish(): Promise<string[]> {
    if (this.#skipped > 0) {
      const message = `[tusk: ${this.#skipped} lines not shown live; the stored log has them]`;
      this.deps.publish(restRow(this.deps.wallMs(), this.#count, false, message), this.#liveShared);
    }
    if (this.#text !== '') await this.#endBlock();
    if (this.#blocks.length > 0) await this.#endSegment();
    return this.#stored.map(({ ref }) => ref);
  }

  /** Lines from number `from` on, or the stored segment that has them: as much as one answer takes. */
  async soFar(from: number): Promise<LinesSoFar> {
    const held = this.#blocks[0]?.first ?? this.#textFirst;
    const stored = this.#stored.findLast(({ first }) => first <= from);
    if (stored && from < held) {
      const at = this.#stored.indexOf(stored);
      return { segment: stored.ref, next: this.#stored[at + 1]?.first ?? held };
    }
    const block = this.#blocks.findLast(({ first }) => first <= from);
    const next = block && this.#blocks[this.#blocks.indexOf(block) + 1]?.first;
    if (block && from < (next ?? this.#textFirst)) {
      const text = await inflate(block.bytes, { finishFlush: constants.Z_SYNC_FLUSH });
      return answer(linesOf(text.toString()), from);
    }
    if (from < this.#count) return answer(linesOf(this.#text), from);
    return answer(this.#current, from);
  }

  async #file(file: string): Promise<void> {
    // A character is at most six when it is escaped, and the framer does not cut on U+2028.
    const framer = new LineFramer(LINE_BYTES_MAX * 6 + 64, (text) => {
      const [ts, message] = JSON.parse(text) as OutputLine;
      this.#add(ts, message, true);
    });
    for await (const bytes of createReadStream(file)) {
      framer.push(bytes as Buffer);
      if (this.#text.length > BLOCK_CHARS) await this.#endBlock();
    }
    await rm(file, { force: true });
  }

  #add(ts: number, message: string, user: boolean): void {
    const line = this.#count;
    this.#count += 1;
    const row = restRow(ts, line, user, message);
    if (this.#textShared !== this.#shared) {
      this.#textShared = this.#shared;
      this.#text += `${this.#shared}\n`;
    }
    this.#text += `${row}\n`;
    if (line >= this.#live) this.#publish(row);
  }

  #publish(row: LogRow): void {
    if (this.deps.budget.take()) this.deps.publish(row, this.#liveShared);
    else this.#skipped += 1;
  }

  #remember(line: LogLine): void {
    this.#current.push(line);
    this.#currentChars += line.message.length;
    if (this.#currentChars <= CURRENT_CHARS) return;
    const gone = this.#current.splice(0, Math.ceil(this.#current.length / 2));
    this.#currentChars = this.#current.reduce((sum, { message }) => sum + message.length, 0);
    const last = gone.at(-1);
    if (!last) return;
    const message = `[tusk: … ${gone.length} lines left out until the datum is done]`;
    this.#current.unshift({ ...last, message });
  }

  /** Parts of one raw deflate stream can be made one after the other. */
  async #endBlock(): Promise<void> {
    const { length } = this.#text;
    const text = Buffer.from(this.#text);
    const first = this.#textFirst;
    const next = this.#count;
    // A block is read by itself.
    this.#textShared = '';
    const finishFlush = constants.Z_SYNC_FLUSH;
    const options = { level: constants.Z_BEST_SPEED, finishFlush };
    const atOnce = text.length <= AT_ONCE_BYTES;
    const bytes = atOnce ? deflateRawSync(text, options) : await deflate(text, options);
    this.#text = this.#text.slice(length);
    this.#textFirst = next;
    this.#blocks.push({ first, bytes });
    this.#blockBytes += bytes.length;
    if (this.#blockBytes > SEGMENT_BYTES) await this.#endSegment();
  }

  async #endSegment(): Promise<void> {
    const [block] = this.#blocks;
    if (!block) return;
    const parts = [...this.#blocks.map(({ bytes }) => bytes), DEFLATED_END];
    const ref = await this.deps.store(Buffer.concat(parts));
    this.#stored.push({ first: block.first, ref });
    this.#blocks = [];
    this.#blockBytes = 0;
  }

  #context({ datum, data }: DatumLogContext): Base {
    const { task, worker } = this.deps;
    const { pipeline, job, attempt } = task;
    const base = { pipeline, job, task: task.task, attempt, worker, datum };
    const full = data.length > 0 ? { ...base, data } : base;
    this.#shared = sharedRow(full);
    const long = this.#shared.length > LIVE_SHARED_CHARS;
    this.#liveShared = long ? sharedRow(base) : this.#shared;
    return full;
  }
}

function answer(lines: Iterable<LogLine>, from: number): LinesSoFar {
  const some: LogLine[] = [];
  let chars = 0;
  for (const line of lines) {
    if (line.line < from) continue;
    some.push(line);
    chars += line.message.length + 200;
    if (chars > ANSWER_CHARS) break;
  }
  const last = some.at(-1);
  return last ? { lines: some, next: last.line + 1 } : { lines: [] };
}
