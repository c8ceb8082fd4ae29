/**
 * A sorted set of short binary strings (characters 0-255) in bounded memory: what does not fit is
 * written to files, which `sorted` merges. The files lie in a directory of the caller's.
 */
import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';

const NAMES_MAX = 200_000;
const WINDOW_BYTES = 64 * 1024;

export class SortedNames {
  #names = new Set<string>();
  readonly #files: string[] = [];

  constructor(
    readonly directory: string,
    /** Names kept in memory. */
    readonly namesMax = NAMES_MAX,
  ) {}

  /** Adds a name of at most 255 characters. Await what comes back, if anything. */
  add(name: string): Promise<void> | undefined {
    this.#names.add(name);
    return this.#names.size >= this.namesMax ? this.#spill() : undefined;
  }

  /** All names, ascending, each once. Nothing may be added any more. */
  async *sorted(): AsyncGenerator<string> {
    if (this.#files.length === 0) {
      yield* [...this.#names].sort();
      return;
    }
    if (this.#names.size > 0) await this.#spill();
    const readers: NameReader[] = [];
    try {
      for (const file of this.#files) {
        const reader = new NameReader(await open(file, 'r'));
        readers.push(reader);
        await reader.next();
      }
      yield* merge(readers.filter((reader) => reader.head !== undefined));
    } finally {
      for (const reader of readers) await reader.file.close();
    }
  }

  async #spill(): Promise<void> {
    const sorted = [...this.#names].sort();
    this.#names = new Set();
    const path = join(this.directory, `names-${this.#files.length}`);
    this.#files.push(path);
    const file = await open(path, 'w');
    try {
      for (let from = 0; from < sorted.length; from += 4096) {
        const parts = sorted
          .slice(from, from + 4096)
          .map((name) => String.fromCharCode(name.length) + name);
        await file.write(Buffer.from(parts.join(''), 'latin1'));
      }
    } finally {
      await file.close();
    }
  }
}

/** Merges by a heap of the readers' heads. */
async function* merge(heap: NameReader[]): AsyncGenerator<string> {
  for (let at = (heap.length >> 1) - 1; at >= 0; at -= 1) sink(heap, at);
  let last: string | undefined;
  while (heap.length > 0) {
    const top = heap[0] as NameReader;
    const name = top.head as string;
    if (name !== last) yield name;
    last = name;
    const waiting = top.next();
    if (waiting) await waiting;
    if (top.head === undefined) {
      const end = heap.pop() as NameReader;
      if (heap.length > 0) heap[0] = end;
    }
    sink(heap, 0);
  }
}

function sink(heap: NameReader[], from: number): void {
  for (let at = from; ;) {
    let least = at;
    for (const child of [2 * at + 1, 2 * at + 2]) {
      const a = heap[child]?.head;
      if (a !== undefined && a < (heap[least]?.head as string)) least = child;
    }
    if (least === at) return;
    [heap[at], heap[least]] = [heap[least] as NameReader, heap[at] as NameReader];
    at = least;
  }
}

class NameReader {
  head: string | undefined;
  #text = '';
  #at = 0;
  #ended = false;

  constructor(readonly file: FileHandle) {}

  /** Moves to the next name; `head` is undefined at the end. */
  next(): Promise<void> | undefined {
    const length = this.#text.charCodeAt(this.#at);
    if (this.#at + length < this.#text.length) {
      this.head = this.#text.slice(this.#at + 1, this.#at + 1 + length);
      this.#at += 1 + length;
      return undefined;
    }
    return this.#fill();
  }

  async #fill(): Promise<void> {
    if (this.#ended) {
      this.head = undefined;
      return;
    }
    const { buffer, bytesRead } = await this.file.read(Buffer.alloc(WINDOW_BYTES));
    this.#ended = bytesRead === 0;
    this.#text = this.#text.slice(this.#at) + buffer.toString('latin1', 0, bytesRead);
    this.#at = 0;
    return this.next();
  }
}
