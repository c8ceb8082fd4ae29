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
  rmSync,
  symlinkSync,
  unlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { childOf, removeTree } from './remove-tree.js';
import type { RunCommand } from './spawner-protocol.js';

/**
 * Directories kept for the next datum, which mostly wants the same ones: rmdir on a busy journal
 * cost 2 ms a datum (measured), more than all the rest of a small datum.
 */
const KEPT_DIRS_MAX = 64;
/** Calls into the file system between two turns of the event loop. */
const CALLS_PER_TURN = 256;

export class SlotFiles {
  readonly pfs: string;
  readonly out: string;
  #files: string[] = [];
  /** Made for this datum, parents first. */
  #dirs: string[] = [];
  /** Filled by others. */
  #trees: string[] = [];
  /** Empty ones of the datum before, parents first. */
  #kept = new Set<string>();
  readonly #known = new Set<string>();
  #owner: RunCommand['user'];
  #outOwned = false;
  readonly #outMode: number;
  #calls = 0;

  /** Empties the slot's directories; whatever was there belonged to a dead worker. */
  constructor(
    readonly dir: string,
    /** User code can write below /pfs: nothing there may be kept. */
    readonly open = false,
  ) {
    this.pfs = join(dir, 'pfs');
    this.out = join(dir, 'out');
    removeTree(dir);
    mkdirSync(join(this.pfs, 'out'), { recursive: true, mode: 0o755 });
    mkdirSync(this.out, { recursive: true, mode: 0o777 });
    this.#outMode = modeOf(this.out);
  }

  /** Whether there is a /pfs/out. Sandboxes that are open go on as they are. */
  setOut(shown: boolean): void {
    const at = join(this.pfs, 'out');
    const there = lstatSync(at, { throwIfNoEntry: false }) !== undefined;
    if (shown === there) return;
    if (!shown) rmSync(at, { recursive: true });
    else if (this.open) symlinkSync(this.out, at);
    else mkdirSync(at, { mode: 0o755 });
  }

  /** Who owns directories made from now on, and /pfs/out. */
  async setOwner(user: RunCommand['user']): Promise<void> {
    if (this.#owner?.uid !== user?.uid) await this.#removeKept();
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
    if (!this.#kept.delete(path)) {
      const full = `${this.pfs}/${path}`;
      mkdirSync(full, { mode: 0o700 });
      if (this.#owner) chownSync(full, this.#owner.uid, this.#owner.gid);
    }
    this.#known.add(path);
    this.#dirs.push(path);
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

  /**
   * Hands a directory below /pfs over to somebody who fills it as he likes; it goes with the datum.
   * Answers its full path.
   */
  takeTree(path: string): string {
    const below = (one: string): boolean => one === path || one.startsWith(`${path}/`);
    this.#dirs = this.#dirs.filter((dir) => !below(dir));
    for (const dir of this.#kept) if (below(dir)) this.#kept.delete(dir);
    this.#trees.push(path);
    return `${this.pfs}/${path}`;
  }

  /** Call when all inputs are there: what is left of the datum before goes away. */
  async settle(): Promise<void> {
    await this.#removeKept();
  }

  /**
   * Removes inputs and outputs. `outNames` are those in /pfs/out when they are known, and no process
   * is left that can write there; otherwise the directory is read.
   */
  async clear(outNames?: readonly string[]): Promise<void> {
    for (const file of this.#files) {
      tryTo(() => unlinkSync(file));
      if (this.#turnEnds()) await nextTurn();
    }
    for (const path of this.#trees) removeTree(`${this.pfs}/${path}`);
    this.#trees = [];
    const had = this.#files.length + this.#dirs.length > 0;
    for (const dir of this.#dirs) this.#kept.add(dir);
    this.#files = [];
    this.#dirs = [];
    this.#known.clear();
    if (this.open && had) {
      this.#kept.clear();
      for (const name of readdirSync(this.pfs))
        if (name !== 'out') removeTree(join(this.pfs, name));
    } else if (this.#kept.size > KEPT_DIRS_MAX) await this.#removeKept();
    this.#clearOut(this.open ? undefined : outNames);
  }

  async #removeKept(): Promise<void> {
    if (this.#kept.size === 0) return;
    // Children after parents, so backwards; those still in use hold their parents in `known`.
    for (const path of [...this.#kept].reverse()) {
      removeTree(`${this.pfs}/${path}`);
      if (this.#turnEnds()) await nextTurn();
    }
    this.#kept.clear();
  }

  #clearOut(names?: readonly string[]): void {
    // User code may have changed it, against itself and whoever comes next.
    if (modeOf(this.out) !== this.#outMode) chmodSync(this.out, this.#outMode);
    // Names may be no text at all.
    for (const name of names ?? readdirSync(this.out, { encoding: 'buffer' })) {
      const path = typeof name === 'string' ? `${this.out}/${name}` : childOf(this.out, name);
      // Mostly files, and looking first costs more than being wrong now and then.
      if (!isGone(path)) removeTree(path);
    }
  }

  /** Counts a call; true when the event loop should get a turn. */
  #turnEnds(): boolean {
    this.#calls = (this.#calls + 1) % CALLS_PER_TURN;
    return this.#calls === 0;
  }
}

function modeOf(path: string): number {
  return lstatSync(path).mode & 0o7777;
}

/** Lets other work of this process go on. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Removes what is no directory; false when it is one. */
function isGone(path: string | Buffer): boolean {
  try {
    unlinkSync(path);
    return true;
  } catch {
    return false;
  }
}

function tryTo(work: () => void): void {
  try {
    work();
  } catch {
    // The sweep after this removes what is left.
  }
}
