/**
 * Objects as files below one directory: key `c/0/abcd…` lies at `c/0/ab/abcd…`.
 *
 * D1 An object appears by rename of a finished, fdatasynced temporary file, and `put` returns after
 *    the directory that holds the name is synced too, so O1 and O2 hold across power loss.
 * D2 Directory syncs are shared: puts that end while one runs wait for the next one together.
 * D3 A key that already exists with the same size is not written again (its name is the digest),
 *    unless it is small; then the same bytes take its place.
 *
 * Leftover temporary files of a crash lie in `tmp/` and are removed when the store is opened by
 * the next process only if they are older than a day (another process may be writing).
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { AppError, invalidInput, noSpace, notFound, unavailable } from '../core/errors.js';
import { makeDir } from '../core/make-dir.js';
import { Semaphore } from '../core/semaphore.js';
import {
  bodyBytes,
  bufferFor,
  type GetOptions,
  type ObjectInfo,
  type ObjectStore,
  type PutOptions,
} from './object-store.js';
import type { Wait } from './types.js';

/** `<kind>/<epoch>/<name>`. */
const KEY = /^(?!tmp\/)[a-z]+\/\d+\/[A-Za-z0-9_-]{2,100}$/;
/** Temporary files older than this belong to no live process. */
const TMP_AGE_MS = 24 * 3600 * 1000;
/** Writes at once: enough to keep a disk busy, few enough to leave threads for readers. */
const PARALLEL_WRITES = 8;
const PARALLEL_READS = 16;
/** Reads up to this length get their memory before it is known that so much is there. */
const KNOWN_BYTES_MAX = 16 * 1024 * 1024;
/** Objects up to this length are written without looking whether they exist. */
const SURE_BYTES = 64 * 1024;
/** writev takes at most this many parts (IOV_MAX). */
const PARTS_MAX = 1024;

export class DirStore implements ObjectStore {
  readonly place: string;
  readonly counts = { reads: 0, readBytes: 0, readsHedged: 0, slowDowns: 0 };
  readonly #writes = new Semaphore(PARALLEL_WRITES);
  readonly #reads = new Semaphore(PARALLEL_READS);
  readonly #made = new Map<string, Promise<void>>();
  readonly #syncs = new Map<string, DirSync>();

  private constructor(readonly root: string) {
    this.place = `directory ${root}`;
  }

  /** Opens (and makes) the store's directory; `wallMs` is now, for the age of leftovers. */
  static async open(root: string, options: { wallMs: number }): Promise<DirStore> {
    const store = new DirStore(root);
    try {
      makeDir(join(root, 'tmp'));
      await removeLeftovers(join(root, 'tmp'), options.wallMs - TMP_AGE_MS);
    } catch (error) {
      throw store.#translate(error, 'open');
    }
    return store;
  }

