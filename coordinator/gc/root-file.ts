/** Values of etcd on their way to the marker: a file of length-prefixed texts. */
import { createReadStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';

const FLUSH_BYTES = 256 * 1024;

export class RootFile implements AsyncDisposable {
  #parts: Buffer[] = [];
  #bytes = 0;
  #writing: Promise<void> = Promise.resolve();
  roots = 0;

  private constructor(readonly file: FileHandle) {}

  static async create(path: string): Promise<RootFile> {
    return new RootFile(await open(path, 'w', 0o600));
  }

  /** Adds a value; empty ones refer to nothing. */
  async add(value: Buffer): Promise<void> {
    if (value.length === 0) return;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(value.length);
    this.#parts.push(length, value);
    this.#bytes += 4 + value.length;
    this.roots += 1;
    if (this.#bytes >= FLUSH_BYTES) await this.flush();
  }

  /** Writers may overlap: what was added goes out in order. */
  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#bytes = 0;
    this.#writing = this.#writing.then(async () => {
      if (bytes.length > 0) await this.file.write(bytes);
    });
    await this.#writing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.catch(() => undefined);
    await this.file.close();
  }
}

/** The texts of a file, in order. */
export async function* readRoots(path: string): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const part of createReadStream(path)) {
    rest = rest.length === 0 ? (part as Buffer) : Buffer.concat([rest, part as Buffer]);
    let at = 0;
    while (rest.length - at >= 4) {
      const end = at + 4 + rest.readUInt32LE(at);
      if (end > rest.length) break;
      yield rest.toString('latin1', at + 4, end);
      at = end;
    }
    rest = rest.subarray(at);
  }
}

/** Keys and values that were added by turns. */
export async function* readRecords(path: string): AsyncGenerator<{ key: string; value: string }> {
  let key: string | undefined;
  for await (const text of readRoots(path)) {
    if (key === undefined) key = Buffer.from(text, 'latin1').toString();
    else {
      yield { key, value: text };
      key = undefined;
    }
  }
}
