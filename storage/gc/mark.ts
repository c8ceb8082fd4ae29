/**
 * Finds every object that roots lead to. A root is any text (a value of etcd); what it refers to is
 * found by shape (scan-text.ts), and what objects refer to by their formats.
 *
 * M1 Each object is read at most once as long as the set of those seen fits its memory; beyond that
 *    some are read again.
 * M2 A page, piece list or part of a run that a stored tree names and that is missing or damaged
 *    stops the work with CORRUPT_DATA: what lay behind it is not known. References in texts may
 *    lead to nothing.
 */
import { codeOf, corruptData, messageOf } from '../../core/errors.js';
import { inflate } from '../deflated.js';
import { decodePieceList } from '../content-format.js';
import { decodeNode, directoryCodec } from '../node-format.js';
import { decodePage, isLeaf } from '../page.js';
import { keyOf, objectOf } from '../refs.js';
import { readRun, runObjects } from '../run.js';
import { plainCodec } from '../sorted-map.js';
import type { RunRef, TreeStorage } from '../tree-types.js';
import type { FileContent, ObjectRef, RunOp, TreeNode, Wait } from '../types.js';
import { DigestSet } from './digest-set.js';
import { binariesIn, refsIn } from './scan-text.js';

type Address = Pick<ObjectRef, 'kind' | 'epoch' | 'digest'>;

export interface MarkOptions extends Wait {
  /** Called for every object found, at least once each. Awaited when it answers a promise. */
  readonly onLive: (object: Address) => Promise<void> | undefined;
  /** What a value of a sorted map refers to, as text. */
  readonly textOfMapValue: (value: Buffer) => string | undefined;
  /** Called for objects that can not be read, in place of M2. */
  readonly onBroken?: (ref: Address, error: unknown) => void;
  /** false: directories are not looked into. */
  readonly trees?: boolean;
  /** Slots of the set of those seen; a power of two. */
  readonly seenMax?: number;
  /** After every object that was read. */
  readonly onRead?: () => void;
}

interface Todo {
  readonly ref: ObjectRef;
  /** A tree names it: it has to be there. */
  readonly sure: boolean;
}

/** Objects read at a time. */
const PARALLEL = 16;
const KIND_SALT = { c: 1, p: 2, page: 3, run: 4, blob: 5 } as const;
/** Added to the salt of what was looked into, which is more than noting it. */
const VISITED = 0x80000000;
const MAGIC = { list: 0x4c, node: 0x4e } as const;

export class Marker {
  readonly #seen: DigestSet;
  readonly #todo: Todo[] = [];
  readonly #full: Promise<void>[] = [];

  constructor(
    readonly storage: TreeStorage,
    readonly options: MarkOptions,
  ) {
    this.#seen = new DigestSet(options.seenMax);
  }

  /** Marks what the text refers to, and all behind it. */
  async root(text: string): Promise<void> {
    await this.#text(text);
    await this.#room();
    await this.#settle();
  }

  async #settle(): Promise<void> {
    while (this.#todo.length > 0) {
      this.options.signal.throwIfAborted();
      const batch = this.#todo.splice(-PARALLEL);
      await Promise.all(batch.map((todo) => this.#visit(todo)));
      await this.#room();
    }
  }

  /** Waits while the names found so far are being written away. */
  async #room(): Promise<void> {
    while (this.#full.length > 0) await Promise.all(this.#full.splice(0));
  }

  /** Notes an object; true when it is new. */
  #live(object: Address): boolean {
    const salt = object.epoch * 8 + KIND_SALT[object.kind];
    if (!this.#seen.add(object.digest, salt)) return false;
    const full = this.options.onLive(object);
    if (full) this.#full.push(full);
    return true;
  }

  /** Notes an object that may refer to others. */
  #need(ref: ObjectRef, sure = true): void {
    this.#live(ref);
    const salt = VISITED + ref.epoch * 8 + KIND_SALT[ref.kind];
    if (this.#seen.add(ref.digest, salt)) this.#todo.push({ ref, sure });
  }

  async #visit({ ref, sure }: Todo): Promise<void> {
    try {
      await this.#look(ref, sure);
      this.options.onRead?.();
    } catch (error) {
      if (codeOf(error) !== 'CORRUPT_DATA') throw error;
      const { onBroken } = this.options;
      if (onBroken) return onBroken(ref, error);
      if (!sure) return;
      throw corruptData(
        `${keyOf(ref)} can not be read, so what it refers to is not known: ${messageOf(error)}. ` +
          'Nothing is deleted; run "tusk fsck --data" to see which commits are hurt',
        { cause: error, fields: { key: keyOf(ref) } },
      );
    }
  }

