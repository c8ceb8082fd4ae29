/**
 * One mounted repo: a commit, and over it the changes made through the mount, held in local files
 * until the directory is unmounted.
 *
 * V1  A path has at most one change, and it alone decides what is there.
 * V2  A file is copied from the commit before its first write, so a change holds the whole content.
 */
import { randomUUID } from 'node:crypto';
import { open, rename, rm, truncate, writeFile, type FileHandle } from 'node:fs/promises';
import { join, posix } from 'node:path';
import type { Client } from '../client/client.js';
import { RemoteTree, type Item } from './remote.js';
import { FuseError } from './wire.js';

const COPY_BYTES = 4 * 1024 * 1024;

export type Change =
  | { readonly kind: 'file'; readonly local: string; size: number }
  | { readonly kind: 'dir' }
  | { readonly kind: 'gone' };

export interface VolumeSource {
  readonly repo: string;
  /** Branch that changes go to. */
  readonly branch: string;
  /** Commit shown; empty for a branch without commits. */
  readonly commit: string;
  readonly writable: boolean;
  /** When the commit was finished, milliseconds since the epoch. */
  readonly timeMs: number;
}

export class Volume {
  readonly #remote: RemoteTree;
  readonly #changes = new Map<string, Change>();
  /** Names of changed entries by directory. */
  readonly #children = new Map<string, Set<string>>();

  /** `scratch` is an existing local directory for changed files. */
  constructor(
    client: Client,
    readonly source: VolumeSource,
    readonly scratch: string,
  ) {
    this.#remote = new RemoteTree(client, source.repo, source.commit);
  }

  get changes(): ReadonlyMap<string, Change> {
    return this.#changes;
  }

  async stat(path: string): Promise<Item | undefined> {
    if (path === '/') return { name: this.source.repo, dir: true, size: 0 };
    const change = this.#changes.get(path);
    if (change) return shown(path, change);
    if (this.#insideChanged(path)) return undefined;
    return this.#remote.stat(path);
  }

  async list(path: string): Promise<Item[]> {
    const remote = this.#madeHere(path) ? [] : await this.#remote.list(path);
    const changed = this.#children.get(path) ?? new Set<string>();
    const items = remote.filter((item) => !changed.has(item.name));
    for (const name of changed) {
      const item = shown(name, this.#changes.get(posix.join(path, name)));
      if (item) items.push(item);
    }
    return items;
  }

  async read(path: string, offset: number, size: number): Promise<Buffer> {
    const change = this.#changes.get(path);
    if (change?.kind === 'file') {
      return this.#local(change.local, 'r', async (file) => {
        const buffer = Buffer.allocUnsafe(Math.max(0, Math.min(size, change.size - offset)));
        const { bytesRead } = await file.read(buffer, 0, buffer.length, offset);
        return buffer.subarray(0, bytesRead);
      });
    }
    const item = change ? undefined : await this.#remote.stat(path);
    if (!item) throw new FuseError('ENOENT');
    return this.#remote.read({ path, size: item.size }, offset, size);
  }

  async create(path: string): Promise<void> {
    this.#mayWrite();
    await this.#drop(path);
    const local = join(this.scratch, randomUUID());
    await writeFile(local, '');
    this.#set(path, { kind: 'file', local, size: 0 });
  }

  async write(path: string, offset: number, bytes: Buffer): Promise<void> {
    const change = await this.#changedFile(path);
    await this.#local(change.local, 'r+', (file) => file.write(bytes, 0, bytes.length, offset));
    change.size = Math.max(change.size, offset + bytes.length);
  }

  async truncate(path: string, size: number): Promise<void> {
    if (size === 0) return this.create(path);
    const change = await this.#changedFile(path);
    await truncate(change.local, size);
    change.size = size;
  }

  async mkdir(path: string): Promise<void> {
    this.#mayWrite();
    this.#set(path, { kind: 'dir' });
  }

  async remove(path: string, what: 'file' | 'dir'): Promise<void> {
    this.#mayWrite();
    const item = await this.stat(path);
    if (!item) throw new FuseError('ENOENT');
    if (what === 'file' && item.dir) throw new FuseError('EISDIR');
    if (what === 'dir' && !item.dir) throw new FuseError('ENOTDIR');
    if (item.dir && (await this.list(path)).length > 0) throw new FuseError('ENOTEMPTY');
    await this.#drop(path);
    this.#set(path, { kind: 'gone' });
  }

  /** Directories are refused: the program that moves one then copies it, file by file. */
  async rename(from: string, to: string): Promise<void> {
    this.#mayWrite();
    const item = await this.stat(from);
    if (!item) throw new FuseError('ENOENT');
    if (item.dir) throw new FuseError('EXDEV');
    if ((await this.stat(to))?.dir) throw new FuseError('EISDIR');
    const change = await this.#changedFile(from);
    await this.#drop(to);
    const local = join(this.scratch, randomUUID());
    await rename(change.local, local);
    this.#set(to, { kind: 'file', local, size: change.size });
    this.#set(from, { kind: 'gone' });
  }

  #mayWrite(): void {
    if (!this.source.writable) throw new FuseError('EROFS');
  }

  /** The file as a change, copied from the commit when it was not changed yet. */
  async #changedFile(path: string): Promise<Extract<Change, { kind: 'file' }>> {
    this.#mayWrite();
    const known = this.#changes.get(path);
    if (known?.kind === 'file') return known;
    const item = await this.stat(path);
    if (!item) throw new FuseError('ENOENT');
    if (item.dir) throw new FuseError('EISDIR');
    const change = { kind: 'file' as const, local: join(this.scratch, randomUUID()), size: 0 };
    await this.#local(change.local, 'w', async (file) => {
      for (let at = 0; at < item.size; at += COPY_BYTES) {
        await file.write(await this.#remote.read({ path, size: item.size }, at, COPY_BYTES));
      }
    });
    change.size = item.size;
    this.#set(path, change);
    return change;
  }

  async #drop(path: string): Promise<void> {
    const change = this.#changes.get(path);
    if (change?.kind === 'file') await rm(change.local, { force: true });
  }

  #set(path: string, change: Change): void {
    this.#changes.set(path, change);
    const dir = posix.dirname(path);
    const names = this.#children.get(dir) ?? new Set<string>();
    names.add(posix.basename(path));
    this.#children.set(dir, names);
  }

  /** A directory that was made (or removed and made again) here has nothing of the commit's. */
  #madeHere(path: string): boolean {
    return this.#changes.has(path) || this.#insideChanged(path);
  }

  #insideChanged(path: string): boolean {
    for (let dir = posix.dirname(path); dir !== '/'; dir = posix.dirname(dir)) {
      if (this.#changes.has(dir)) return true;
    }
    return false;
  }

  async #local<T>(path: string, mode: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
    const file = await open(path, mode);
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  }
}

function shown(path: string, change: Change | undefined): Item | undefined {
  if (!change || change.kind === 'gone') return undefined;
  const dir = change.kind === 'dir';
  return { name: posix.basename(path), dir, size: change.kind === 'file' ? change.size : 0 };
}
