/**
 * The newest lines of this process's own log, kept in memory for whoever asks over the API. Bounded
 * in lines and in bytes; what is older is in the log file.
 */
import type { Clock } from './clock.js';

export interface RecentLine {
  /** Milliseconds since the epoch. */
  readonly ts: number;
  /** `<time> <level> <message> {fields}`. */
  readonly text: string;
}

export interface RecentQuery {
  /** Only the last n; 0 = all. */
  readonly tail: number;
  /** Only lines at most this old, in ms; 0 = all. */
  readonly sinceMs: number;
  /** Go on with new lines until the signal aborts. */
  readonly follow: boolean;
}

const LINES_MAX = 10_000;
const CHARS_MAX = 4 * 1024 * 1024;
const LINE_CHARS_MAX = 16 * 1024;
const FOLLOW_MS = 250;

const LEVELS: Readonly<Record<number, string>> = {
  10: 'trace',
  20: 'debug',
  30: 'info',
  40: 'warning',
  50: 'error',
  60: 'fatal',
};

/** A destination of the log (core/log.ts). */
export class RecentLines {
  #lines: string[] = [];
  #chars = 0;
  /** Number of the first line in #lines. */
  #first = 0;

  write(line: string): void {
    const kept = line.length > LINE_CHARS_MAX ? '' : line;
    this.#lines.push(kept);
    this.#chars += kept.length;
    // Half at a time, so that a line costs little.
    while (this.#lines.length > 2 * LINES_MAX || this.#chars > 2 * CHARS_MAX) {
      const gone = this.#lines.splice(0, Math.ceil(this.#lines.length / 2));
      this.#first += gone.length;
      this.#chars -= gone.reduce((sum, { length }) => sum + length, 0);
    }
  }

  async *read(
    query: RecentQuery,
    clock: Clock,
    wait: { readonly signal: AbortSignal },
  ): AsyncGenerator<RecentLine> {
    const oldest = query.sinceMs > 0 ? clock.wallMs() - query.sinceMs : 0;
    let next = this.#first + this.#lines.length;
    const lines = this.#lines.map(parsed).filter((line) => line !== undefined);
    const young = lines.filter(({ ts }) => ts >= oldest);
    yield* query.tail > 0 ? young.slice(-query.tail) : young;
    while (query.follow) {
      await clock.sleep(FOLLOW_MS, wait);
      const fresh = this.#lines.slice(Math.max(0, next - this.#first));
      next = this.#first + this.#lines.length;
      for (const line of fresh) {
        const shown = parsed(line);
        if (shown) yield shown;
      }
    }
  }
}

function parsed(json: string): RecentLine | undefined {
  try {
    const {
      level,
      time,
      msg,
      part: _part,
      pid: _pid,
      ...fields
    } = JSON.parse(json) as {
      level: number;
      time: number;
      msg?: string;
    } & Record<string, unknown>;
    const more = Object.keys(fields).length === 0 ? '' : ` ${JSON.stringify(fields)}`;
    const at = new Date(time).toISOString();
    return { ts: time, text: `${at} ${LEVELS[level] ?? String(level)} ${msg ?? ''}${more}` };
  } catch {
    return undefined;
  }
}