  async #look(ref: ObjectRef, sure: boolean): Promise<void> {
    if (ref.kind === 'run') return this.#run({ object: ref });
    if (ref.kind === 'page') {
      return this.#page(await this.storage.getObject(ref, this.options));
    }
    if (ref.kind !== 'blob') return;
    const bytes = await this.storage.getObject(ref, this.options);
    // A blob does not say what it is; its user knows. So it is taken for all that it may be.
    if (bytes[0] === MAGIC.node && this.#tried(() => this.#node(decodeNode(bytes)))) return;
    if (bytes[0] === MAGIC.list && this.#tried(() => this.#pieces(decodePieceList(bytes)))) return;
    if (sure) throw corruptData(`${keyOf(ref)} is no piece list`);
    const text = await inflate(bytes).catch(() => undefined);
    if (text) await this.#text(text.toString('latin1'));
  }

  #tried(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      if (codeOf(error) !== 'CORRUPT_DATA') throw error;
      return false;
    }
  }

  async #text(text: string): Promise<void> {
    for (const { ref, leaf } of refsIn(text)) {
      if (leaf) this.#live(ref);
      else this.#need(ref, false);
    }
    for (const { what, bytes } of binariesIn(text)) {
      if (what === 'node') this.#tried(() => this.#node(decodeNode(bytes)));
      else {
        await this.#run({ inline: bytes }).catch((error: unknown) => {
          if (codeOf(error) !== 'CORRUPT_DATA') throw error;
        });
      }
    }
  }

  async #page(bytes: Buffer): Promise<void> {
    if (bytes[2] !== plainCodec.flavor) return this.#directory(bytes);
    const page = decodePage(plainCodec, bytes);
    if (!isLeaf(page)) {
      for (const { ref } of page.children) this.#need(ref);
      return;
    }
    for (let index = 0; index < page.keys.length; index += 1) {
      const text = this.options.textOfMapValue(page.value(index));
      if (text !== undefined) await this.#text(text);
    }
  }

  #directory(bytes: Buffer): void {
    const page = decodePage(directoryCodec, bytes);
    if (!isLeaf(page)) for (const { ref } of page.children) this.#need(ref);
    else for (let index = 0; index < page.keys.length; index += 1) this.#node(page.value(index));
  }

  #node(node: TreeNode): void {
    if (node.type === 'file') {
      if (node.list) this.#need(node.list);
      this.#pieces(node.pieces);
      return;
    }
    if (this.options.trees === false) return;
    if ('page' in node.root) this.#need(node.root.page);
    else this.#directory(node.root.inline);
    if (!node.edges) return;
    this.#pieces(node.edges.header.pieces);
    this.#pieces(node.edges.footer.pieces);
  }

  #pieces(pieces: FileContent['pieces']): void {
    for (const { location } of pieces) if (location) this.#live(objectOf(location));
  }

  async #run(run: RunRef): Promise<void> {
    for (const part of await runObjects(this.storage, run, this.options)) this.#live(part);
    for await (const op of readRun(this.storage, run, this.options)) {
      this.#op(op);
      if (this.#full.length > 0) await this.#room();
    }
  }

  #op(op: RunOp): void {
    switch (op.op) {
      case 'set':
      case 'append':
        return this.#pieces(op.content.pieces);
      case 'graft':
        return this.#node(op.node);
      case 'split':
        for (const file of op.files) this.#pieces(file.pieces);
        return;
      case 'edges':
        this.#pieces(op.header.pieces);
        return this.#pieces(op.footer.pieces);
      case 'delete':
      case 'deleteGlob':
      case 'truncate':
      case 'mkdir':
        return;
    }
  }
}
