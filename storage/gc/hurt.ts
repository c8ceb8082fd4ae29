/**
 * Finds the files that can not be read because objects are broken. Pages that lead to nothing broken
 * are remembered, so many trees that share most of their pages cost little more than one.
 */
import { codeOf } from '../../core/errors.js';
import { decodePieceList } from '../content-format.js';
import { directoryCodec } from '../node-format.js';
import { decodePage, isLeaf, type Page } from '../page.js';
import { keyOf, objectOf } from '../refs.js';
import { readRun } from '../run.js';
import type { RunRef, TreeStorage } from '../tree-types.js';
import type { FileContent, ObjectRef, RunOp, TreeNode, Wait } from '../types.js';
import { DigestSet } from './digest-set.js';

export interface Hurt {
  /** The root is the empty string. */
  readonly path: string;
  /** The object's key. */
  readonly key: string;
  /** A part of the directory's entries is not known; otherwise it is a file. */
  readonly directory?: boolean;
}

const PARALLEL = 8;

export class HurtFiles {
  readonly #clean = new DigestSet(1 << 22);
  readonly #hurt = new Set<string>();

  constructor(
    readonly storage: TreeStorage,
    /** Keys of broken objects. */
    readonly broken: { has(key: string): boolean },
    readonly wait: Wait,
  ) {}

  /** What is hurt at and below a node. */
  async *below(node: TreeNode, path = ''): AsyncGenerator<Hurt> {
    if (node.type === 'file') {
      const key = await this.#ofFile(node);
      if (key !== undefined) yield { path, key };
      return;
    }
    const { edges } = node;
    const edge = edges && (this.#ofPieces(edges.header) ?? this.#ofPieces(edges.footer));
    if (edge !== undefined) yield { path, key: edge, directory: true };
    if ('page' in node.root) yield* this.#page(node.root.page, path);
    else yield* this.#entries(decodePage(directoryCodec, node.root.inline), path);
  }

  /** What is hurt in a list of changes. */
  async *inRun(run: RunRef): AsyncGenerator<Hurt> {
    if ('object' in run && this.broken.has(keyOf(run.object))) {
      return yield { path: '', key: keyOf(run.object), directory: true };
    }
    try {
      for await (const op of readRun(this.storage, run, this.wait)) {
        if (op.op === 'graft') yield* this.below(op.node, op.path);
        const key = contentsOf(op)
          .map((content) => this.#ofPieces(content))
          .find((one) => one !== undefined);
        if (key !== undefined && 'path' in op) yield { path: op.path, key };
      }
    } catch (error) {
      if (codeOf(error) !== 'CORRUPT_DATA') throw error;
      const { key } = (error as { fields?: { key?: string } }).fields ?? {};
      yield { path: '', key: key ?? '', directory: true };
    }
  }

  async *#page(ref: ObjectRef, path: string): AsyncGenerator<Hurt> {
    if (!(await this.#isHurt(ref))) return;
    const page = await this.#read(ref);
    if (page) yield* this.#entries(page, path);
    else yield { path, key: keyOf(ref), directory: true };
  }

  async *#entries(page: Page<TreeNode>, path: string): AsyncGenerator<Hurt> {
    if (!isLeaf(page)) {
      for (const { ref } of page.children) yield* this.#page(ref, path);
      return;
    }
    for (const [index, name] of page.keys.entries()) {
      yield* this.below(page.value(index), `${path}/${Buffer.from(name, 'latin1').toString()}`);
    }
  }

  /** Whether a page leads to something broken. */
  async #isHurt(ref: ObjectRef): Promise<boolean> {
    const key = keyOf(ref);
    if (this.#hurt.has(key)) return true;
    if (this.#clean.has(ref.digest, ref.epoch)) return false;
    this.wait.signal.throwIfAborted();
    const page = await this.#read(ref);
    const hurt = !page || (await this.#leadsToBroken(page));
    if (hurt) this.#hurt.add(key);
    else this.#clean.add(ref.digest, ref.epoch);
    return hurt;
  }

  async #leadsToBroken(page: Page<TreeNode>): Promise<boolean> {
    if (!isLeaf(page)) {
      return this.#any(page.children, ({ ref }) => this.#isHurt(ref));
    }
    const indexes = [...page.keys.keys()];
    return this.#any(indexes, (index) => this.#isNodeHurt(page.value(index)));
  }

  async #isNodeHurt(node: TreeNode): Promise<boolean> {
    if (node.type === 'file') return (await this.#ofFile(node)) !== undefined;
    const { edges, root } = node;
    if (edges && (this.#ofPieces(edges.header) ?? this.#ofPieces(edges.footer))) return true;
    if ('page' in root) return this.#isHurt(root.page);
    return this.#leadsToBroken(decodePage(directoryCodec, root.inline));
  }

  async #any<T>(items: readonly T[], test: (item: T) => Promise<boolean>): Promise<boolean> {
    for (let at = 0; at < items.length; at += PARALLEL) {
      const answers = await Promise.all(items.slice(at, at + PARALLEL).map(test));
      if (answers.includes(true)) return true;
    }
    return false;
  }

  async #ofFile(file: Extract<TreeNode, { type: 'file' }>): Promise<string | undefined> {
    if (!file.list) return this.#ofPieces(file);
    const key = keyOf(file.list);
    if (this.broken.has(key)) return key;
    const bytes = await this.storage.getObject(file.list, this.wait);
    return this.#ofPieces({ pieces: decodePieceList(bytes) });
  }

  #ofPieces({ pieces }: Pick<FileContent, 'pieces'>): string | undefined {
    for (const { location } of pieces) {
      if (!location) continue;
      const key = keyOf(objectOf(location));
      if (this.broken.has(key)) return key;
    }
    return undefined;
  }

  async #read(ref: ObjectRef): Promise<Page<TreeNode> | undefined> {
    if (this.broken.has(keyOf(ref))) return undefined;
    return decodePage(directoryCodec, await this.storage.getObject(ref, this.wait));
  }
}

function contentsOf(op: RunOp): readonly Pick<FileContent, 'pieces'>[] {
  switch (op.op) {
    case 'set':
    case 'append':
      return [op.content];
    case 'split':
      return op.files;
    case 'edges':
      return [op.header, op.footer];
    default:
      return [];
  }
}
