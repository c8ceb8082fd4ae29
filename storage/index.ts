/**
 * The storage facade: immutable bytes in an object store, addressed by content.
 *
 * `Storage` owns the store connection and a bounded cache of small objects. It makes nothing
 * visible: callers store first and then move a pointer in the metadata.
 */
import type { Clock } from '../core/clock.js';
import { corruptData, invalidInput } from '../core/errors.js';
import type { Log } from '../core/log.js';
import { sha256 } from '../core/sha256.js';
import { concatenate } from './canonical.js';
import { ChunkBuffers } from './chunk-buffers.js';
import { getExisting, readContent, readMany } from './content-reader.js';
import { AheadBudget } from './ordered-ahead.js';
import type { ManyItem, ManyResult, ReadFrom, ReadOptions } from './content-reader.js';
import { ContentWriter, UploadBudget, type WriterOptions } from './content-writer.js';
import { deflate, inflate } from './deflated.js';
import { DirStore } from './dir-store.js';
import { FixedEpoch, type EpochSource } from './epochs.js';
import { ObjectCache } from './object-cache.js';
import type { ObjectStore } from './object-store.js';
import { keyOf, refFromText, refToText } from './refs.js';
import { Sources } from './sources.js';
import { openTreePool, type TreePool } from './tree-pool.js';
import { Trees } from './trees.js';
import type { FileContent, ObjectKind, ObjectRef, Wait } from './types.js';

export { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN } from './chunker.js';
export { contentOf, EMPTY_CONTENT, EMPTY_HASH, PACKED_BYTES_MAX } from './content.js';
export type { ManyItem, ManyResult, ReadOptions } from './content-reader.js';
export { ContentWriter, FileSink, type WriterOptions } from './content-writer.js';
export type { ObjectInfo, ObjectStore } from './object-store.js';
export type { ReadRange, S3Sink } from './s3-sink.js';
export type { SourceAddress, SourceObject, S3Source } from './s3-source.js';
export { orderedAhead } from './ordered-ahead.js';
export { Sources, type SourcePlace } from './sources.js';
export { canonicalPath, compileGlob, isGlob, writablePath, type Glob } from './glob.js';
export { datumLogOp, datumStatsOps, RECOVERED_TEXT, type DatumStats } from './datum-stats.js';
export { batchOf, type MatchBatch, type WholeMatch } from './match-batch.js';
export { decodeNode, encodeNode } from './node-format.js';
export { keyOf, objectOf, refFromText, refToText } from './refs.js';
export { readRun, runFromText, runObjects, runToText, RunWriter, writeRun } from './run.js';
export { joinRuns } from './run-join.js';
export { lowestAt, selectionOf, selector, type Selection } from './selection.js';
export { SortedMap, type MapChange, type MapEntry } from './sorted-map.js';
export type {
  ApplyOptions,
  RunInput,
  RunPart,
  RunRef,
  TreeDiff,
  TreeReader,
  TreeStorage,
} from './tree-types.js';
export { isSharedEntry } from './apply-file.js';
export { Trees } from './trees.js';
export {
  FixedEpoch,
  held,
  ToldEpoch,
  type EpochSource,
  type Hold,
  type HoldKind,
} from './epochs.js';
export type * from './types.js';

export interface StorageOptions {
  /**
   * `dir:///absolute/path` or
   * `s3://bucket/prefix?endpoint=http://host:port&region=us-east-1&path-style=true`.
   */
  readonly url: string;
  readonly s3?: { readonly accessKeyId: string; readonly secretAccessKey: string };
  /** Garbage-collection epoch that new objects carry, or who tells it. */
  readonly epoch: number | EpochSource;
  /** Memory for verified pages, runs and blobs. */
  readonly cacheBytes?: number;
  /** Make large trees in a thread of their own. */
  readonly treeThread?: boolean;
  readonly log: Log;
  readonly clock: Clock;
}

/** Bytes on their way to the store, all put streams together. */
const UPLOAD_BYTES = 192 * 1024 * 1024;
const CACHE_BYTES = 64 * 1024 * 1024;

/** What all reads of file bytes together hold ahead of who reads them. */
const READ_AHEAD_BYTES = 96 * 1024 * 1024;

/** Opens the object store named by the URL. UNAVAILABLE, INVALID_INPUT … say what to do. */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const storage = new Storage(await openObjects(options), options);
  if (options.treeThread) storage.startTreeThread(options);
  return storage;
}

/** The object store named by the URL, by itself: for what is no object of a cluster. */
export async function openObjects(
  options: Pick<StorageOptions, 'url' | 's3' | 'log' | 'clock'>,
): Promise<ObjectStore> {
  const { clock, log, s3 } = options;
  if (options.url.startsWith('dir://')) {
    const path = decodeURIComponent(options.url.slice('dir://'.length));
    if (!path.startsWith('/')) {
      throw invalidInput(`store URL ${options.url}: expected dir:// and an absolute path`);
    }
    return DirStore.open(path, { wallMs: clock.wallMs() });
  }
  if (options.url.startsWith('s3://')) {
    // The SDK takes a while to load; who keeps objects in a directory need not wait for it.
    const { openS3Store } = await import('./s3-store.js');
    return openS3Store({ url: options.url, s3, clock, log });
  }
  throw invalidInput(
    `store URL "${options.url}": expected dir:///absolute/path or s3://bucket/prefix?endpoint=…`,
  );
}

