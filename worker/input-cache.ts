/**
 * Assembled input files on the worker's disk, named by content hash, least recently used out first.
 *
 * I1 A file gets its name only when it is whole (written aside, then linked or renamed).
 * I2 Nothing is synced: after a restart a file counts only when its bytes were checked again.
 * I3 Files are handed out as hard links, so eviction never hurts a datum that is running. Sandboxes
 *    see them read-only; where they would not, copies are handed out.
 * I4 The same content is fetched once at a time, however many slots want it.
 */
import {
  closeSync,
  copyFileSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { codeOf, messageOf, noSpace } from '../core/errors.js';
import { sha256 } from '../core/sha256.js';
import { abortable, NEVER } from '../core/signals.js';
import type { FileContent, Wait } from '../storage/types.js';

export interface CacheOptions {
  readonly dir: string;
  readonly bytesMax: number;
  /** Hand out copies: user code can write to its inputs. */
  readonly copies: boolean;
  readonly read: (content: FileContent, wait: Wait) => AsyncIterable<Buffer>;
}

const ENTRIES_MAX = 200_000;
/** Small files remembered as wanted once. */
const WANTED_MAX = 32_768;
/** What a small file really costs on disk. */
const BLOCK = 4096;
const VERIFY_BYTES = 1024 * 1024;

interface Entry {
  readonly bytes: number;
  checked: boolean;
}

export class InputCache {
  readonly #entries = new Map<string, Entry>();
  readonly #fetching = new Map<string, Promise<void>>();
  readonly #wanted = new Recent(WANTED_MAX);
  #bytes = 0;
  #temp = 0;

  /** Takes over what an earlier worker left in the directory. */
  constructor(readonly options: CacheOptions) {
    const temp = join(options.dir, 'tmp');
    rmSync(temp, { recursive: true, force: true });
    mkdirSync(temp, { recursive: true, mode: 0o700 });
    for (let i = 0; i < 256; i += 1) {
      const folder = join(options.dir, i.toString(16).padStart(2, '0'));
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      for (const name of readdirSync(folder)) {
        this.#add(name, { bytes: cost(statSync(join(folder, name)).size), checked: false });
      }
    }
    this.#evict(0);
  }

  get bytes(): number {
    return this.#bytes;
  }

  has(content: FileContent): boolean {
    return this.#entries.get(content.hash.toString('hex'))?.checked === true;
  }

  /** Puts the file at `target` if it is here. Throws NO_SPACE. */
  place(content: FileContent, target: string): boolean {
    const key = content.hash.toString('hex');
    const entry = this.#entries.get(key);
    if (!entry?.checked) return false;
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    try {
      if (this.options.copies) copyFileSync(this.#path(key), target);
      else linkSync(this.#path(key), target);
      return true;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // Somebody cleaned the directory, or the file has all the links a file can have.
      if (code === 'ENOENT' || code === 'EMLINK') {
        this.#forget(key);
        return false;
      }
      throw diskError(error, target);
    }
  }

  /**
   * Writes a small file to `target`, and keeps it when it was wanted before: most small files are
   * the input of one datum only, and keeping one costs as much as writing it. Throws NO_SPACE.
   */
  write(content: FileContent, bytes: Buffer, target: string): void {
    this.#withRoom(target, () => writeFile(target, bytes));
    if (this.options.copies || content.size === 0) return;
    const key = content.hash.toString('hex');
    if (!this.#wanted.seen(key)) return;
    try {
      if (this.#entries.has(key)) this.#forget(key);
      linkSync(target, this.#path(key));
      this.#add(key, { bytes: cost(content.size), checked: true });
      this.#evict(0);
    } catch {
      // Keeping it is a favour to the next datum, nothing more.
    }
  }

  /** Makes the file available to `place`. Throws the store's errors and NO_SPACE. */
  async fetch(content: FileContent, wait: Wait): Promise<void> {
    const key = content.hash.toString('hex');
    let running = this.#fetching.get(key);
    if (!running) {
      // Not the caller's signal: others may be waiting for the same file.
      running = this.#fetch(key, content).finally(() => this.#fetching.delete(key));
      running.catch(() => undefined);
      this.#fetching.set(key, running);
    }
    await abortable(running, wait.signal);
  }

  /** Frees the given share of the cache, for a disk that is full. */
  shrink(share: number): void {
    this.#evict(this.#bytes * share);
  }

  async #fetch(key: string, content: FileContent): Promise<void> {
    const entry = this.#entries.get(key);
    if (entry?.checked) return;
    if (entry) {
      if (await this.#verify(key, content)) {
        entry.checked = true;
        return;
      }
      this.#forget(key);
    }
    this.#temp += 1;
    const temp = join(this.options.dir, 'tmp', String(this.#temp));
    this.#evict(Math.max(0, this.#bytes + content.size - this.options.bytesMax));
    try {
      const file = await open(temp, 'wx', 0o644);
      try {
        for await (const bytes of this.options.read(content, { signal: NEVER })) {
          await file.writeFile(bytes);
        }
      } finally {
        await file.close();
      }
      renameSync(temp, this.#path(key));
      this.#add(key, { bytes: cost(content.size), checked: true });
    } catch (error) {
      rmSync(temp, { force: true });
      throw diskError(error, temp);
    }
  }

  async #verify(key: string, content: FileContent): Promise<boolean> {
    const file = await open(this.#path(key)).catch(() => undefined);
    if (!file) return false;
    try {
      if ((await file.stat()).size !== content.size) return false;
      for (let at = 0, i = 0; i < content.pieces.length; i += 1) {
        const piece = content.pieces[i];
        if (!piece) return false;
        // Of bytes that stay with their source no hash is known.
        if (piece.location?.kind === 'x') {
          at += piece.size;
          continue;
        }
        const bytes = Buffer.allocUnsafe(piece.size);
        for (let done = 0; done < piece.size; done += VERIFY_BYTES) {
          const length = Math.min(VERIFY_BYTES, piece.size - done);
          await file.read(bytes, done, length, at + done);
        }
        if (!sha256(bytes).equals(piece.hash)) return false;
        at += piece.size;
      }
      return true;
    } finally {
      await file.close();
    }
  }

  #withRoom(target: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw diskError(error, target);
      this.shrink(0.5);
      rmSync(target, { force: true });
      try {
        work();
      } catch (again) {
        throw diskError(again, target);
      }
    }
  }

  #path(key: string): string {
    return join(this.options.dir, key.slice(0, 2), key);
  }

  #add(key: string, entry: Entry): void {
    this.#entries.set(key, entry);
    this.#bytes += entry.bytes;
  }

  #forget(key: string): void {
    const entry = this.#entries.get(key);
    if (!entry) return;
    this.#entries.delete(key);
    this.#bytes -= entry.bytes;
    try {
      unlinkSync(this.#path(key));
    } catch {
      // Gone already.
    }
  }

  /** Forgets the oldest files until the limits hold and at least `bytes` are free again. */
  #evict(bytes: number): void {
    const target = Math.min(this.options.bytesMax, this.#bytes - bytes);
    for (const key of this.#entries.keys()) {
      if (this.#bytes <= target && this.#entries.size <= ENTRIES_MAX) return;
      this.#forget(key);
    }
  }
}

/** Remembers at least the `count` newest keys, and at most twice as many. */
class Recent {
  #newer = new Set<string>();
  #older = new Set<string>();

  constructor(readonly count: number) {}

  /** Whether the key was seen lately; it is from now on. */
  seen(key: string): boolean {
    const known = this.#newer.has(key) || this.#older.has(key);
    this.#newer.add(key);
    if (this.#newer.size >= this.count) {
      this.#older = this.#newer;
      this.#newer = new Set();
    }
    return known;
  }
}

function cost(size: number): number {
  return Math.max(BLOCK, size);
}

function writeFile(target: string, bytes: Buffer): void {
  const fd = openSync(target, 'wx', 0o666);
  try {
    let at = 0;
    while (at < bytes.length) at += writeSync(fd, bytes, at);
  } finally {
    closeSync(fd);
  }
}

/** A full disk by name; anything else as it is. */
export function diskError(error: unknown, path: string): unknown {
  const { code } = error as NodeJS.ErrnoException;
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  if (codeOf(error) === 'NO_SPACE') return error;
  return noSpace(
    `the worker's disk is full (${path}): ${messageOf(error)}; free some space or give the worker another --data-dir`,
    {
      cause: error,
    },
  );
}
