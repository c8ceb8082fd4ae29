/** The shapes that callers of runs and trees use. */
import type { Storage } from './index.js';
import type { MatchBatch } from './match-batch.js';
import type { Selection } from './selection.js';
import type { DirNode, ObjectRef, TreeNode, Wait } from './types.js';

/** The part of Storage that pages, runs and trees need. */
export type TreeStorage = Pick<
  Storage,
  'epoch' | 'objects' | 'putObject' | 'getObject' | 'canonical' | 'newWriter'
>;

/** A sorted list of changes: small ones inline (in a message or an etcd value). */
export type RunRef = { readonly object: ObjectRef } | { readonly inline: Buffer };

/** A run, or the part of it that some of its ops (told by seq, e.g. datum index) make up. */
export type RunInput = RunRef | RunPart;

export interface RunPart {
  readonly run: RunRef;
  /** Which seqs to take, and what they become. Works in the tree thread. */
  readonly select?: Selection;
  /** Which seqs to take (all when absent). Keeps the work on the caller's thread; prefer `select`. */
  readonly keep?: (seq: number) => boolean;
  /** New seq of a taken op. */
  readonly order?: (seq: number) => number;
  /** mode `merge`: take these outputs out of the base instead of adding them. */
  readonly subtract?: boolean;
}

export interface ApplyOptions extends Wait {
  /** Ordinal of the commit that is being made; entries that change carry it. */
  readonly ordinal: number;
  /**
   * `put`: what clients did to an input commit; order of effect is (position of the run, seq).
   * `merge`: outputs of datums; files that several seqs write are concatenated in seq order.
   */
  readonly mode: 'put' | 'merge';
  /** The result holds the runs alone; `base` only lends `changed` and extents of equal entries. */
  readonly fresh?: boolean;
  /** Runs (or parts of runs) that are open at a time; more are merged in rounds. */
  readonly runsAtOnce?: number;
}

/** One difference. Equal hashes are not differences; `a` or `b` is absent where there is nothing. */
export interface TreeDiff {
  readonly path: string;
  readonly a?: TreeNode;
  readonly b?: TreeNode;
}

/** The contract of storage.trees. */
export interface TreeReader {
  readonly empty: DirNode;
  lookup(root: DirNode, path: string, wait: Wait): Promise<TreeNode | undefined>;
  list(
    root: DirNode,
    path: string,
    options: Wait & { readonly after?: string },
  ): AsyncIterable<{ name: string; node: TreeNode }>;
  walk(root: DirNode, path: string, wait: Wait): AsyncIterable<{ path: string; node: TreeNode }>;
  glob(
    root: DirNode,
    pattern: string,
    wait: Wait,
  ): AsyncIterable<{ path: string; node: TreeNode; captures: string[] }>;
  globBatches(root: DirNode, pattern: string, wait: Wait): AsyncIterable<MatchBatch>;
  diff(a: DirNode | undefined, b: DirNode | undefined, wait: Wait): AsyncIterable<TreeDiff>;
}
