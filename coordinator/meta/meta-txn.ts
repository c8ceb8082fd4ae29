/**
 * One optimistic transaction while it is being put together. Reads come from one snapshot and see
 * the transaction's own writes; what was read (and not merely peeked at) is compared when it
 * commits, so a transaction takes effect only if nothing it looked at has changed.
 *
 * Every write happens in one etcd transaction at the end; `work` may run again, so it must have no
 * effects of its own.
 */
import { invariant } from '../../core/errors.js';
import { compareKeys, prefixEnd, type Compare, type KV, type Op } from './kv.js';
import type { Snapshot } from './snapshot.js';

export interface PutOptions {
  /** Id of a lease: the key goes when the lease ends. */
  readonly lease?: string;
}

interface StagedPut {
  readonly value: Buffer;
  readonly lease?: string;
}

/** A condition set by the caller. `fence` conditions fail the transaction for good. */
interface Requirement {
  readonly compare: Compare & { readonly key: string };
  readonly fence: boolean;
}

/** Ranges with more keys than this are compared by the prefix alone (deletions do not show). */
const RANGE_COMPARES_MAX = 1_000;

export class MetaTxn {
  readonly #snapshot: Snapshot;
  /** Compared keys → revision read, 0 = absent. */
  readonly #reads = new Map<string, number>();
  readonly #prefixReads = new Map<string, number>();
  readonly #requirements = new Map<string, Requirement>();
  /** undefined = delete. */
  readonly #staged = new Map<string, StagedPut | undefined>();
  readonly #deletedPrefixes: string[] = [];
  readonly #after: ((revision: number) => void)[] = [];
  #closed = false;

  constructor(snapshot: Snapshot) {
    this.#snapshot = snapshot;
  }

  /** The key as of the snapshot or as this transaction left it; compared at commit. */
  async get(key: string): Promise<KV | undefined> {
    const own = this.#own(key);
    if (own !== 'untouched') return own;
    const kv = await this.#snapshot.get(key);
    this.#reads.set(key, kv?.modRevision ?? 0);
    return this.#overlay(key, kv);
  }

  async getJson<T>(key: string): Promise<T | undefined> {
    return parse<T>(await this.get(key));
  }

  /** Reads keys that will be asked for, in one request; only what is asked for is compared. */
  warm(keys: readonly string[]): void {
    // A failure is met again by whoever asks.
    for (const key of keys) this.#snapshot.get(key).catch(() => undefined);
  }

  /** As `get`, but the transaction goes through even if the key changes meanwhile. */
  async peek(key: string): Promise<KV | undefined> {
    const own = this.#own(key);
    if (own !== 'untouched') return own;
    return this.#overlay(key, await this.#snapshot.get(key));
  }

  async peekJson<T>(key: string): Promise<T | undefined> {
    return parse<T>(await this.peek(key));
  }

