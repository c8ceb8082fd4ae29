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
    for (let fd = openPipe(this.path); ;) {
      const socket = new Socket({ fd, readable: true, writable: false });
      const stop = addAbortListener(signal, () => socket.destroy());
      try {
        await readStream(socket, options);
        if (this.#closed) return;
        // What was written meanwhile stays in the pipe as long as somebody has it open.
        fd = openPipe(this.path);
        if (this.#closed) this.#nudge();
      } catch (error) {
        sink.drop();
        signal.throwIfAborted();
        throw error;
      } finally {
        stop();
        socket.destroy();
      }
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

async function readStream(socket: Socket, options: SpoutPipeOptions): Promise<void> {
  const { signal, sink, intact } = options;
  const reader = new TarReader(sink);
  for await (const bytes of socket) {
    await reader.push(bytes as Buffer);
    signal.throwIfAborted();
  }
  signal.throwIfAborted();
  if (!reader.open) return;
  if (await intact()) await reader.finish();
  else sink.drop();
}

function openPipe(path: string): number {
  // Without waiting for a writer; the poll behind the socket waits.
  return openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
}
