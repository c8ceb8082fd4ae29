/**
 * An archive in a bucket: its bytes, cut into objects `archive/0/000000`, `archive/0/000001` … below
 * the URL's prefix. One after the other they are the archive. Plain puts and gets are all it needs.
 */
import { codeOf, notFound, stateConflict } from '../../core/errors.js';
import { childController } from '../../core/signals.js';
import type { ObjectStore } from '../../storage/index.js';
import { orderedAhead } from '../../storage/ordered-ahead.js';
import type { Wait } from '../../storage/types.js';

export const VOLUME_BYTES = 64 * 1024 * 1024;
/** Restores read this many volumes at a time. */
const READ_AHEAD = 2;

const volumeKey = (index: number): string => `archive/0/${String(index).padStart(6, '0')}`;

/** Throws STATE_CONFLICT when there is an archive, or the rest of one. */
export async function checkFree(store: ObjectStore, wait: Wait): Promise<void> {
  if (!(await store.head(volumeKey(0), wait))) return;
  throw stateConflict(
    `${store.place} holds an archive at this prefix, or the rest of one; choose another prefix`,
  );
}

/** Stores an archive as it comes; `free` must have been checked. Removes what it wrote on failure. */
export class VolumeWriter {
  #parts: Buffer[] = [];
  #bytes = 0;
  #count = 0;

  constructor(
    readonly store: ObjectStore,
    readonly wait: Wait,
    readonly volumeBytes = VOLUME_BYTES,
  ) {}

  async write(part: Buffer): Promise<void> {
    for (let from = 0; from < part.length;) {
      const take = Math.min(part.length - from, this.volumeBytes - this.#bytes);
      this.#parts.push(part.subarray(from, from + take));
      this.#bytes += take;
      from += take;
      if (this.#bytes === this.volumeBytes) await this.end();
    }
  }

  /** Stores what is left. */
  async end(): Promise<void> {
    if (this.#bytes === 0) return;
    const parts = this.#parts;
    this.#parts = [];
    this.#bytes = 0;
    const key = volumeKey(this.#count);
    this.#count += 1;
    await this.store.put(key, parts, this.wait);
  }

  async remove(wait: Wait): Promise<void> {
    const keys = Array.from({ length: this.#count }, (_, index) => volumeKey(index));
    await this.store.delete(keys, wait);
  }
}

/** The bytes of an archive that lies in a bucket. */
export async function* readVolumes(store: ObjectStore, wait: Wait): AsyncGenerator<Buffer> {
  using controller = childController(wait.signal);
  let ended = false;
  const jobs = (function* () {
    for (let index = 0; !ended; index += 1) {
      const run = async (signal: AbortSignal): Promise<Buffer | undefined> => {
        try {
          return await store.get(volumeKey(index), { signal });
        } catch (error) {
          if (codeOf(error) !== 'NOT_FOUND') throw error;
          if (index > 0) return undefined;
          throw notFound(`there is no archive in ${store.place} at this prefix`, { cause: error });
        }
      };
      yield { bytes: VOLUME_BYTES, run };
    }
  })();
  const limits = { parallel: READ_AHEAD, bytes: READ_AHEAD * VOLUME_BYTES };
  for await (const bytes of orderedAhead(jobs, { signal: controller.signal, ...limits })) {
    if (!bytes) {
      ended = true;
      return;
    }
    yield bytes;
  }
}
