/** The sorted maps of manifests, named by the text of their root. */
import type { Wait } from '../../storage/types.js';
import type { KeyValue } from './carry.js';
import type { EntryList } from './entry-columns.js';

export interface MapChanges {
  /** In key order. */
  readonly puts: EntryList;
  /** In key order; a key is never both put and deleted. */
  readonly deletes: readonly Buffer[];
}

export interface MapDifference {
  readonly key: Buffer;
  readonly a?: Buffer;
  readonly b?: Buffer;
}

export interface ManifestMaps {
  /** Entries in key order. */
  build(entries: Iterable<KeyValue>, wait: Wait): Promise<string>;
  scan(root: string, wait: Wait): AsyncIterable<KeyValue>;
  get(root: string, key: Buffer, wait: Wait): Promise<Buffer | undefined>;
  /** Keys whose values differ, in key order; equal pages are not read. */
  diff(a: string, b: string, wait: Wait): AsyncIterable<MapDifference>;
  patch(root: string, changes: MapChanges, wait: Wait): Promise<string>;
}
