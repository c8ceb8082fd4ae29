/**
 * Lines of a log as text (docs/formats/work.md): what lines of one datum have in common, the names
 * of all its files too, is written once, not with each of them.
 */
import type { LogLine } from './messages.js';

/**
 * One row of text: a whole line as JSON (`{…}`), the beginning of those that follow (`{…,`), or the
 * rest of a line that has the newest beginning (`"ts":…}`).
 */
export type LogRow = string;

/** Reads the rows of one text in order. */
export class LogTextReader {
  #shared = '';

  /** The line that a row ends; undefined when it only begins others. */
  read(row: LogRow): LogLine | undefined {
    if (row === '') return undefined;
    if (row.endsWith(',')) {
      this.#shared = row;
      return undefined;
    }
    return JSON.parse(row.startsWith('{') ? row : this.#shared + row) as LogLine;
  }

  /** The lines of some rows. */
  *readAll(rows: Iterable<LogRow>): Generator<LogLine> {
    for (const row of rows) {
      const line = this.read(row);
      if (line) yield line;
    }
  }
}

/** The lines of a whole text. */
export function linesOf(text: string): Generator<LogLine> {
  return new LogTextReader().readAll(text.split('\n'));
}

/** The beginning of lines that have these fields in common. */
export function sharedRow(fields: Partial<LogLine>): LogRow {
  return `${JSON.stringify(fields).slice(0, -1)},`;
}

/** The rest of a line that has a beginning. */
export function restRow(ts: number, line: number, user: boolean, message: string): LogRow {
  return `"ts":${ts},"line":${line},"user":${user},"message":${JSON.stringify(message)}}`;
}
