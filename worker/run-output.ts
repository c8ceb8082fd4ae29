/**
 * Collects the output lines of one run. Memory stays bounded: after MEMORY_LINE_BYTES the lines go
 * to a file beside the slot, after RUN_OUTPUT_BYTES_MAX they are counted and dropped with a marker.
 */
import { appendFileSync, rmSync } from 'node:fs';
import { MEMORY_LINE_BYTES, RUN_OUTPUT_BYTES_MAX, type OutputLine } from './spawner-protocol.js';

/** Budget of the first live batch. */
const LIVE_BYTES_FIRST = 64 * 1024;

export class RunOutput {
  #lines: OutputLine[] = [];
  #memoryBytes = 0;
  #bytes = 0;
  #spilled = false;
  #dropped = 0;
  #count = 0;
  #live: OutputLine[] = [];
  #liveFrom = 0;
  #liveBytes = -LIVE_BYTES_FIRST;

  constructor(
    readonly file: string,
    readonly wallMs: () => number,
    /** Lines are for followers only: `finish` gives those that no follower got yet. */
    readonly endless = false,
  ) {}

  add(message: string): void {
    if (this.#bytes > RUN_OUTPUT_BYTES_MAX && !this.endless) {
      this.#dropped += 1;
      return;
    }
    this.#bytes += message.length + 32;
    this.#push([this.wallMs(), message]);
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
    if (skipped > 0) lines.push([this.wallMs(), skippedText(skipped)]);
    this.#live = [];
    this.#liveFrom = this.#count;
    this.#liveBytes = -bytesMax;
    return { from, lines };
  }

  /** Ends the collection: everything is in `lines`, or in `file`. */
  finish(): { lines: readonly OutputLine[]; file?: string; count: number } {
    if (this.endless) {
      const last = this.takeLive(0);
      return { lines: last?.lines ?? [], count: this.#count };
    }
    if (this.#dropped > 0) this.#push([this.wallMs(), skippedText(this.#dropped)]);
    if (!this.#spilled) return { lines: this.#lines, count: this.#count };
    this.#spill();
    return { lines: [], file: this.file, count: this.#count };
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
      this.#dropped += this.#lines.length;
      this.#count -= this.#lines.length;
    }
    this.#lines = [];
    this.#memoryBytes = 0;
  }
}

function skippedText(lines: number): string {
  return `[tusk: ${lines} lines of output skipped]`;
}
