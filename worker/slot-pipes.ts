/**
 * The two named pipes that carry what user code writes. Named pipes, because the sockets Node makes
 * for `pipe` cannot be opened again through /dev/stdout and /dev/stderr, which scripts do. They live
 * as long as the slot; both ends stay open here, so they never report an end.
 */
import { spawnSync } from 'node:child_process';
import { closeSync, constants, openSync, readSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { LineFramer } from './line-framer.js';
import { LINE_BYTES_MAX } from './spawner-protocol.js';

const scratch = Buffer.allocUnsafe(64 * 1024);

export class SlotPipes {
  readonly #pipes: readonly OutputPipe[];

  constructor(dir: string, onLine: (line: string) => void) {
    const paths = [join(dir, 'stdout'), join(dir, 'stderr')];
    for (const path of paths) rmSync(path, { force: true });
    const made = spawnSync('mkfifo', ['-m', '0666', ...paths], { stdio: 'pipe' });
    if (made.status !== 0) {
      throw new Error(`cannot make named pipes in ${dir}: ${made.error ?? made.stderr.toString()}`);
    }
    this.#pipes = paths.map((path) => new OutputPipe(path, onLine));
  }

  /** Descriptors for the standard output and error of a child. */
  get childFds(): readonly [number, number] {
    return [this.#pipes[0]?.writeFd ?? 1, this.#pipes[1]?.writeFd ?? 2];
  }

  /** Reads everything written so far and ends open lines. Call when no writer is left. */
  drain(): void {
    for (const pipe of this.#pipes) pipe.drain();
  }

  close(): void {
    for (const pipe of this.#pipes) pipe.close();
  }
}

class OutputPipe {
  readonly writeFd: number;
  readonly #readFd: number;
  readonly #socket: Socket;
  readonly #framer: LineFramer;

  constructor(path: string, onLine: (line: string) => void) {
    this.#framer = new LineFramer(LINE_BYTES_MAX, onLine);
    this.#readFd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.writeFd = openSync(path, constants.O_WRONLY);
    this.#socket = new Socket({ fd: this.#readFd, readable: true, writable: false });
    this.#socket.on('data', (bytes: Buffer) => this.#framer.push(bytes));
    this.#socket.on('error', () => undefined);
  }

  drain(): void {
    try {
      for (;;) {
        const length = readSync(this.#readFd, scratch, 0, scratch.length, null);
        if (length === 0) break;
        this.#framer.push(scratch.subarray(0, length));
      }
    } catch {
      // EAGAIN: the pipe is empty.
    }
    this.#framer.end();
  }

  close(): void {
    this.#socket.destroy();
    closeSync(this.writeFd);
  }
}
