/**
 * Cuts bytes at line ends. Whole files of lines are taken as one view of the incoming buffer, so
 * the cost per line is one search for the next `\n`.
 */
import type { RecordGrouper } from './record-grouper.js';

const NEWLINE = 10;

/** Cuts a stream of bytes into records. */
export interface Splitter {
  write(bytes: Buffer): Promise<void>;
  /** The input is over; the rest is the last record. */
  end(): Promise<void>;
}

export class LineSplitter implements Splitter {
  readonly #files: RecordGrouper;

  constructor(files: RecordGrouper) {
    this.#files = files;
  }

  async write(bytes: Buffer): Promise<void> {
    let from = 0;
    for (let at = bytes.indexOf(NEWLINE); at >= 0; at = bytes.indexOf(NEWLINE, at + 1)) {
      const end = at + 1;
      if (!this.#files.closesWith(end - from)) continue;
      const wait = this.#files.close(bytes.subarray(from, end));
      if (wait) await wait;
      from = end;
    }
    if (from < bytes.length) await this.#files.add(bytes.subarray(from));
  }

  async end(): Promise<void> {
    await this.#files.end();
  }
}
