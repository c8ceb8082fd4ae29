/** Manifest maps over the sorted maps of storage. */
import { SortedMap, type MapChange, type MapEntry } from '../../storage/sorted-map.js';
import type { TreeStorage } from '../../storage/tree-types.js';
import type { ManifestMaps, MapChanges, MapDifference } from './manifest-maps.js';

export function sortedManifestMaps(storage: TreeStorage): ManifestMaps {
  const open = (root: string): SortedMap => SortedMap.open(storage, root);
  return {
    build: async (entries, wait) => (await SortedMap.build(storage, entries, wait)).toText(),
    scan: (root, { signal }): AsyncIterable<MapEntry> => open(root).scan({ signal }),
    get: (root, key, wait) => open(root).get(key, wait),
    async *diff(a, b, wait): AsyncGenerator<MapDifference> {
      for await (const { key, a: before, b: after } of open(a).diff(open(b), wait)) {
        yield {
          key,
          ...(before === undefined ? {} : { a: before }),
          ...(after === undefined ? {} : { b: after }),
        };
      }
    },
    patch: async (root, changes, wait) => {
      if (changes.puts.length === 0 && changes.deletes.length === 0) return root;
      return (await open(root).patch(inOrder(changes), wait)).toText();
    },
  };
}

/** Puts and deletes as one list in key order. */
function* inOrder({ puts, deletes }: MapChanges): Generator<MapChange> {
  let at = 0;
  for (const put of puts) {
    for (; at < deletes.length; at += 1) {
      const key = deletes[at] as Buffer;
      if (Buffer.compare(key, put.key) > 0) break;
      yield { key, value: undefined };
    }
    yield put;
  }
  for (; at < deletes.length; at += 1) yield { key: deletes[at] as Buffer, value: undefined };
}
