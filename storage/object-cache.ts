/**
 * Verified small objects (pages, runs, blobs) in memory, bounded in bytes, least recently used
 * out first. Several askers of one missing object share one read.
 */
export class ObjectCache {
  readonly #objects = new Map<string, Buffer>();
  readonly #loading = new Map<string, Promise<Buffer>>();
  #bytes = 0;

  constructor(readonly bytesMax: number) {}

  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): Buffer | undefined {
    const found = this.#objects.get(key);
    if (!found) return undefined;
    this.#objects.delete(key);
    this.#objects.set(key, found);
    return found;
  }

  add(key: string, bytes: Buffer): void {
    // One huge object must not push everything else out.
    if (bytes.length > this.bytesMax / 4 || this.#objects.has(key)) return;
    this.#objects.set(key, bytes);
    this.#bytes += bytes.length;
    for (const [oldest, value] of this.#objects) {
      if (this.#bytes <= this.bytesMax) break;
      this.#objects.delete(oldest);
      this.#bytes -= value.length;
    }
  }

  /** The object, loaded at most once at a time. A failed shared load is tried again by the asker. */
  async load(key: string, read: () => Promise<Buffer>): Promise<Buffer> {
    const found = this.get(key);
    if (found) return found;
    const running = this.#loading.get(key);
    if (running) {
      // The other asker may have been cancelled: its failure says nothing about ours.
      const shared = await running.catch(() => undefined);
      if (shared) return shared;
    }
    const load = read();
    this.#loading.set(key, load);
    try {
      const bytes = await load;
      this.add(key, bytes);
      return bytes;
    } finally {
      if (this.#loading.get(key) === load) this.#loading.delete(key);
    }
  }
}
