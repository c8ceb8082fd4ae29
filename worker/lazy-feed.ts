/**
 * Lazy input files: named pipes whose content is fetched when user code opens them. Each serves one
 * read; one that is never opened costs nothing.
 *
 * A reader can not tell a pipe whose writer failed from one that ended, so a failure ends the run
 * and fails the try.
 */
import { closeSync, constants, openSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Clock } from '../core/clock.js';
import { invalidInput } from '../core/errors.js';
import type { FileContent, Wait } from '../storage/types.js';
import { nextTurn } from './slot-files.js';

export interface LazyFile {
  /** Where the pipe is. */
  readonly target: string;
  readonly content: FileContent;
}

export interface LazyFeedDeps {
  readonly clock: Clock;
  readonly read: (content: FileContent, wait: Wait) => AsyncIterable<Buffer>;
}

/** Pipes of one datum. */
export const LAZY_FILES_MAX = 10_000;
const LOOK_MS = 5;
const LOOKS_PER_TURN = 500;

export class LazyFeed {
  readonly #stop = new AbortController();
  readonly #failed = new AbortController();
  readonly #feeding = new Set<Promise<void>>();
  readonly #watching: Promise<void>;
  #bytes = 0;
  #error: unknown;

  /** Starts looking for readers. */
  constructor(
    readonly deps: LazyFeedDeps,
    files: readonly LazyFile[],
  ) {
    this.#watching = this.#watch([...files]);
  }

  /** Aborts when a file could not be read: its reader must not go on. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /** Ends all feeding; answers the bytes that were read. Throws what went wrong. */
  async stop(): Promise<number> {
    this.#stop.abort();
    await this.#watching;
    await Promise.all(this.#feeding);
    if (this.#error !== undefined) throw this.#error;
    return this.#bytes;
  }

  async #watch(waiting: LazyFile[]): Promise<void> {
    const { clock } = this.deps;
    const { signal } = this.#stop;
    while (waiting.length > 0 && !signal.aborted) {
      const start = clock.monotonicMs();
      const idle: LazyFile[] = [];
      for (const [index, file] of waiting.entries()) {
        const fd = tryOpen(file.target);
        if (fd === undefined) idle.push(file);
        else this.#feed(fd, file.content);
        if (index % LOOKS_PER_TURN === LOOKS_PER_TURN - 1) await nextTurn();
      }
      waiting = idle;
      // At most a tenth of the time goes into looking.
      const took = clock.monotonicMs() - start;
      await clock.sleep(Math.max(LOOK_MS, took * 10), { signal }).catch(() => undefined);
    }
  }

  #feed(fd: number, content: FileContent): void {
    const feeding = this.#write(fd, content).catch((error: unknown) => {
      if (this.#stop.signal.aborted) return;
      this.#error ??= error;
      this.#failed.abort(error);
    });
    this.#feeding.add(feeding);
    void feeding.then(() => this.#feeding.delete(feeding));
  }

  async #write(fd: number, content: FileContent): Promise<void> {
    if (content.size === 0) return closeSync(fd);
    const { signal } = this.#stop;
    const socket = new Socket({ fd, readable: false, writable: true });
    let gone = false;
    const closed = new Promise<void>((resolve) => {
      socket.once('close', () => {
        gone = true;
        resolve();
      });
    });
    // The reader went away before the end: its right.
    socket.on('error', () => undefined);
    const stop = (): void => void socket.destroy();
    signal.addEventListener('abort', stop, { once: true });
    try {
      for await (const bytes of this.deps.read(content, { signal })) {
        if (gone) return;
        this.#bytes += bytes.length;
        if (!socket.write(bytes)) {
          await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed]);
        }
      }
      socket.end();
      await closed;
    } finally {
      signal.removeEventListener('abort', stop);
      socket.destroy();
    }
  }
}

/** Throws INVALID_INPUT when a datum has more lazy files than pipes can be made for. */
export function checkLazyCount(count: number): void {
  if (count <= LAZY_FILES_MAX) return;
  throw invalidInput(
    `a datum has more than ${LAZY_FILES_MAX} lazy files; use a narrower glob, or no "lazy"`,
  );
}

/** Opens a named pipe that has a reader. */
function tryOpen(path: string): number | undefined {
  try {
    return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
}