  /**
   * Every key with the prefix, in key order. Compared at commit (`compare: false` turns that off):
   * no key may have been added, changed or, up to 1,000 keys, removed.
   */
  async range(prefix: string, o: { compare?: boolean; keysOnly?: boolean } = {}): Promise<KV[]> {
    const { kvs, revision } = await this.#snapshot.range(
      prefix,
      o.keysOnly ? { keysOnly: true } : {},
    );
    if (o.compare !== false) {
      this.#prefixReads.set(prefix, revision);
      if (kvs.length <= RANGE_COMPARES_MAX) {
        for (const kv of kvs) this.#reads.set(kv.key, kv.modRevision);
      }
    }
    return this.#overlayRange(prefix, kvs);
  }

  async rangeJson<T>(prefix: string, o: { compare?: boolean } = {}): Promise<T[]> {
    return (await this.range(prefix, o)).map((kv) => JSON.parse(kv.value.toString()) as T);
  }

  /** The keys with the prefix; compared like `range`. */
  async keys(prefix: string, o: { compare?: boolean } = {}): Promise<string[]> {
    return (await this.range(prefix, { ...o, keysOnly: true })).map((kv) => kv.key);
  }

  put(key: string, value: string | Uint8Array, o: PutOptions = {}): void {
    this.#assertOpen();
    const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value);
    this.#staged.set(key, { value: bytes, ...(o.lease === undefined ? {} : { lease: o.lease }) });
  }

  putJson(key: string, value: unknown, o: PutOptions = {}): void {
    this.put(key, JSON.stringify(value), o);
  }

  /** Puts a key that must not exist. */
  create(key: string, value: string | Uint8Array, o: PutOptions = {}): void {
    this.requireAbsent(key);
    this.put(key, value, o);
  }

  delete(key: string): void {
    this.#assertOpen();
    this.#staged.set(key, undefined);
  }

  /** Deletes every key with the prefix that exists at commit; later puts below it stay. */
  deletePrefix(prefix: string): void {
    this.#assertOpen();
    for (const key of this.#staged.keys()) {
      if (key.startsWith(prefix)) this.#staged.delete(key);
    }
    this.#deletedPrefixes.push(prefix);
  }

  /** The key must exist when the transaction commits. */
  requireExists(key: string): void {
    this.#require({ key, exists: true }, false);
  }

  requireAbsent(key: string): void {
    this.#require({ key, exists: false }, false);
  }

  /**
   * A fence: the key must still be at this revision (0 = absent). If it is not, the transaction
   * fails for good with STATE_CONFLICT and `fields.fenced`.
   */
  requireUnchanged(key: string, modRevision: number | string): void {
    this.#require({ key, modRevision: Number(modRevision) }, true);
  }

  /** A fence on the revision the key was created at. */
  requireCreated(key: string, createRevision: number | string): void {
    this.#require({ key, createRevision: Number(createRevision) }, true);
  }

  /** Runs once, after the transaction took effect, with its revision. */
  afterCommit(callback: (revision: number) => void): void {
    this.#after.push(callback);
  }

  /** @internal The transaction takes no more writes. */
  close(): void {
    this.#closed = true;
  }

  /** @internal */
  get writes(): boolean {
    return this.#staged.size > 0 || this.#deletedPrefixes.length > 0;
  }

  /** @internal Whether it depends on anything: then a commit without writes still checks it. */
  get requires(): boolean {
    return this.#requirements.size > 0;
  }

  /** @internal Keys whose present state explains a conflict. */
  comparedKeys(): string[] {
    const required = [...this.#requirements.values()].map(({ compare }) => compare.key);
    return [...new Set([...required, ...this.#reads.keys()])];
  }

  /** @internal */
  compares(): Compare[] {
    const list: Compare[] = [...this.#requirements.values()].map(({ compare }) => compare);
    for (const [key, modRevision] of this.#reads) list.push({ key, modRevision });
    for (const [prefix, revision] of this.#prefixReads) {
      list.push({ prefix, notModifiedAfter: revision });
    }
    return list;
  }

  /** @internal */
  ops(): Op[] {
    const ops: Op[] = this.#deletedPrefixes.flatMap((prefix) => this.#deleteOps(prefix));
    for (const [key, put] of this.#staged) {
      if (put) ops.push({ put: key, ...put });
      else if (!this.#deletedPrefixes.some((prefix) => key.startsWith(prefix))) {
        ops.push({ delete: key });
      }
    }
    return ops;
  }

  /** @internal The first requirement that the present values break, if they are known. */
  brokenRequirement(
    now: ReadonlyMap<string, KV | undefined>,
  ): { key: string; fence: boolean } | undefined {
    for (const { compare, fence } of this.#requirements.values()) {
      if (!now.has(compare.key)) continue;
      const kv = now.get(compare.key);
      const holds =
        'exists' in compare
          ? (kv !== undefined) === compare.exists
          : 'modRevision' in compare
            ? (kv?.modRevision ?? 0) === compare.modRevision
            : 'createRevision' in compare
              ? (kv?.createRevision ?? 0) === compare.createRevision
              : true;
      if (!holds) return { key: compare.key, fence };
    }
    return undefined;
  }

  /** @internal */
  committed(revision: number): void {
    for (const callback of this.#after) callback(revision);
  }

  #require(compare: Compare & { readonly key: string }, fence: boolean): void {
    this.#assertOpen();
    const kind = Object.keys(compare).join();
    this.#requirements.set(`${kind} ${compare.key}`, { compare, fence });
  }

  #own(key: string): KV | undefined | 'untouched' {
    if (!this.#staged.has(key)) {
      const gone = this.#deletedPrefixes.some((prefix) => key.startsWith(prefix));
      return gone ? undefined : 'untouched';
    }
    return stagedKv(key, this.#staged.get(key));
  }

  /** A write may have been staged while the read was on its way. */
  #overlay(key: string, kv: KV | undefined): KV | undefined {
    const own = this.#own(key);
    return own === 'untouched' ? kv : own;
  }

  #overlayRange(prefix: string, kvs: readonly KV[]): KV[] {
    const all = new Map<string, KV>();
    for (const kv of kvs) {
      const own = this.#overlay(kv.key, kv);
      if (own) all.set(kv.key, own);
    }
    let added = false;
    for (const [key, put] of this.#staged) {
      if (!put || !key.startsWith(prefix) || all.has(key)) continue;
      all.set(key, stagedKv(key, put) as KV);
      added = true;
    }
    const result = [...all.values()];
    return added ? result.sort((a, b) => compareKeys(a.key, b.key)) : result;
  }

  /** etcd forbids a put inside a deleted range, so the range is cut around staged puts. */
  #deleteOps(prefix: string): Op[] {
    const kept = [...this.#staged]
      .filter(([key, put]) => put && key.startsWith(prefix))
      .map(([key]) => key)
      .sort(compareKeys);
    const ops: Op[] = [];
    let from = prefix;
    for (const key of kept) {
      if (from !== key) ops.push({ deleteRange: [from, key] });
      from = `${key}\0`;
    }
    ops.push({ deleteRange: [from, prefixEnd(prefix)] });
    return ops;
  }

  #assertOpen(): void {
    invariant(!this.#closed, 'write to a transaction after its work ended');
  }
}

function stagedKv(key: string, put: StagedPut | undefined): KV | undefined {
  if (!put) return undefined;
  const lease = put.lease === undefined ? {} : { lease: put.lease };
  return { key, value: put.value, createRevision: 0, modRevision: 0, ...lease };
}

function parse<T>(kv: KV | undefined): T | undefined {
  return kv && (JSON.parse(kv.value.toString()) as T);
}
