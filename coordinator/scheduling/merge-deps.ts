/** The merge over real trees. Heavy applies run in the tree thread. */
import { isSharedEntry, runFromText, type Storage } from '../../storage/index.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { MergeDeps, RunPart } from './merge.js';

/** `ordinal` is that of the output commit. */
export function mergeDeps(
  deps: { readonly storage: Storage; readonly maps: ManifestMaps },
  ordinal: number,
): MergeDeps {
  const { trees } = deps.storage;
  const inputs = (parts: readonly RunPart[]) =>
    parts.map(({ run, select }) => ({ run: runFromText(run), select }));
  return {
    maps: deps.maps,
    update: async (base, { removed, added }, wait) => {
      const taken = inputs(removed).map((part) => ({ ...part, subtract: true }));
      try {
        const options = { ...wait, ordinal, mode: 'merge' } as const;
        return await trees.apply(base, [...taken, ...inputs(added)], options);
      } catch (error) {
        if (isSharedEntry(error)) return undefined;
        throw error;
      }
    },
    merge: (parts, { signal, overwrite }) =>
      trees.apply(undefined, inputs(parts), {
        signal,
        ordinal,
        mode: overwrite ? 'put' : 'merge',
      }),
  };
}
