/**
 * A local file written in order while more bytes arrive: a few writes are on their way at once, so
 * the disk and the network work at the same time.
 */
import { closeSync, openSync, write } from 'node:fs';
import { invalidInput } from '../../core/errors.js';
import { fileErrorText } from './file-error.js';

const BYTES_MAX = 32 * 1024 * 1024;

export class FileSink {
  readonly #fd: number;
  readonly #name: string;
  readonly #owned: boolean;
  #tail: Promise<void> = Promise.resolve();
  #bytes = 0;
  #error: Error | undefined;

  private constructor(fd: number, name: string, owned: boolean) {
    this.#fd = fd;
    this.#name = name;
    this.#owned = owned;
  }

  /** Creates or truncates a file, or opens it for appending. Throws INVALID_INPUT. */
  static open(path: string, how: { append: boolean }): FileSink {
    try {
      return new FileSink(openSync(path, how.append ? 'a' : 'w'), path, true);
    } catch (error) {
      throw invalidInput(fileErrorText('open', path, error));
    }
  }

  /** Writes to a descriptor somebody else opened and closes. */
  static ofDescriptor(fd: number): FileSink {
    return new FileSink(fd, 'standard output', false);
  }

  /** Takes bytes; waits while much is unwritten. */
  async write(bytes: Buffer): Promise<void> {
    if (this.#error) throw this.#error;
    this.#bytes += bytes.length;
    this.#tail = this.#tail.then(() => this.#writeOne(bytes));
    if (this.#bytes >= BYTES_MAX) await this.#tail;
  }

  async close(): Promise<void> {
    await this.#tail;
    if (this.#owned) closeSync(this.#fd);
    if (this.#error) throw this.#error;
  }

  /** Closes after a failure elsewhere. */
  abandon(): void {
    const close = (): void => {
      if (this.#owned) closeSync(this.#fd);
    };
    this.#tail.then(close, close);
  }

  async #writeOne(bytes: Buffer): Promise<void> {
    for (let from = 0; from < bytes.length && !this.#error;) {
      from += await new Promise<number>((resolve) => {
        write(this.#fd, bytes, from, bytes.length - from, null, (error, written) => {
          if (error) this.#error = invalidInput(fileErrorText('write', this.#name, error));
          resolve(written ?? 0);
        });
      });
    }
    this.#bytes -= bytes.length;
  }
}
