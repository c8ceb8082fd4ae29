/**
 * Headers and footers of directories (docs/formats/tree.md, "Headers and footers"). They are kept
 * once, at the directory; files that inherit them store only their own bytes. A node that leaves
 * storage shows the whole: header, own bytes, footer.
 */
import { newSha256 } from '../core/sha256.js';
import type { DirEdges, DirNode, FileContent, FileNode, TreeNode } from './types.js';

const DIRECTORY = Buffer.from([3]);
const WHOLE = Buffer.from('tusk edges 1');

/** The child of a directory as readers see it: not older than the directory's floor, whole. */
export function shownNode(node: TreeNode, dir: Pick<DirNode, 'floor' | 'edges'>): TreeNode {
  const child = withFloor(node, dir.floor);
  if (child.type === 'dir' || !child.inherits || !dir.edges) return child;
  return shownFile(child, dir.edges);
}

/** A file that inherits, whole. Its pieces are still missing when they are in a list object. */
function shownFile(file: FileNode, edges: DirEdges): FileNode {
  const { inherits: _inherits, size, hash, pieces, ...rest } = file;
  const shown: FileNode = {
    ...rest,
    ...wholeOf({ header: edges.header, body: { size, hash, pieces }, footer: edges.footer }),
    changed: Math.max(file.changed, edges.changed),
  };
  return file.list && pieces.length === 0 ? { ...shown, pieces: [] } : shown;
}

/** Size, hash and pieces of header, body and footer together. */
export function wholeOf(
  edges: NonNullable<FileNode['edges']>,
): FileContent & Pick<FileNode, 'edges'> {
  const { header, body, footer } = edges;
  const hash = newSha256().update(WHOLE);
  for (const part of [header, body, footer]) hash.update(part.hash).update(sizeBytes(part.size));
  return {
    size: header.size + body.size + footer.size,
    hash: hash.digest(),
    pieces: [...header.pieces, ...body.pieces, ...footer.pieces],
    edges,
  };
}

/** Hash of a directory: that of its map when it has no header or footer. */
export function dirHash(map: Buffer, edges: DirEdges | undefined): Buffer {
  if (!edges) return map;
  const hash = newSha256().update(DIRECTORY).update(map);
  for (const part of [edges.header, edges.footer]) {
    hash.update(part.hash).update(sizeBytes(part.size));
  }
  return hash.digest();
}

/** Bytes that all inheriting files of a directory show beyond their own. */
export function edgeBytes(edges: DirEdges | undefined): number {
  return edges ? edges.files * (edges.header.size + edges.footer.size) : 0;
}

/** True when both show the same, or both nothing. */
export function sameEdges(a: DirEdges | undefined, b: DirEdges | undefined): boolean {
  if (!a || !b) return a === b;
  return sameContent(a.header, b.header) && sameContent(a.footer, b.footer);
}

/** A node taken out of a directory with a floor. */
export function withFloor(node: TreeNode, floor: number | undefined): TreeNode {
  if (floor === undefined) return node;
  const changed = Math.max(node.changed, floor);
  if (node.type === 'file') return changed === node.changed ? node : { ...node, changed };
  return { ...node, changed, floor: Math.max(node.floor ?? 0, floor) };
}

function sameContent(a: FileContent, b: FileContent): boolean {
  return a.size === b.size && a.hash.equals(b.hash);
}

function sizeBytes(size: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(size));
  return bytes;
}
