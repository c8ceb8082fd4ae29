/**
 * The log of one task: every line gets its number, live followers get it at once (as far as the
 * budget allows), and all lines become one deflated segment object (docs/formats/work.md).
 */
import { createReadStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { constants, deflateRaw } from 'node:zlib';
import type { LogLine, TaskMessage } from '../queue/messages.js';
import { LineFramer } from './line-framer.js';
import { LINE_BYTES_MAX, type OutputLine } from './spawner-protocol.js';

const deflate = promisify(deflateRaw);
/** Text kept before it is deflated. */
const BLOCK_CHARS = 1024 * 1024;

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
  readonly publish: (line: LogLine) => void;
  readonly budget: LiveBudget;
}

export interface DatumLogContext {
  readonly datum: string;
  readonly data: NonNullable<LogLine['data']>;
}

type Base = Omit<LogLine, 'ts' | 'line' | 'user' | 'message'>;

export class TaskLog {
  readonly #blocks: Buffer[] = [];
  #text = '';
  #count = 0;
  #live = 0;
  #skipped = 0;
  #base: Base;
  /** The constant fields as JSON, ready to be continued. */
  #prefix = '';

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
      this.#publish({ ...this.#base, ts, line: first + index, user: true, message });
    });
    this.#live = Math.max(this.#live, first + lines.length);
  }

  /** Takes over all output of a run that ended. */
  async output(done: { lines: readonly OutputLine[]; file?: string }): Promise<void> {
    for (const [ts, message] of done.lines) this.#add(ts, message, true);
    if (done.file !== undefined) await this.#file(done.file);
    if (this.#text.length > BLOCK_CHARS) await this.#deflate(constants.Z_SYNC_FLUSH);
  }

  /** The segment's bytes; undefined when there is no line. */
  async finish(): Promise<Buffer | undefined> {
    if (this.#skipped > 0) {
      const message = `[tusk: ${this.#skipped} lines not shown live; the stored log has them]`;
      const at = { ts: this.deps.wallMs(), line: this.#count, user: false, message };
      this.deps.publish({ ...this.#base, ...at });
    }
    if (this.#count === 0) return undefined;
    await this.#deflate(constants.Z_FINISH);
    return Buffer.concat(this.#blocks);
  }

  async #file(file: string): Promise<void> {
    // A character is at most six when it is escaped, and the framer does not cut on U+2028.
    const framer = new LineFramer(LINE_BYTES_MAX * 6 + 64, (text) => {
      const [ts, message] = JSON.parse(text) as OutputLine;
      this.#add(ts, message, true);
    });
    for await (const bytes of createReadStream(file)) {
      framer.push(bytes as Buffer);
      if (this.#text.length > BLOCK_CHARS) await this.#deflate(constants.Z_SYNC_FLUSH);
    }
    await rm(file, { force: true });
  }

  #add(ts: number, message: string, user: boolean): void {
    const line = this.#count;
    this.#count += 1;
    this.#text += `${this.#prefix}"ts":${ts},"line":${line},"user":${user},"message":${JSON.stringify(message)}}\n`;
    if (line >= this.#live) this.#publish({ ...this.#base, ts, line, user, message });
  }

  #publish(line: LogLine): void {
    if (this.deps.budget.take()) this.deps.publish(line);
    else this.#skipped += 1;
  }

  /** Parts of one raw deflate stream can be made one after the other. */
  async #deflate(finishFlush: number): Promise<void> {
    const text = Buffer.from(this.#text);
    this.#text = '';
    this.#blocks.push(await deflate(text, { level: constants.Z_BEST_SPEED, finishFlush }));
  }

  #context({ datum, data }: DatumLogContext): Base {
    const { task, worker } = this.deps;
    const { pipeline, job, attempt } = task;
    const base = { pipeline, job, task: task.task, attempt, worker, datum };
    const full = data.length > 0 ? { ...base, data } : base;
    this.#prefix = `${JSON.stringify(full).slice(0, -1)},`;
    return full;
  }
}
