/**
 * Reads small files, one after another while the disk is quick, several at once when it is slow.
 *
 * A synchronous read of a cached file costs about 20 µs, an asynchronous one ten times as much; on a
 * network disk that needs a millisecond and more, waiting for one file at a time would be the limit.
 */
import { open } from 'node:fs/promises';
import type { FrameMaker } from './frames.js';
import type { LocalFile } from './walk.js';

/** Files up to this size go in one message. */
export const SMALL_BYTES = 512 * 1024;
/** A mean above this counts as slow. */
const SLOW_MS = 1;
/** How much a new measurement moves the mean. */
const WEIGHT = 1 / 32;
/** One long wait may also mean that other programs had the processor. */
const MEASURED_MAX_MS = 5;
/** A disk counts as slow for this many files; then it is measured again. */
const SLOW_FILES = 512;

/** How long reading a small file takes. */
export class Pace {
  #meanMs = 0;
  #slowFor = 0;

  get slow(): boolean {
    return this.#slowFor > 0;
  }

  /** A file was read by waiting for it. */
  measured(ms: number): void {
    this.#meanMs += (Math.min(ms, MEASURED_MAX_MS) - this.#meanMs) * WEIGHT;
    if (this.#meanMs <= SLOW_MS) return;
    this.#meanMs = 0;
    this.#slowFor = SLOW_FILES;
  }

  /** A file is read ahead, unmeasured. */
  ahead(): void {
    this.#slowFor -= 1;
  }
}

/** A finished first message with its number of file bytes. */
export interface Prepared {
  readonly message: Buffer;
  readonly bytes: number;
}

export interface Ahead {
  readonly file: LocalFile;
  /** Undefined: not read ahead, or too big for it, or unreadable (reading it again tells why). */
  readonly content: Promise<Prepared | undefined> | undefined;
}

/** The files in order; while the disk is slow up to `parallelism` of them are being read. */
export function* readAhead(
  files: Iterable<LocalFile>,
  how: { readonly pace: Pace; readonly parallelism: number; readonly frames: FrameMaker },
): Generator<Ahead> {
  const source = files[Symbol.iterator]();
  const queue: Ahead[] = [];
  let ended = false;
  for (;;) {
    const depth = how.pace.slow ? how.parallelism : 1;
    while (!ended && queue.length < depth) {
      const next = source.next();
      if (next.done) ended = true;
      else {
        const file = next.value;
        if (how.pace.slow) {
          how.pace.ahead();
          queue.push({ file, content: prepare(file, how.frames) });
        } else queue.push({ file, content: undefined });
      }
    }
    const first = queue.shift();
    if (!first) return;
    yield first;
  }
}

async function prepare(file: LocalFile, frames: FrameMaker): Promise<Prepared | undefined> {
  if (file.sentBytes !== undefined) return undefined;
  try {
    const handle = await open(file.from, 'r');
    try {
      const stats = await handle.stat();
      if (!stats.isFile() || stats.size > SMALL_BYTES) return undefined;
      // Room for one more byte: a file that has grown meanwhile is read again, whole.
      const frame = frames.first(file.to, stats.size + 1);
      let bytes = 0;
      while (bytes < frame.value.length) {
        const { bytesRead } = await handle.read(frame.value, bytes, frame.value.length - bytes);
        if (bytesRead === 0) break;
        bytes += bytesRead;
      }
      return bytes > stats.size ? undefined : { message: frame.sealed(bytes), bytes };
    } finally {
      await handle.close();
    }
  } catch {
    return undefined;
  }
}
