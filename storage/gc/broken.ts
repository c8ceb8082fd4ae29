/**
 * Finds objects that are referred to and are missing or damaged: marks everything, then compares
 * with the store's listing, and with `data` reads and hashes every object.
 */
import { codeOf, messageOf } from '../../core/errors.js';
import { sha256Hex } from '../../core/sha256.js';
import type { ObjectStore } from '../object-store.js';
import { orderedAhead } from '../ordered-ahead.js';
import { keyOf } from '../refs.js';
import type { TreeStorage } from '../tree-types.js';
import type { Wait } from '../types.js';
import { Marker, type MarkOptions } from './mark.js';
import { SortedNames } from './sorted-names.js';
import { KINDS, keyOfName, nameOf } from './sweep.js';

export interface BrokenOptions extends Wait, Pick<MarkOptions, 'textOfMapValue'> {
  /** Texts that refer to what is alive. */
  readonly roots: AsyncIterable<string>;
  /** Read every object and compare its bytes with its name; otherwise only pages are read. */
  readonly data: boolean;
  /** A directory for what does not fit the memory; left as it is. */
  readonly directory: string;
  readonly onProgress?: (counts: Readonly<CheckCounts>) => void;
}

export interface CheckCounts {
  /** Objects referred to and there, and their bytes. */
  objects: number;
  bytes: number;
  broken: number;
}

export interface Broken {
  readonly counts: CheckCounts;
  /** Key → what is wrong with it: `missing`, or `damaged` with the reason. At most BROKEN_MAX. */
  readonly keys: ReadonlyMap<string, string>;
}

/** More are counted, but not named. */
export const BROKEN_MAX = 100_000;
const PARALLEL = 8;
const AHEAD_BYTES = 64 * 1024 * 1024;
const TELL_EVERY = 256;

/** Everything that is broken. Throws the store's errors, but for those of single objects. */
export async function findBroken(storage: TreeStorage, options: BrokenOptions): Promise<Broken> {
  const found = new Found(options);
  const names = new SortedNames(options.directory);
  const marker = new Marker(storage, {
    signal: options.signal,
    textOfMapValue: options.textOfMapValue,
    onLive: (object) => names.add(nameOf(object)),
    onBroken: (ref, error) => found.add(keyOf(ref), messageOf(error)),
    onRead: () => found.tell(),
  });
  for await (const text of options.roots) await marker.root(text);
  const there = present(storage.objects, names.sorted(), found, options);
  if (!options.data) for await (const { size } of there) found.seen(size);
  else await readAll(storage.objects, there, found, options);
  options.onProgress?.(found.counts);
  return { counts: found.counts, keys: found.keys };
}

class Found {
  readonly keys = new Map<string, string>();
  readonly counts: CheckCounts = { objects: 0, bytes: 0, broken: 0 };
  #steps = 0;

  constructor(readonly options: Pick<BrokenOptions, 'onProgress'>) {}

  add(key: string, why: string): void {
    if (this.keys.has(key)) return;
    this.counts.broken += 1;
    const text = / is missing in /.test(why)
      ? 'is missing'
      : why.replace(/^object \S+ in \S+ /, '');
    if (this.keys.size < BROKEN_MAX) this.keys.set(key, text);
  }

  seen(size: number): void {
    this.counts.objects += 1;
    this.counts.bytes += size;
    this.tell();
  }

  tell(): void {
    this.#steps += 1;
    if (this.#steps % TELL_EVERY === 0) this.options.onProgress?.(this.counts);
  }
}

/** Live objects that the store lists; the others are noted as missing. Two sorted streams. */
async function* present(
  objects: ObjectStore,
  live: AsyncIterator<string>,
  found: Found,
  { signal }: Wait,
): AsyncGenerator<{ key: string; size: number }> {
  let next = await live.next();
  for (const [index, kind] of KINDS.entries()) {
    const list = objects.list(`${kind}/`, { signal })[Symbol.asyncIterator]();
    let entry = await list.next();
    while (!next.done && next.value.startsWith(String(index))) {
      const key = keyOfName(next.value);
      while (!entry.done && entry.value.key < key) entry = await list.next();
      if (!entry.done && entry.value.key === key) yield entry.value;
      else found.add(key, ' is missing in the store');
      next = await live.next();
    }
    await list.return?.(undefined);
  }
}

async function readAll(
  objects: ObjectStore,
  there: AsyncIterable<{ key: string; size: number }>,
  found: Found,
  wait: Wait,
): Promise<void> {
  const jobs = (async function* () {
    for await (const { key, size } of there) {
      yield {
        bytes: size,
        run: async (signal: AbortSignal) => ({
          key,
          size,
          why: await check(objects, key, { signal }),
        }),
      };
    }
  })();
  const options = { signal: wait.signal, parallel: PARALLEL, bytes: AHEAD_BYTES };
  for await (const { key, size, why } of orderedAhead(jobs, options)) {
    if (why === undefined) found.seen(size);
    else found.add(key, why);
  }
}

/** What is wrong with an object. A flipped bit on the way is cured by a second read. */
async function check(objects: ObjectStore, key: string, wait: Wait): Promise<string | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      if (key.endsWith(`/${sha256Hex(await objects.get(key, wait))}`)) return undefined;
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return ' is missing in the store';
      if (codeOf(error) !== 'CORRUPT_DATA') throw error;
    }
    if (attempt === 2) return 'is damaged: its bytes do not match its name';
  }
}
