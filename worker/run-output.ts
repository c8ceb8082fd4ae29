/**
 * Collects the output lines of one run. Memory stays bounded: after MEMORY_LINE_BYTES the lines go
 * to a file beside the slot; after RUN_OUTPUT_BYTES_MAX only the newest RUN_TAIL_BYTES_MAX are kept,
 * with a line between that says how many were left out.
 */
import { appendFileSync, rmSync } from 'node:fs';
import {
  MEMORY_LINE_BYTES,
  RUN_OUTPUT_BYTES_MAX,
  RUN_TAIL_BYTES_MAX,
  type OutputLine,
} from './spawner-protocol.js';

/** Budget of the first live batch. */
const LIVE_BYTES_FIRST = 64 * 1024;
/** Newest lines that are told apart from all others, for reasons of failures. */
const LAST_LINES = 5;
const LAST_LINE_CHARS = 160;

export class RunOutput {
  #lines: OutputLine[] = [];
  #memoryBytes = 0;
  #bytes = 0;
  #spilled = false;
  /** Lines left out between head and tail. */
  #dropped = 0;
  /** Lines that no disk could take. */
  #lost = 0;
  #count = 0;
  #live: OutputLine[] = [];
  #liveFrom = 0;
  #liveBytes = -LIVE_BYTES_FIRST;
  readonly #tail = new Tail(RUN_TAIL_BYTES_MAX);
  #last: string[] = [];

  constructor(
    readonly file: string,
    readonly wallMs: () => number,
    /** Lines are for followers only: `finish` gives those that no follower got yet. */
    readonly endless = false,
  ) {}

  add(message: string): void {
    this.#last.push(message);
    if (this.#last.length > 2 * LAST_LINES) this.#last = this.#last.slice(-LAST_LINES);
    const line: OutputLine = [this.wallMs(), message];
    if (this.#bytes > RUN_OUTPUT_BYTES_MAX && !this.endless) {
      this.#dropped += this.#tail.push(line);
      return;
    }
    this.#bytes += message.length + 32;
    this.#push(line);
    const full = this.#bytes > RUN_OUTPUT_BYTES_MAX && !this.endless;
    if (full) this.#push([this.wallMs(), FULL_TEXT]);
  }

  /**
   * Lines since the last call, for followers; at most `bytesMax`, the rest is left out here (and
   * only here). Undefined when there are none.
   */
  takeLive(bytesMax: number): { from: number; lines: readonly OutputLine[] } | undefined {
    if (this.#liveFrom === this.#count) return undefined;
    const lines = this.#live;
    const from = this.#liveFrom;
    const skipped = this.#count - from - lines.length;
    if (skipped > 0) lines.push([this.wallMs(), leftOut(skipped)]);
    this.#live = [];
    this.#liveFrom = this.#count;
    this.#liveBytes = -bytesMax;
    return { from, lines };
  }

  /** Ends the collection: everything is in `lines`, or in `file`; `last` are the newest few. */
  finish(): {
    lines: readonly OutputLine[];
    file?: string;
    count: number;
    last: readonly string[];
  } {
    const last = this.#last.slice(-LAST_LINES).map((text) => text.slice(0, LAST_LINE_CHARS));
    if (this.endless) {
      const live = this.takeLive(0);
      return { lines: live?.lines ?? [], count: this.#count, last };
    }
    const dropped = this.#dropped + this.#lost;
    if (dropped > 0) this.#push([this.wallMs(), leftOut(dropped)]);
    for (const line of this.#tail.lines()) this.#push(line);
    if (!this.#spilled) return { lines: this.#lines, count: this.#count, last };
    this.#spill();
    return { lines: [], file: this.file, count: this.#count, last };
  }

  #push(line: OutputLine): void {
    this.#count += 1;
    if (!this.endless) this.#keep(line);
    if (this.#liveBytes < 0) {
      this.#live.push(line);
      this.#liveBytes += line[1].length + 32;
    }
  }

  #keep(line: OutputLine): void {
    this.#lines.push(line);
    this.#memoryBytes += line[1].length + 32;
    if (this.#memoryBytes > MEMORY_LINE_BYTES) this.#spill();
  }

  #spill(): void {
    if (!this.#spilled) rmSync(this.file, { force: true });
    this.#spilled = true;
    try {
      appendFileSync(this.file, this.#lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    } catch {
      // A full disk must not stop user code: its last words are lost, and counted.
      this.#lost += this.#lines.length;
      this.#count -= this.#lines.length;
    }
    this.#lines = [];
    this.#memoryBytes = 0;
  }
}

/** The newest lines within so many bytes. */
class Tail {
  /** Those before #start are gone already. */
  #lines: (OutputLine | undefined)[] = [];
  #start = 0;
  #bytes = 0;

  constructor(readonly bytesMax: number) {}

  /** Answers how many old lines had to go. */
  push(line: OutputLine): number {
    this.#lines.push(line);
    this.#bytes += line[1].length + 32;
    let gone = 0;
    while (this.#bytes > this.bytesMax && this.#start < this.#lines.length - 1) {
      this.#bytes -= (this.#lines[this.#start] as OutputLine)[1].length + 32;
      this.#lines[this.#start] = undefined;
      this.#start += 1;
      gone += 1;
    }
    if (this.#start > 4096 && this.#start * 2 > this.#lines.length) {
      this.#lines = this.#lines.slice(this.#start);
      this.#start = 0;
    }
    return gone;
  }

  lines(): readonly OutputLine[] {
    return this.#lines.slice(this.#start) as OutputLine[];
  }
}

const FULL_TEXT = `[tusk: more than ${RUN_OUTPUT_BYTES_MAX / 2 ** 20} MiB of output; of what follows only the end is kept]`;

function leftOut(lines: number): string {
  return `[tusk: … ${lines} lines left out]`;
}