export class Storage implements AsyncDisposable {
  /** Who tells the epoch of new objects, and keeps old ones for as long as somebody needs them. */
  readonly epochs: EpochSource;
  readonly log: Log;
  readonly clock: Clock;
  readonly #cache: ObjectCache;
  readonly #uploads = new UploadBudget(UPLOAD_BYTES);
  readonly #buffers = new ChunkBuffers();
  readonly trees: Trees;
  /** Files from s3 URLs, and those that stay where they are. */
  readonly sources: Sources;
  readonly #from: ReadFrom;
  #pool: TreePool | undefined;

  constructor(
    readonly objects: ObjectStore,
    options: Pick<StorageOptions, 'epoch' | 'cacheBytes' | 'log' | 'clock' | 's3'> & {
      readonly url?: string;
    },
  ) {
    const { epoch } = options;
    this.epochs = typeof epoch === 'number' ? new FixedEpoch(epoch) : epoch;
    this.log = options.log;
    this.clock = options.clock;
    this.#cache = new ObjectCache(options.cacheBytes ?? CACHE_BYTES);
    this.trees = new Trees(this);
    this.sources = new Sources({
      ...{ storeUrl: options.url, s3: options.s3, clock: this.clock, log: this.log },
      putJson: (value, wait) => this.putJson(value, wait),
      getBlob: (ref, wait) => this.#json(ref, wait),
    });
    this.#from = { objects, sources: this.sources, ahead: new AheadBudget(READ_AHEAD_BYTES) };
  }

  /** Garbage-collection epoch that an object written now carries. */
  get epoch(): number {
    return this.epochs.current();
  }

  /** From now on large trees are made in a thread; closed with the storage. */
  startTreeThread(options: StorageOptions): void {
    const { url, s3, cacheBytes, log } = options;
    const epoch = (): number => this.epoch;
    this.#pool = openTreePool({ url, s3, cacheBytes }, log, epoch);
    if (this.#pool) this.trees.usePool(this.#pool);
  }

  /** Stores an object under the digest of its bytes. Idempotent. */
  async putObject(
    kind: ObjectKind,
    bytes: Uint8Array,
    wait: Wait & { readonly epoch?: number },
  ): Promise<ObjectRef> {
    const ref: ObjectRef = {
      kind,
      epoch: wait.epoch ?? this.epoch,
      digest: sha256(bytes),
      size: bytes.byteLength,
    };
    await this.objects.put(keyOf(ref), bytes, { signal: wait.signal, sha256: ref.digest });
    return ref;
  }

  /** The object's bytes, verified; do not change them. CORRUPT_DATA names the key. */
  async getObject(ref: ObjectRef, wait: Wait): Promise<Buffer> {
    const key = keyOf(ref);
    return this.#cache.load(key, async () => {
      for (let attempt = 1; ; attempt += 1) {
        // Callers hand on what they were given; only the signal is meant for us.
        const bytes = await getExisting(this.objects, key, { signal: wait.signal });
        if (sha256(bytes).equals(ref.digest)) return bytes;
        if (attempt === 2) {
          throw corruptData(
            `object ${key} in ${this.objects.place} is damaged: its bytes do not match its name`,
            { fields: { key } },
          );
        }
      }
    });
  }

  /** Stores a value as deflated JSON; the answer is the text of its reference. */
  async putJson(value: unknown, wait: Wait & { readonly epoch?: number }): Promise<string> {
    const text = Buffer.from(JSON.stringify(value));
    const bytes = await deflate(text);
    return refToText(await this.putObject('blob', bytes, wait));
  }

  /** The value stored by `putJson`. The caller knows its type. */
  async getJson<T>(refText: string, wait: Wait): Promise<T> {
    return (await this.#json(refFromText(refText), wait)) as T;
  }

  async #json(ref: ObjectRef, wait: Wait): Promise<unknown> {
    return JSON.parse((await inflate(await this.getObject(ref, wait))).toString()) as unknown;
  }

  newWriter(options: WriterOptions): ContentWriter {
    return new ContentWriter(this.objects, {
      ...options,
      epoch: options.epoch ?? this.epoch,
      budget: this.#uploads,
      buffers: this.#buffers,
    });
  }

  /** The bytes of a file, or of a range, in order; several reads ahead; whole pieces verified. */
  read(content: FileContent, options: ReadOptions): AsyncIterable<Buffer> {
    return readContent(this.#from, content, options);
  }

  /** Many files in the order given; small neighbours of one pack come with one request. */
  readMany<T>(files: AsyncIterable<ManyItem<T>>, wait: Wait): AsyncIterable<ManyResult<T>> {
    return readMany(this.#from, files, wait);
  }

  /**
   * As `read` and `readMany`, for who is done with every buffer when asking for the next: they are
   * used again.
   */
  readonly passing = {
    read: (content: FileContent, options: ReadOptions): AsyncIterable<Buffer> =>
      readContent(this.#from, content, { ...options, buffers: this.#buffers }),
    readMany: <T>(files: AsyncIterable<ManyItem<T>>, wait: Wait): AsyncIterable<ManyResult<T>> =>
      readMany(this.#from, files, { ...wait, buffers: this.#buffers }),
  };

  /**
   * The concatenation, cut as if it had been written at once. Give a `writer` to share packs among
   * many files (locations are then set when it is flushed); else the result is stored on return.
   */
  async canonical(
    contents: readonly FileContent[],
    wait: Wait & { readonly writer?: ContentWriter },
  ): Promise<FileContent> {
    const writer = wait.writer ?? this.newWriter({ signal: wait.signal });
    const content = await concatenate(this.#from, contents, writer, wait);
    if (!wait.writer) {
      await writer.flush(wait);
      writer.abort();
    }
    return content;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool?.[Symbol.asyncDispose]();
    this.sources[Symbol.dispose]();
    await this.objects[Symbol.asyncDispose]();
  }
}
