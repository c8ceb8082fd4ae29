/**
 * The files of one slot: `pfs/` (what user code sees read-only as /pfs) and `out/` (its /pfs/out).
 * Remembers what it made, so that cleaning up needs no search.
 */
import {
  chmodSync,
  chownSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  rmSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import type { RunCommand } from './spawner-protocol.js';

/** Calls into the file system between two turns of the event loop. */
const CALLS_PER_TURN = 256;

export class SlotFiles {
  readonly pfs: string;
  readonly out: string;
  #files: string[] = [];
  #dirs: string[] = [];
  readonly #known = new Set<string>();
  #owner: RunCommand['user'];
  #outOwned = false;
  #calls = 0;

  /** Empties the slot's directories; whatever was there belonged to a dead worker. */
  constructor(readonly dir: string) {
    this.pfs = join(dir, 'pfs');
    this.out = join(dir, 'out');
    rmSync(dir, { recursive: true, force: true });
    mkdirSync(join(this.pfs, 'out'), { recursive: true, mode: 0o755 });
    mkdirSync(this.out, { recursive: true, mode: 0o777 });
  }

  /** Who owns directories made from now on, and /pfs/out. */
  setOwner(user: RunCommand['user']): void {
    this.#owner = user;
    if (user) chownSync(this.out, user.uid, user.gid);
    else if (this.#outOwned) chownSync(this.out, process.getuid?.() ?? 0, process.getgid?.() ?? 0);
    this.#outOwned = user !== undefined;
  }

  /** Makes a directory below /pfs with its parents. `path` is relative, without trailing slash. */
  makeDir(path: string): void {
    if (path === '' || this.#known.has(path)) return;
    const slash = path.lastIndexOf('/');
    if (slash > 0) this.makeDir(path.slice(0, slash));
    const full = `${this.pfs}/${path}`;
    mkdirSync(full, { mode: 0o700 });
    if (this.#owner) chownSync(full, this.#owner.uid, this.#owner.gid);
    this.#known.add(path);
    this.#dirs.push(full);
  }

  /** The place of an input file (its parents exist afterwards); undefined when it is taken. */
  fileTarget(path: string): string | undefined {
    if (this.#known.has(path)) return undefined;
    const slash = path.lastIndexOf('/');
    if (slash > 0) this.makeDir(path.slice(0, slash));
    this.#known.add(path);
    const full = `${this.pfs}/${path}`;
    this.#files.push(full);
    return full;
  }

  /** Removes inputs and outputs. */
  async clear(): Promise<void> {
    for (const file of this.#files) {
      tryTo(() => unlinkSync(file));
      if (this.#turnEnds()) await nextTurn();
    }
    for (const dir of this.#dirs.reverse()) {
      tryTo(() => rmdirSync(dir));
      if (this.#turnEnds()) await nextTurn();
    }
    const had = this.#files.length + this.#dirs.length > 0;
    this.#files = [];
    this.#dirs = [];
    this.#known.clear();
    // Without namespaces user code can put files beside its inputs.
    if (had)
      for (const name of readdirSync(this.pfs)) if (name !== 'out') remove(join(this.pfs, name));
    this.clearOut();
  }

  clearOut(): void {
    // Names may be no text at all.
    for (const name of readdirSync(this.out, { encoding: 'buffer' })) remove(below(this.out, name));
  }

  /** Counts a call; true when the event loop should get a turn. */
  #turnEnds(): boolean {
    this.#calls = (this.#calls + 1) % CALLS_PER_TURN;
    return this.#calls === 0;
  }
}

/** Lets other work of this process go on. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function below(dir: string | Buffer, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(dir), Buffer.from('/'), name]);
}

function remove(path: string | Buffer): void {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // User code took away the owner's rights on a directory.
    openUp(path);
    rmSync(path, { recursive: true, force: true });
  }
}

function openUp(path: string | Buffer): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat?.isDirectory()) return;
  chmodSync(path, 0o700);
  for (const name of readdirSync(path, { encoding: 'buffer' })) openUp(below(path, name));
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // The sweep after this removes what is left.
  }
}
