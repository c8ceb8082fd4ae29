/**
 * Reads the named pipe behind a spout's /pfs/out, for as long as the process lives: archive after
 * archive, whoever writes them. Reading stops while an archive is being stored, so the pipe pushes
 * back on user code.
 */
import { execFile } from 'node:child_process';
import { closeSync, constants, openSync, rmSync } from 'node:fs';

import { Socket } from 'node:net';
import { promisify } from 'node:util';
import { addAbortListener } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';
import type { SpoutSink } from './spout-sink.js';
import { TarReader } from './tar-stream.js';

/** Makes the pipe anew; whatever was there goes. */
export async function makePipe(path: string): Promise<void> {
  rmSync(path, { recursive: true, force: true });
  await promisify(execFile)('mkfifo', ['-m', '0666', path]);
}

export interface SpoutPipeOptions extends Wait {
  readonly sink: SpoutSink;
  /**
   * Asked before an archive without end marker counts as complete: whether its writer is still well
   * (a process that was killed closes its pipe too).
   */
  readonly intact: () => Promise<boolean>;
}

export class SpoutPipe {
  #closed = false;

  constructor(readonly path: string) {}

  /**
   * Reads until `close` was called and all that was written is dealt with. Throws INVALID_INPUT for
   * what is no tar, the store's errors, what committing throws, and the signal's reason; of an
   * archive that did not end nothing is kept.
   */
  async read(options: SpoutPipeOptions): Promise<void> {
    const { signal, sink } = options;
    // What a writer leaves behind between two of our sockets is lost when nobody has the pipe open,
    // and a socket closes itself as soon as it has seen the end.
    const keeper = openPipe(this.path);
    try {
      for (;;) {
        const last = this.#closed;
        const read = await this.#readOnce(last, options);
        // What was written before the close may have come after the end of a stream.
        if (last && !read) return;
      }
    } catch (error) {
      sink.drop();
      signal.throwIfAborted();
      throw error;
    } finally {
      closeSync(keeper);
    }
  }

  /** Up to the end of a writer; answers whether anything came. */
  async #readOnce(last: boolean, options: SpoutPipeOptions): Promise<boolean> {
    const socket = new Socket({ fd: openPipe(this.path), readable: true, writable: false });
    const stop = addAbortListener(options.signal, () => socket.destroy());
    try {
      if (last || this.#closed) this.#nudge();
      return await readStream(socket, options);
    } finally {
      stop();
      socket.destroy();
    }
  }

  /** No more writers will come. */
  close(): void {
    this.#closed = true;
    this.#nudge();
  }

  /** A writer that comes and goes: the reader sees the end even if it has just opened the pipe. */
  #nudge(): void {
    try {
      closeSync(openSync(this.path, constants.O_WRONLY | constants.O_NONBLOCK));
    } catch {
      // Nobody reads any more.
    }
  }
}

async function readStream(socket: Socket, options: SpoutPipeOptions): Promise<boolean> {
  const { signal, sink, intact } = options;
  const reader = new TarReader(sink);
  let read = false;
  for await (const bytes of socket) {
    read = true;
    await reader.push(bytes as Buffer);
    signal.throwIfAborted();
  }
  signal.throwIfAborted();
  if (!reader.open) return read;
  if (await intact()) await reader.finish();
  else sink.drop();
  return read;
}

function openPipe(path: string): number {
  // Without waiting for a writer; the poll behind the socket waits.
  return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
}
