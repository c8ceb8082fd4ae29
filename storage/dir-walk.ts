/** Opening the directories of a tree one after the other, with the next ones read ahead. */
import { openPage } from './apply-context.js';
import type { Glob } from './glob.js';
import { MapCursor } from './map-cursor.js';
import { READ_AHEAD_PAGES } from './map-read.js';
import type { LeafPage } from './page.js';
import type { PageStore } from './page-store.js';
import { toBinary } from './path.js';
import type { DirNode, TreeNode, Wait } from './types.js';

export const DIRS_AHEAD = 8;

/** A directory that is being read. */
export interface OpenDir {
  readonly path: string;
  readonly dir: DirNode;
  /** Only names that start so are of interest. */
  readonly prefix: string;
  readonly cursor: MapCursor<TreeNode>;
  /** Where directories were last read ahead, and how far. */
  leaf: LeafPage<TreeNode> | undefined;
  ahead: number;
}

export class DirWalk {
  constructor(readonly store: PageStore<TreeNode>) {}

  /** With a glob the cursor stands on the first name that may lead to a match. */
  async open(
    path: string,
    dir: DirNode,
    options: Wait & { readonly glob?: Glob },
  ): Promise<OpenDir> {
    const page = await openPage(this.store, dir, options);
    const prefix = options.glob ? namePrefix(options.glob, path) : '';
    const cursor = new MapCursor(this.store, page, options, READ_AHEAD_PAGES);
    const sought = cursor.seek(prefix);
    if (sought) await sought;
    return { path, dir, prefix, cursor, leaf: undefined, ahead: 0 };
  }

  /** Starts reading the first pages of the directories that come next. */
  prefetch(dir: OpenDir, wait: Wait): void {
    const { leaf, at } = dir.cursor.place;
    if (dir.leaf !== leaf) Object.assign(dir, { leaf, ahead: at + 1 });
    for (; dir.ahead < leaf.keys.length && dir.ahead <= at + DIRS_AHEAD; dir.ahead += 1) {
      this.prefetchNode(leaf.value(dir.ahead), wait);
    }
  }

  prefetchNode(node: TreeNode | undefined, wait: Wait): void {
    if (node?.type !== 'dir' || 'inline' in node.root) return;
    if (this.store.cached(node.root.page)) return;
    // A failure shows when the directory is opened.
    this.store.load(node.root.page, wait).catch(() => undefined);
  }
}

/** The beginning of every name in directory `path` that leads to a match. */
function namePrefix(glob: Glob, path: string): string {
  const inside = `${path}/`;
  if (!glob.literalPrefix.startsWith(inside)) return '';
  const rest = glob.literalPrefix.slice(inside.length);
  const end = rest.indexOf('/');
  return toBinary(end < 0 ? rest : rest.slice(0, end));
}