  async put(
    key: string,
    bytes: Uint8Array | readonly Uint8Array[],
    options: PutOptions,
  ): Promise<void> {
    const target = this.#path(key);
    await this.#writes.with({ signal: options.signal }, async () => {
      try {
        const length = bodyBytes(bytes);
        // Whether a small one is there already costs more to find out than to write it again.
        const there = length > SURE_BYTES && (await sizeOf(target)) === length;
        if (!there) await this.#write(target, bytes, options);
        await this.#syncDir(dirname(target));
      } catch (error) {
        throw this.#translate(error, key);
      }
    });
  }

  async get(key: string, options: GetOptions): Promise<Buffer> {
    const path = this.#path(key);
    return this.#reads.with({ signal: options.signal }, async () => {
      let file: FileHandle | undefined;
      try {
        file = await open(path, 'r');
        const { offset = 0, length = Infinity } = options;
        // The size matters only to who reads to the end; most reads know what they want.
        const wanted =
          length <= KNOWN_BYTES_MAX
            ? length
            : Math.max(0, Math.min(length, (await file.stat()).size - offset));
        const bytes = await readFully(file, offset, bufferFor(wanted, options), options.signal);
        this.counts.reads += 1;
        this.counts.readBytes += bytes.length;
        return bytes;
      } catch (error) {
        throw this.#translate(error, key);
      } finally {
        await file?.close();
      }
    });
  }

  async head(key: string, wait: Wait): Promise<ObjectInfo | undefined> {
    wait.signal.throwIfAborted();
    try {
      const size = await sizeOf(this.#path(key));
      return size === undefined ? undefined : { key, size };
    } catch (error) {
      throw this.#translate(error, key);
    }
  }

  async *list(
    prefix: string,
    options: Wait & { readonly after?: string },
  ): AsyncGenerator<ObjectInfo> {
    for await (const entry of this.#walk(this.root, '', prefix, options)) yield entry;
  }

  async delete(keys: readonly string[], wait: Wait): Promise<void> {
    for (const key of keys) {
      wait.signal.throwIfAborted();
      try {
        await rm(this.#path(key), { force: true });
      } catch (error) {
        throw this.#translate(error, key);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled([...this.#syncs.values()].map((sync) => sync.idle()));
  }

  /** The file of a key: its last part gets a fan-out directory of its first two characters. */
  #path(key: string): string {
    if (!KEY.test(key)) throw invalidInput(`not an object key: "${key}"`);
    const slash = key.lastIndexOf('/');
    const name = key.slice(slash + 1);
    return join(this.root, key.slice(0, slash + 1), name.slice(0, 2), name);
  }

  async #write(
    target: string,
    bytes: Uint8Array | readonly Uint8Array[],
    options: PutOptions,
  ): Promise<void> {
    options.signal.throwIfAborted();
    await this.#makeDir(dirname(target));
    const temporary = join(this.root, 'tmp', randomUUID());
    try {
      const file = await open(temporary, 'wx', 0o644);
      try {
        await writeFully(file, bytes instanceof Uint8Array ? [bytes] : bytes, options.signal);
        await file.datasync();
      } finally {
        await file.close();
      }
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  /** Makes a directory, once per process, and sees to it that its name survives a crash too. */
  #makeDir(directory: string): Promise<void> {
    let made = this.#made.get(directory);
    if (!made) {
      made = this.#makeAndSync(directory);
      this.#made.set(directory, made);
      made.catch(() => this.#made.delete(directory));
    }
    return made;
  }

  async #makeAndSync(directory: string): Promise<void> {
    const first = (await mkdir(directory, { recursive: true })) ?? directory;
    for (let at = directory; at.length >= first.length; at = dirname(at)) {
      await this.#syncDir(dirname(at));
    }
  }

  async #syncDir(directory: string): Promise<void> {
    let sync = this.#syncs.get(directory);
    if (!sync) {
      sync = new DirSync(directory);
      this.#syncs.set(directory, sync);
    }
    await sync.wait();
  }

  async *#walk(
    directory: string,
    keyPrefix: string,
    prefix: string,
    options: Wait & { readonly after?: string },
  ): AsyncGenerator<ObjectInfo> {
    options.signal.throwIfAborted();
    const entries = await readdir(directory, { withFileTypes: true }).catch((error: unknown) => {
      if (systemCode(error) === 'ENOENT') return [];
      throw this.#translate(error, keyPrefix);
    });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    for (const entry of entries) {
      if (keyPrefix === '' && entry.name === 'tmp') continue;
      const path = join(directory, entry.name);
      if (entry.isDirectory()) {
        // A two-character directory below `kind/epoch` is fan-out, not part of the key.
        const fan = keyPrefix.split('/').length > 2;
        const next = fan ? keyPrefix : `${keyPrefix}${entry.name}/`;
        const probe = fan ? keyPrefix + entry.name : next;
        if (probe.startsWith(prefix.slice(0, probe.length))) {
          yield* this.#walk(path, next, prefix, options);
        }
        continue;
      }
      const key = keyPrefix + entry.name;
      if (!key.startsWith(prefix) || (options.after !== undefined && key <= options.after))
        continue;
      const size = await sizeOf(path);
      if (size !== undefined) yield { key, size };
    }
  }

  #translate(error: unknown, key: string): unknown {
    if (error instanceof AppError || (error as Error)?.name === 'AbortError') return error;
    const fields = { directory: this.root, key };
    switch (systemCode(error)) {
      case 'ENOENT':
        return notFound(`object ${key} is missing in ${this.place}`, { cause: error, fields });
      case 'ENOSPC':
      case 'EDQUOT':
        return noSpace(
          `no space left in ${this.root}: free some disk space there (or move the data directory ` +
            'to a larger disk) and try again',
          { cause: error, fields },
        );
      case 'EACCES':
      case 'EPERM':
      case 'EROFS':
        return new AppError(
          'PERMISSION_DENIED',
          `cannot write in ${this.root}: check that this user may write there`,
          { cause: error, fields },
        );
      case undefined:
        return error;
      default:
        return unavailable(`${this.place} does not work (${systemCode(error)})`, {
          cause: error,
          fields,
        });
    }
  }
}

/** Shares fsyncs of one directory: who arrives while one runs waits for the next. */
class DirSync {
  #running: Promise<void> | undefined;
  #next: Promise<void> | undefined;

  constructor(readonly directory: string) {}

  async wait(): Promise<void> {
    if (!this.#running) return this.#start();
    this.#next ??= this.#running.then(
      () => this.#start(),
      () => this.#start(),
    );
    return this.#next;
  }

  async idle(): Promise<void> {
    await this.#running;
  }

  async #start(): Promise<void> {
    this.#next = undefined;
    const run = syncDirectory(this.directory);
    this.#running = run;
    try {
      await run;
    } finally {
      if (this.#running === run) this.#running = undefined;
    }
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function writeFully(
  file: FileHandle,
  parts: readonly Uint8Array[],
  signal: AbortSignal,
): Promise<void> {
  let rest = parts.filter((part) => part.byteLength > 0);
  while (rest.length > 0) {
    signal.throwIfAborted();
    let { bytesWritten } = await file.writev(rest.slice(0, PARTS_MAX));
    let whole = 0;
    while (whole < rest.length && bytesWritten >= (rest[whole] as Uint8Array).byteLength) {
      bytesWritten -= (rest[whole] as Uint8Array).byteLength;
      whole += 1;
    }
    rest = rest.slice(whole);
    if (bytesWritten > 0 && rest[0]) rest[0] = rest[0].subarray(bytesWritten);
  }
}

async function readFully(
  file: FileHandle,
  from: number,
  buffer: Buffer,
  signal: AbortSignal,
): Promise<Buffer> {
  const { length } = buffer;
  let have = 0;
  while (have < length) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, have, length - have, from + have);
    if (bytesRead === 0) break;
    have += bytesRead;
  }
  return have === length ? buffer : buffer.subarray(0, have);
}

async function sizeOf(path: string): Promise<number | undefined> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function removeLeftovers(directory: string, olderThanMs: number): Promise<void> {
  for (const name of await readdir(directory)) {
    const path = join(directory, name);
    const info = await stat(path).catch(() => undefined);
    if (info && info.mtimeMs < olderThanMs) await rm(path, { force: true });
  }
}

function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === 'string' && /^E[A-Z]+$/.test(code) ? code : undefined;
}
