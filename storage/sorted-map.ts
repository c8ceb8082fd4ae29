/**
 * An immutable sorted map from bytes to bytes in the object store: datum manifests with millions of
 * entries. A changed entry costs the pages on its way; a difference costs what differs.
 */
import type { ByteReader } from './bytes.js';
import { KeyReader, writeKey } from './bytes.js';
import { invariant } from '../core/errors.js';
import type { BuiltMap } from './map-builder.js';
import { MapEditor } from './map-editor.js';
import { diffMaps, getFrom, lastEntry, scanMap } from './map-read.js';
import { ITEM_WEIGHT } from './page-boundary.js';
import { isLeaf, type Page, type PageCodec } from './page.js';
import { PageSink, PageStore } from './page-store.js';
import { refFromText, refToText } from './refs.js';
import type { TreeStorage } from './tree-types.js';
import type { ObjectRef, Wait } from './types.js';

export interface MapEntry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/** `value` undefined removes the key. */
export interface MapChange {
  readonly key: Buffer;
  readonly value: Buffer | undefined;
}

type Stream<T> = Iterable<T> | AsyncIterable<T>;

/** Pages of plain maps. */
export const plainCodec: PageCodec<Buffer> = {
  flavor: 2,
  weight: (key, value) => ITEM_WEIGHT + key.length + value.length,
  a: () => 0,
  b: () => 0,
  encode(out, keys, values) {
    let before = '';
    for (const [index, key] of keys.entries()) {
      const value = values[index] as Buffer;
      writeKey(out, before, key);
      out.varint(value.length);
      out.bytes(value);
      before = key;
    }
  },
  decode(reader: ByteReader, count) {
    const names = new KeyReader();
    const keys: string[] = [];
    const values: Buffer[] = [];
    for (let index = 0; index < count; index += 1) {
      keys.push(names.next(reader));
      values.push(reader.bytes(reader.varint()));
    }
    return { keys, value: (index) => values[index] as Buffer };
  },
  identify(out, _key, value) {
    out.varint(value.length);
    out.bytes(value);
  },
};

export class SortedMap {
  private constructor(
    readonly root: ObjectRef,
    readonly store: PageStore<Buffer>,
  ) {}

  /** The map with the given entries, which must ascend by key without repeats. Stored on return. */
  static async build(
    storage: TreeStorage,
    entries: Stream<MapEntry>,
    wait: Wait,
  ): Promise<SortedMap> {
    const store = new PageStore(storage, plainCodec);
    return edit(store, undefined, entries, wait).then((root) => new SortedMap(root, store));
  }

  /** The map with this root. Reads nothing yet. */
  static open(storage: TreeStorage, root: ObjectRef | string): SortedMap {
    const ref = typeof root === 'string' ? refFromText(root) : root;
    return new SortedMap(ref, new PageStore(storage, plainCodec));
  }

  /** Reference of the root as text; equal for equal content. */
  toText(): string {
    return refToText(this.root);
  }

  /** Number of entries; reads the root only. */
  async count(wait: Wait): Promise<number> {
    const page = await this.#page(wait);
    if (isLeaf(page)) return page.keys.length;
    return page.children.reduce((total, child) => total + child.entries, 0);
  }

  async get(key: Buffer, wait: Wait): Promise<Buffer | undefined> {
    return getFrom(this.store, await this.#page(wait), toKey(key), wait);
  }

  /** Entries in order: from the first key ≥ `from`, below `to`. */
  async *scan(
    options: Wait & { readonly from?: Buffer; readonly to?: Buffer },
  ): AsyncGenerator<MapEntry> {
    const from = options.from && toKey(options.from);
    const to = options.to && toKey(options.to);
    const { signal } = options;
    const range = from === undefined ? { signal } : { signal, from };
    for await (const { key, value } of scanMap(this.store, await this.#page(options), range)) {
      if (to !== undefined && key >= to) return;
      yield { key: fromKey(key), value };
    }
  }

  /** The entry with the greatest key below `before` (of all when absent). */
  async last(options: Wait & { readonly before?: Buffer }): Promise<MapEntry | undefined> {
    const before = options.before && toKey(options.before);
    const found = await lastEntry(this.store, await this.#page(options), before, options);
    return found && { key: fromKey(found.key), value: found.value };
  }

  /** This map with changes in ascending order of key, without repeats. Costs what changes. */
  async patch(changes: Stream<MapChange>, wait: Wait): Promise<SortedMap> {
    const root = await edit(this.store, await this.#page(wait), changes, wait);
    return new SortedMap(root, this.store);
  }

  /** Keys whose values differ: `a` is this map's, `b` the other's. */
  async *diff(
    other: SortedMap,
    wait: Wait,
  ): AsyncGenerator<{ key: Buffer; a: Buffer | undefined; b: Buffer | undefined }> {
    if (this.root.digest.equals(other.root.digest)) return;
    const roots = { a: await this.#page(wait), b: await other.#page(wait) };
    const { signal } = wait;
    const same = (a: Buffer, b: Buffer): boolean => a.equals(b);
    for await (const { key, a, b } of diffMaps(this.store, roots, { signal, same })) {
      yield { key: fromKey(key), a, b };
    }
  }

  #page(wait: Wait): Promise<Page<Buffer>> {
    return this.store.load(this.root, wait);
  }
}

async function edit(
  store: PageStore<Buffer>,
  old: Page<Buffer> | undefined,
  changes: Stream<MapChange>,
  wait: Wait,
): Promise<ObjectRef> {
  const sink = new PageSink(store.storage, wait);
  try {
    return await editWith(new MapEditor(store, sink, old, wait), sink, changes);
  } finally {
    await sink.idle();
  }
}

async function editWith(
  editor: MapEditor<Buffer>,
  sink: PageSink,
  changes: Stream<MapChange>,
): Promise<ObjectRef> {
  if (Symbol.asyncIterator in changes) {
    for await (const { key, value } of changes) {
      const waiting = editor.apply(toKey(key), value);
      if (waiting) await waiting;
    }
  } else {
    for (const { key, value } of changes) {
      const waiting = editor.apply(toKey(key), value);
      if (waiting) await waiting;
    }
  }
  const built: BuiltMap = await editor.finish();
  const root = 'ref' in built.root ? built.root.ref : sink.put(built.root.bytes);
  await sink.settle();
  invariant(root.kind === 'page', 'the root of a map is a page');
  return root;
}

function toKey(key: Buffer): string {
  return key.toString('latin1');
}

function fromKey(key: string): Buffer {
  return Buffer.from(key, 'latin1');
}
