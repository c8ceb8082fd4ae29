/**
 * Deletes the objects of old epochs that are not among the live ones: two sorted streams side by
 * side, the store's listing and the live names, so memory is that of one batch.
 */
import { corruptData } from '../../core/errors.js';
import type { ObjectStore } from '../object-store.js';
import type { ObjectKind, ObjectRef, Wait } from '../types.js';

/** In the order of their bytes, as listings are. */
export const KINDS: readonly ObjectKind[] = ['blob', 'c', 'p', 'page', 'run'];
const BATCH = 1_000;

export interface SweepCounts {
  /** Objects listed, and their bytes. */
  objects: number;
  bytes: number;
  /** Referred to, or too young to be judged. */
  kept: number;
  keptBytes: number;
  freed: number;
  freedBytes: number;
  /** Live objects that are not there. */
  missing: number;
  /** Names of the first few of them. */
  readonly missingKeys: string[];
}

export interface SweepOptions extends Wait {
  /** Only objects of epochs below are judged. */
  readonly floor: number;
  /** Count only. */
  readonly dryRun: boolean;
  readonly onProgress?: (counts: Readonly<SweepCounts>) => void;
}

const MISSING_NAMED = 10;

/** A live object as the sweep compares it; sorts as the listing does. */
export function nameOf({
  kind,
  epoch,
  digest,
}: Pick<ObjectRef, 'kind' | 'epoch' | 'digest'>): string {
  return `${KINDS.indexOf(kind)}${epoch}/${digest.toString('latin1')}`;
}

/** The key of an object by what `nameOf` made of it. */
export function keyOfName(name: string): string {
  const slash = name.indexOf('/');
  const digest = Buffer.from(name.slice(slash + 1), 'latin1').toString('hex');
  return `${KINDS[Number(name[0])]}/${name.slice(1, slash)}/${digest}`;
}

const KEY = /^[a-z]+\/(\d{1,9})\/([0-9a-f]{64})$/;

/** `live`: names (nameOf) of live objects of epochs below the floor, ascending. */
export async function sweep(
  objects: ObjectStore,
  live: AsyncIterator<string>,
  options: SweepOptions,
): Promise<SweepCounts> {
  const counts: SweepCounts = {
    ...{ objects: 0, bytes: 0, kept: 0, keptBytes: 0, freed: 0, freedBytes: 0, missing: 0 },
    missingKeys: [],
  };
  const cursor = new LiveCursor(live, counts);
  let batch: string[] = [];
  const remove = async (): Promise<void> => {
    options.signal.throwIfAborted();
    if (!options.dryRun) await objects.delete(batch, { signal: options.signal });
    batch = [];
    options.onProgress?.(counts);
  };
  for (const [index, kind] of KINDS.entries()) {
    let before = '';
    for await (const { key, size } of objects.list(`${kind}/`, { signal: options.signal })) {
      // The whole comparison rests on this order.
      if (key <= before) throw corruptData(`${objects.place} lists ${key} after ${before}`);
      before = key;
      const match = KEY.exec(key);
      if (!match) continue;
      counts.objects += 1;
      counts.bytes += size;
      if (counts.objects % BATCH === 0) options.onProgress?.(counts);
      const digest = Buffer.from(match[2] as string, 'hex').toString('latin1');
      const name = `${index}${match[1]}/${digest}`;
      if (Number(match[1]) >= options.floor || (await cursor.has(name))) {
        counts.kept += 1;
        counts.keptBytes += size;
        continue;
      }
      batch.push(key);
      counts.freed += 1;
      counts.freedBytes += size;
      if (batch.length >= BATCH) await remove();
    }
  }
  if (batch.length > 0) await remove();
  await cursor.end();
  options.onProgress?.(counts);
  return counts;
}

class LiveCursor {
  #head: string | undefined = '';

  constructor(
    readonly names: AsyncIterator<string>,
    readonly counts: SweepCounts,
  ) {}

  /** Whether the name is live. Asked in ascending order; live names passed over are missing. */
  async has(name: string): Promise<boolean> {
    while (this.#head !== undefined && this.#head < name) await this.#next();
    if (this.#head !== name) return false;
    this.#head = '';
    return true;
  }

  async end(): Promise<void> {
    while (this.#head !== undefined) await this.#next();
  }

  async #next(): Promise<void> {
    if (this.#head !== undefined && this.#head !== '') {
      this.counts.missing += 1;
      if (this.counts.missingKeys.length < MISSING_NAMED) {
        this.counts.missingKeys.push(keyOfName(this.#head));
      }
    }
    const next = await this.names.next();
    this.#head = next.done ? undefined : next.value;
  }
}
