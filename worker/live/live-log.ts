/**
 * The log of a duty: lines go to followers at once, and to segment objects (docs/formats/work.md)
 * that are written again while they grow: soon after the first line, then less and less often.
 * Memory is bounded: while the store is away, the oldest lines are dropped, visibly.
 */
import { promisify } from 'node:util';
import { constants, deflateRaw } from 'node:zlib';
import type { Clock } from '../../core/clock.js';
import type { LogRow } from '../../queue/index.js';
import type { LogLine, LogSource } from '../../queue/messages.js';
import type { OutputLine } from '../spawner-protocol.js';
import type { LiveBudget } from '../task-log.js';

export interface LiveLogDeps {
  readonly clock: Clock;
  readonly budget: LiveBudget;
  /** Sends a line to followers; `row` is the line as text. */
  readonly publish: (line: LogSource, row: LogRow) => void;
  /** Stores deflated bytes; answers their reference. */
  readonly store: (bytes: Buffer, signal: AbortSignal) => Promise<string>;
  /** A segment is stored; the same number again replaces it. */
  readonly onSegment: (number: number, ref: string) => void;
}

export type LiveLogBase = Pick<LogLine, 'pipeline' | 'job' | 'attempt' | 'worker' | 'datum'>;

const deflate = promisify(deflateRaw);
const SEGMENT_CHARS = 1024 * 1024;
const HELD_CHARS_MAX = 4 * SEGMENT_CHARS;
const FIRST_MS = 500;
const LATER_MS = 10_000;

export class LiveLog {
  #line = 0;
  #segment = 0;
  #lines: string[] = [];
  #chars = 0;
  #stored = 0;
  #dropped = 0;
  #intervalMs = FIRST_MS;
  #flushing: Promise<void> | undefined;
  #wake: () => void = () => undefined;

  constructor(
    readonly base: LiveLogBase,
    readonly deps: LiveLogDeps,
  ) {}

  /** A line of the worker's own. */
  say(message: string): void {
    this.#add(this.deps.clock.wallMs(), message, false);
  }

  /** Lines of user code. */
  output(lines: readonly OutputLine[]): void {
    for (const [ts, message] of lines) this.#add(ts, message, true);
  }

  /** Stores what is new every so often, until the signal aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      if (this.#stored === this.#lines.length) await this.#something(signal);
      await this.deps.clock.sleep(this.#intervalMs, { signal }).catch(() => undefined);
      this.#intervalMs = Math.min(LATER_MS, this.#intervalMs * 2);
      // What fails is tried again at the next turn.
      if (!signal.aborted) await this.flush(signal).catch(() => undefined);
    }
  }

  /** Stores everything so far. Throws the store's errors. */
  async flush(signal: AbortSignal): Promise<void> {
    while (this.#flushing) await this.#flushing;
    if (this.#stored === this.#lines.length) return;
    this.#flushing = this.#flush(signal).finally(() => (this.#flushing = undefined));
    await this.#flushing;
  }

  /** The next lines are stored soon again. */
  hurry(): void {
    this.#intervalMs = FIRST_MS;
  }

  async #flush(signal: AbortSignal): Promise<void> {
    const count = this.#lines.length;
    const whole = this.#chars >= SEGMENT_CHARS;
    const bytes = await deflate(Buffer.from(this.#lines.slice(0, count).join('')), {
      level: constants.Z_BEST_SPEED,
    });
    const ref = await this.deps.store(bytes, signal);
    this.deps.onSegment(this.#segment, ref);
    this.#stored = count;
    if (!whole) return;
    const done = this.#lines.splice(0, count);
    this.#chars -= done.reduce((sum, line) => sum + line.length, 0);
    this.#stored = 0;
    this.#segment += 1;
  }

  #add(ts: number, message: string, user: boolean): void {
    const line = { ...this.base, task: 0, ts, line: this.#line, user, message };
    this.#line += 1;
    const row = JSON.stringify(line);
    if (this.deps.budget.take()) this.deps.publish(line, row);
    if (this.#chars > HELD_CHARS_MAX) {
      this.#dropped += 1;
      return;
    }
    if (this.#dropped > 0) this.#addDropped(ts);
    this.#lines.push(`${row}\n`);
    this.#chars += row.length + 1;
    this.#wake();
  }

  #addDropped(ts: number): void {
    const message = `[tusk: ${this.#dropped} lines skipped: they came faster than they could be stored]`;
    this.#dropped = 0;
    this.#add(ts, message, false);
  }

  #something(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        signal.removeEventListener('abort', done);
        resolve();
      };
      this.#wake = done;
      signal.addEventListener('abort', done, { once: true });
      if (signal.aborted) done();
    });
  }
}
