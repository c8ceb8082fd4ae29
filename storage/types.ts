/**
 * The nouns that every part of storage/ shares. Formats on disk are in docs/formats/.
 *
 * Two digests must never be confused: an object's *address* is the sha256 of its stored bytes;
 * a node's *hash* is its content identity, the same for equal content whatever its packing.
 */

/** Options of anything that may wait. */
export interface Wait {
  readonly signal: AbortSignal;
}

/** What an object holds; the first part of its key. */
export type ObjectKind = 'c' | 'p' | 'page' | 'run' | 'blob';

/** The address of an immutable object: key = `<kind>/<epoch>/<sha256 hex>`. */
export interface ObjectRef {
  readonly kind: ObjectKind;
  /** Garbage-collection epoch it was written in; part of the key. */
  readonly epoch: number;
  /** 32 bytes: sha256 of the object's bytes. */
  readonly digest: Buffer;
  /** Bytes stored. */
  readonly size: number;
}

/**
 * Where a piece's bytes lie: a range of a chunk (whole) or of a pack, or (`x`) of an object that is
 * not ours; then `digest` names the blob that describes the source (storage/sources.ts).
 */
export interface PieceLocation {
  readonly kind: 'c' | 'p' | 'x';
  readonly epoch: number;
  readonly digest: Buffer;
  readonly offset: number;
}

/**
 * A run of a file's bytes. `hash` is sha256 of exactly these bytes (of a linked piece: of what
 * identifies its source). `location` is undefined only between the write and the sealing of its
 * pack: it is set once `ContentWriter.flush()` returned.
 */
export interface Piece {
  readonly hash: Buffer;
  readonly size: number;
  location?: PieceLocation;
}

/**
 * A file's content. `hash` is the content identity: sha256(content) when there is one piece (or
 * none), else sha256 over (piece hash, length) of the canonical chunking.
 */
export interface FileContent {
  readonly size: number;
  readonly hash: Buffer;
  readonly pieces: readonly Piece[];
}

/** The parts of a file that shows its directory's header and footer; either may be empty. */
export interface FileEdges {
  readonly header: FileContent;
  readonly body: FileContent;
  readonly footer: FileContent;
}

/** What a directory shows around the files that splits with a header put into it. */
export interface DirEdges {
  readonly header: FileContent;
  readonly footer: FileContent;
  /** How many files directly in the directory show them. */
  readonly files: number;
  /** Ordinal of the commit that last changed header or footer; not part of any hash. */
  readonly changed: number;
}

/** Where a directory's first page is: inlined (small directories) or an object. */
export type DirRoot = { readonly inline: Buffer } | { readonly page: ObjectRef };

export interface FileNode extends FileContent {
  readonly type: 'file';
  /** Ordinal (core/ids ordinalOf) of the commit that last changed it; not part of any hash. */
  readonly changed: number;
  /** More than one datum wrote it (its bytes are a concatenation); not part of any hash. */
  readonly shared?: boolean;
  /** Where the piece list is stored, when it came from there; storage's own business. */
  readonly list?: ObjectRef;
  /**
   * In the pages of a directory: shows the directory's header and footer around its own bytes.
   * Nodes that leave storage have `edges` instead.
   */
  readonly inherits?: boolean;
  /** Set when header and footer are shown; size, hash and pieces are then those of the whole. */
  readonly edges?: FileEdges;
}

export interface DirNode {
  readonly type: 'dir';
  /** Total bytes below. */
  readonly size: number;
  /** Number of files below. */
  readonly files: number;
  readonly hash: Buffer;
  readonly root: DirRoot;
  readonly changed: number;
  /** Everything below counts as changed at least here (it was grafted then); not in any hash. */
  readonly floor?: number;
  /** Made for itself, not only by files in it: stays when it becomes empty; not in any hash. */
  readonly explicit?: boolean;
  readonly edges?: DirEdges;
}

export type TreeNode = FileNode | DirNode;

/**
 * One change. Paths are canonical: absolute, no trailing slash, the root is the empty string.
 * Order of effect is (position of the run in the list, seq); within a run ops are sorted by path
 * in tree order (byte order with `/` below every other byte), then seq.
 */
export type RunOp =
  /** Replace whatever is at path by this file. */
  | {
      readonly op: 'set';
      readonly path: string;
      readonly seq: number;
      readonly content: FileContent;
    }
  /** Append to the file at path (create it when absent). */
  | {
      readonly op: 'append';
      readonly path: string;
      readonly seq: number;
      readonly content: FileContent;
    }
  /** Remove the path and everything below. `prune` also removes parents that become empty. */
  | { readonly op: 'delete'; readonly path: string; readonly seq: number; readonly prune?: boolean }
  /** Keep only the first `keep` pieces of the file, then later appends follow (overwrite_index). */
  | { readonly op: 'truncate'; readonly path: string; readonly seq: number; readonly keep: number }
  /** Make an (empty) directory. */
  | { readonly op: 'mkdir'; readonly path: string; readonly seq: number }
  /** Graft a subtree or file by reference (copy, symlinked output): merged into what is there. */
  | { readonly op: 'graft'; readonly path: string; readonly seq: number; readonly node: TreeNode }
  /**
   * Add files to directory `path`, named by index as 16 hex digits continuing after the highest
   * existing name; indexes are given when runs are applied, so concurrent splits interleave.
   */
  | {
      readonly op: 'split';
      readonly path: string;
      readonly seq: number;
      readonly files: readonly FileContent[];
      /** The files show the directory's header and footer. */
      readonly inherits?: boolean;
    }
  /**
   * Give directory `path` a header and a footer, or others than it has. A directory that exists
   * without them is a conflict.
   */
  | {
      readonly op: 'edges';
      readonly path: string;
      readonly seq: number;
      readonly header: FileContent;
      readonly footer: FileContent;
    }
  /** Delete every path that matches the glob, as of this point in the order of effect. */
  | { readonly op: 'deleteGlob'; readonly path: string; readonly seq: number };
