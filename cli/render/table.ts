/**
 * Tables as v1 clients print them: every cell, the last included, is padded to its column; the
 * output is cut into blocks of 50 lines (header and 49 rows) with widths of their own.
 */
import { widthOf } from './colour.js';

export interface Geometry {
  readonly min: number;
  readonly gap: number;
}

export const NARROW: Geometry = { min: 0, gap: 1 };
export const WIDE: Geometry = { min: 20, gap: 3 };

const ROWS_PER_BLOCK = 49;

export interface TableOptions {
  readonly geometry?: Geometry;
  /** The header's last cell gets no padding (commit list). */
  readonly bareHeaderEnd?: boolean;
  /** The last cell of every row gets no padding. */
  readonly bareRowEnd?: boolean;
}

/** Collects rows and hands out blocks of text as they fill up. */
export class Table {
  readonly #header: readonly string[];
  readonly #options: TableOptions;
  readonly #write: (text: string) => void;
  #rows: (readonly string[])[] = [];
  #blocks = 0;

  constructor(
    header: readonly string[],
    write: (text: string) => void,
    options: TableOptions = {},
  ) {
    this.#header = header;
    this.#write = write;
    this.#options = options;
  }

  row(cells: readonly string[]): void {
    this.#rows.push(cells);
    if (this.#rows.length === ROWS_PER_BLOCK) this.#block();
  }

  /** Writes what is left; an empty table is its header line alone. */
  end(): void {
    if (this.#rows.length > 0 || this.#blocks === 0) this.#block();
  }

  #block(): void {
    const widths = columnWidths([this.#header, ...this.#rows], this.#options.geometry ?? NARROW);
    const { bareHeaderEnd = false, bareRowEnd = false } = this.#options;
    let text = line(this.#header, widths, bareHeaderEnd);
    for (const row of this.#rows) text += line(row, widths, bareRowEnd);
    this.#rows = [];
    this.#blocks += 1;
    this.#write(text);
  }
}

/** Widths of all columns, gap included. */
export function columnWidths(rows: readonly (readonly string[])[], geometry: Geometry): number[] {
  const widths: number[] = [];
  for (const row of rows) {
    for (const [index, cell] of row.entries()) {
      const width = Math.max(widthOf(cell) + geometry.gap, geometry.min);
      widths[index] = Math.max(widths[index] ?? 0, width);
    }
  }
  return widths;
}

/** One line of a table. */
export function line(cells: readonly string[], widths: readonly number[], bareEnd = false): string {
  let text = '';
  for (const [index, cell] of cells.entries()) {
    const bare = bareEnd && index === cells.length - 1;
    text += bare ? cell : cell + ' '.repeat(Math.max(0, (widths[index] ?? 0) - widthOf(cell)));
  }
  return `${text}\n`;
}

/** A whole small table at once. */
export function formatTable(
  header: readonly string[],
  rows: readonly (readonly string[])[],
  options: TableOptions = {},
): string {
  let text = '';
  const table = new Table(header, (block) => (text += block), options);
  for (const row of rows) table.row(row);
  table.end();
  return text;
}

/**
 * A table that is printed row by row while rows keep arriving: columns only ever grow. `expected`
 * gives the widths that rows usually need.
 */
export class LiveTable {
  readonly #widths: number[];
  readonly #write: (text: string) => void;

  constructor(
    header: readonly string[],
    expected: readonly number[],
    write: (text: string) => void,
  ) {
    this.#widths = columnWidths([header], NARROW).map((width, index) =>
      Math.max(width, (expected[index] ?? 0) + NARROW.gap),
    );
    this.#write = write;
    write(line(header, this.#widths));
  }

  row(cells: readonly string[]): void {
    for (const [index, width] of columnWidths([cells], NARROW).entries()) {
      this.#widths[index] = Math.max(this.#widths[index] ?? 0, width);
    }
    this.#write(line(cells, this.#widths));
  }
}
