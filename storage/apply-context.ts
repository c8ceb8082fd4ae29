/** What all parts of one apply share. */
import { FileMaker } from './apply-file.js';
import { directoryCodec, EMPTY_DIR } from './node-format.js';
import { decodePage, isLeaf, type Page } from './page.js';
import { INLINE_WEIGHT_MAX } from './page-boundary.js';
import { PageSink, type PageStore } from './page-store.js';
import type { BuiltMap } from './map-builder.js';
import type { ApplyOptions } from './tree-types.js';
import type { DirNode, DirRoot, TreeNode } from './types.js';

export class ApplyContext {
  readonly sink: PageSink;
  readonly files: FileMaker;
  /** Children decided so far. */
  steps = 0;
  readonly #running = new Set<Promise<unknown>>();

  constructor(
    readonly store: PageStore<TreeNode>,
    readonly options: ApplyOptions,
    /** The base is changed, not built anew. */
    readonly hasBase: boolean,
  ) {
    this.sink = new PageSink(store.storage, options);
    this.files = new FileMaker(store.storage, this.sink, options);
  }

  /** Children that are being decided concurrently. */
  get active(): number {
    return this.#running.size;
  }

  /** Counts a concurrent decision until it is settled. */
  track<T>(promise: Promise<T>): Promise<T> {
    this.#running.add(promise);
    const done = (): void => {
      this.#running.delete(promise);
    };
    promise.then(done, done);
    return promise;
  }

  /** Waits until nothing runs any more, whatever came of it. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running);
    await this.sink.idle();
  }

  /** First page of a directory. */
  page(dir: DirNode): Promise<Page<TreeNode>> | Page<TreeNode> {
    return openPage(this.store, dir, this.options);
  }

  /** Where the finished map of a directory lies: small ones inline, but not a commit's root. */
  async place(built: BuiltMap, isRoot: boolean): Promise<DirRoot> {
    if (built.entries === 0) return EMPTY_DIR.root;
    const inline = built.level === 0 && built.weight <= INLINE_WEIGHT_MAX && !isRoot;
    if ('bytes' in built.root) {
      const { bytes } = built.root;
      return inline ? { inline: bytes } : { page: this.sink.put(bytes) };
    }
    if (!inline) return { page: built.root.ref };
    return { inline: await this.store.storage.getObject(built.root.ref, this.options) };
  }

  /** The directory as an entry holds it: a small one inline (a commit's root is not). */
  async asEntry(dir: DirNode): Promise<DirNode> {
    if ('inline' in dir.root) return dir;
    const page = await this.page(dir);
    if (!isLeaf(page) || page.weight > INLINE_WEIGHT_MAX) return dir;
    const inline = await this.store.storage.getObject(dir.root.page, this.options);
    return { ...dir, root: { inline } };
  }
}

/** First page of a directory; a promise only when it must be read. */
export function openPage(
  store: PageStore<TreeNode>,
  dir: DirNode,
  wait: { readonly signal: AbortSignal },
): Promise<Page<TreeNode>> | Page<TreeNode> {
  const { root } = dir;
  if ('inline' in root) return decodePage(directoryCodec, root.inline);
  return store.cached(root.page) ?? store.load(root.page, wait);
}
