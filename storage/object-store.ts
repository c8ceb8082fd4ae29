/**
 * The object store port: immutable objects under keys that are derived from their content.
 *
 * What every implementation promises (checked by object-store.contract.ts):
 * - O1 `put` is atomic: a reader sees the whole object or none, also after a crash.
 * - O2 when `put` returned, the object is durable and every later `get`, `head` sees it.
 * - O3 putting the same key twice is harmless; both calls carry the same bytes.
 * - O4 failures are AppErrors: NOT_FOUND, UNAVAILABLE (names the place), NO_SPACE, PERMISSION_DENIED.
 *
 * Not promised: that `list` shows objects put while it runs.
 */
import type { Wait } from './types.js';

export interface PutOptions extends Wait {
  /** sha256 of the bytes, when the caller knows it: lets the store verify what arrived. */
  readonly sha256?: Buffer;
}

export interface GetOptions extends Wait {
  /** First byte wanted; 0 when absent. */
  readonly offset?: number;
  /** Bytes wanted; to the end when absent. Fewer come back where the object ends earlier. */
  readonly length?: number;
  /** Memory to read into when what comes fits; the answer is then a view of it. */
  readonly into?: Buffer | undefined;
}

export interface ObjectInfo {
  readonly key: string;
  readonly size: number;
}

/** What reading from a store took, since it was opened. */
export interface StoreCounts {
  readonly reads: number;
  readonly readBytes: number;
  /** Further requests for reads whose first one took too long. */
  readonly readsHedged: number;
  /** Answers that asked to slow down. */
  readonly slowDowns: number;
}

export interface ObjectStore extends AsyncDisposable {
  /** For people: `directory /data/objects`, `bucket b at http://host:port`. */
  readonly place: string;
  readonly counts: StoreCounts;
  put(key: string, bytes: Uint8Array | readonly Uint8Array[], options: PutOptions): Promise<void>;
  /** Throws NOT_FOUND when there is no such object. */
  get(key: string, options: GetOptions): Promise<Buffer>;
  head(key: string, wait: Wait): Promise<ObjectInfo | undefined>;
  /** Objects whose key starts with `prefix`, in byte order of keys. */
  list(prefix: string, options: Wait & { readonly after?: string }): AsyncIterable<ObjectInfo>;
  /** Keys that do not exist are ignored. */
  delete(keys: readonly string[], wait: Wait): Promise<void>;
}

/** Total bytes of a body given in parts. */
export function bodyBytes(body: Uint8Array | readonly Uint8Array[]): number {
  if (body instanceof Uint8Array) return body.byteLength;
  let total = 0;
  for (const part of body) total += part.byteLength;
  return total;
}

/** Memory for a read of `length` bytes: what the caller offers, or fresh. */
export function bufferFor(length: number, { into }: Pick<GetOptions, 'into'>): Buffer {
  return into && into.length >= length ? into.subarray(0, length) : Buffer.allocUnsafeSlow(length);
}
