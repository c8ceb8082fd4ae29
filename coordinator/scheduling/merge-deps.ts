/** The merge over real trees. Heavy applies run in the tree thread. */
import type { Storage } from '../../storage/index.js';
import { readRun, runFromText } from '../../storage/index.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { MergeDeps, RunPart } from './merge.js';

/** `ordinal` is that of the output commit. */
export function mergeDeps(
  deps: { readonly storage: Storage; readonly maps: ManifestMaps },
  ordinal: number,
): MergeDeps {
  const { storage, maps } = deps;
  const inputs = (parts: readonly RunPart[]) =>
    parts.map(({ run, select }) => ({ run: runFromText(run), select }));
  return {
    maps,
    lookup: (root, path, wait) => storage.trees.lookup(root, path, wait),
    readRun: (run, wait) => readRun(storage, runFromText(run), wait),
    remove: (root, parts, wait) =>
      storage.trees.apply(
        root,
        inputs(parts).map((part) => ({ ...part, subtract: true })),
        { ...wait, ordinal, mode: 'merge' },
      ),
    merge: (base, parts, wait) =>
      storage.trees.apply(base, inputs(parts), { ...wait, ordinal, mode: 'merge' }),
  };
}
