/**
 * Pages in the object store: a bounded cache of decoded pages for readers, and a sink that uploads
 * pages of a tree under construction with a bounded number in flight.
 *
 * P1 A page's reference is known before its upload is done; nothing that refers to it may be made
 *    visible before `PageSink.settle()` returned.
 * P2 The first failed upload fails every later call of the sink.
 */
import { invariant } from '../core/errors.js';
import { sha256 } from '../core/sha256.js';
import { decodePage, type Page, type PageCodec } from './page.js';
import type { TreeStorage } from './tree-types.js';
import type { ObjectKind, ObjectRef, Wait } from './types.js';

const UPLOADS_MAX = 32;
const UPLOAD_BYTES_MAX = 32 * 1024 * 1024;
const CACHE_BYTES = 16 * 1024 * 1024;

/** Decoded pages of one flavor, least recently used out first. */
export class PageStore<V> {
  readonly #pages = new Map<string, { page: Page<V>; bytes: number }>();
  #bytes = 0;

  constructor(
    readonly storage: TreeStorage,
    readonly codec: PageCodec<V>,
    readonly cacheBytes = CACHE_BYTES,
  ) {}

  /** The page when it is in memory. */
  cached(ref: ObjectRef): Page<V> | undefined {
    const key = ref.digest.toString('latin1');
    const found = this.#pages.get(key);
    if (!found) return undefined;
    this.#pages.delete(key);
    this.#pages.set(key, found);
    return found.page;
  }

  async load(ref: ObjectRef, wait: Wait): Promise<Page<V>> {
    const known = this.cached(ref);
    if (known) return known;
    const page = decodePage(this.codec, await this.storage.getObject(ref, wait));
    this.#add(ref, page);
    return page;
  }

  #add(ref: ObjectRef, page: Page<V>): void {
    const key = ref.digest.toString('latin1');
    if (this.#pages.has(key)) return;
    this.#pages.set(key, { page, bytes: ref.size });
    this.#bytes += ref.size;
    for (const [oldest, entry] of this.#pages) {
      if (this.#bytes <= this.cacheBytes) break;
      this.#pages.delete(oldest);
      this.#bytes -= entry.bytes;
    }
  }
}

/** Uploads of one operation. */
export class PageSink {
  readonly #uploads = new Set<Promise<void>>();
  #bytes = 0;
  #error: unknown;
  #failed = false;

  constructor(
    readonly storage: TreeStorage,
    readonly wait: Wait,
  ) {}

  /** Starts the upload of an object and answers its reference at once (P1). */
  put(bytes: Buffer, kind: ObjectKind = 'page'): ObjectRef {
    if (this.#failed) throw this.#error;
    const ref: ObjectRef = {
      kind,
      epoch: this.storage.epoch,
      digest: sha256(bytes),
      size: bytes.length,
    };
    const upload = this.#upload(ref, bytes);
    this.#uploads.add(upload);
    this.#bytes += bytes.length;
    void upload.finally(() => {
      this.#uploads.delete(upload);
      this.#bytes -= bytes.length;
    });
    return ref;
  }

  /** A promise to await while too much is in flight; undefined when there is room. */
  room(): Promise<void> | undefined {
    if (this.#uploads.size < UPLOADS_MAX && this.#bytes < UPLOAD_BYTES_MAX) return undefined;
    return Promise.race(this.#uploads).then(() => {
      if (this.#failed) throw this.#error;
    });
  }

  /** Waits for every upload; throws the first failure. */
  async settle(): Promise<void> {
    await this.idle();
    if (this.#failed) throw this.#error;
  }

  /** Waits until nothing is in flight, whatever came of it. For the way out after a failure. */
  async idle(): Promise<void> {
    while (this.#uploads.size > 0) await Promise.all(this.#uploads);
  }

  /** Never rejects: the failure is kept for whoever calls next (P2). */
  async #upload(ref: ObjectRef, bytes: Buffer): Promise<void> {
    try {
      const stored = await this.storage.putObject(ref.kind, bytes, this.wait);
      invariant(stored.digest.equals(ref.digest), 'the store named a page differently');
    } catch (error) {
      if (!this.#failed) this.#error = error;
      this.#failed = true;
    }
  }
}
