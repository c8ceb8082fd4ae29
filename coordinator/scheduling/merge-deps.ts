/** The merge over real trees. Heavy applies run in the tree thread. */
import { decodeNode, isSharedEntry, runFromText, type Storage } from '../../storage/index.js';
import type { DirNode } from '../../storage/types.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { MergeDeps, RunPart } from './merge.js';

/** The root of a tree as records hold it. */
export function rootOf(text: string): DirNode {
  return decodeNode(Buffer.from(text, 'base64')) as DirNode;
}

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
