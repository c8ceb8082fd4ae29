/**
 * Puts the inputs of a task's datums under /pfs, one datum after the other. Small files are read
 * ahead, also those of later datums, with one request for neighbours in a pack; large ones go
 * through the cache, ahead as far as max_queue_size says.
 */
import { writeFileSync } from 'node:fs';
import { excerpt, invalidInput } from '../core/errors.js';
import { childController } from '../core/signals.js';
import type { WorkDatum } from '../queue/messages.js';
import { EMPTY_CONTENT, type ManyItem, type ManyResult, type Storage } from '../storage/index.js';
import { decodeNode } from '../storage/node-format.js';
import type { FileContent, TreeNode, Wait } from '../storage/types.js';
import { isBroken } from '../storage/unreadable.js';
import { diskError, type InputCache } from './input-cache.js';
import { checkLazyCount, type LazyFile } from './lazy-feed.js';
import type { InputTrees } from './ports.js';
import { nextTurn, type SlotFiles } from './slot-files.js';

/** Files of at most this size are written from memory; larger ones are linked from the cache. */
const SMALL_BYTES = 128 * 1024;
const FILES_PER_TURN = 64;

interface Placement {
  /** Position of the datum in the task. */
  readonly at: number;
  /** Below /pfs, without leading slash. */
  readonly path: string;
  readonly kind: 'dir' | 'empty' | 'lazy' | 'small' | 'large' | 'end';
  readonly content: FileContent;
}

export interface TaskInputsDeps {
  readonly storage: Pick<Storage, 'readMany'>;
  readonly trees: InputTrees;
  readonly cache: InputCache;
}

export class TaskInputs {
  #stream: AsyncIterator<ManyResult<Placement>> | undefined;
  #next = 0;
  #lazy: LazyFile[] = [];
  #ahead: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined;

  constructor(
    readonly deps: TaskInputsDeps,
    readonly datums: readonly WorkDatum[],
    readonly wait: Wait,
    /** Datums of the task that may be in the slot at once, downloaded ones included. */
    readonly queueSize = 1,
  ) {}

  /** Files of the datum placed last that are to be named pipes; they are not made yet. */
  get lazy(): readonly LazyFile[] {
    return this.#lazy;
  }

  /**
   * Puts the inputs of datum `at` into the slot; answers the bytes of its files, wherever they came
   * from (a figure of the datum must not depend on what the cache has). Lazy files are not among them.
   * Throws the store's errors and NO_SPACE; may then be called again.
   */
  async place(at: number, files: SlotFiles): Promise<number> {
    if (this.#next !== at || !this.#stream) {
      await this.close();
      this.#stream = this.#open(at);
      this.#next = at;
    }
    let bytes: number;
    this.#lazy = [];
    try {
      bytes = await this.#takeAll(files);
    } catch (error) {
      await this.close();
      if (!isBroken(error)) throw error;
      // What is read together with files of other datums must not fail for their sake.
      await files.clear();
      this.#lazy = [];
      this.#stream = this.#open(at, at + 1);
      bytes = await this.#takeAll(files).finally(() => this.close());
    }
    if (this.#stream) this.#next = at + 1;
    return bytes;
  }

  /** Puts what the stream has of a datum into the slot. */
  async #takeAll(files: SlotFiles): Promise<number> {
    let bytes = 0;
    const stream = this.#stream;
    for (let count = 1; stream; count += 1) {
      const step = await stream.next();
      if (step.done || step.value.key.kind === 'end') break;
      try {
        bytes += await this.#put(step.value.key, step.value.bytes, files);
      } catch (error) {
        throw tooLong(error, step.value.key.path);
      }
      if (count % FILES_PER_TURN === 0) await nextTurn();
    }
    return bytes;
  }

  /**
   * Datum `at` begins to run: brings large files of the next ones into the cache meanwhile, as many
   * datums as the queue has room for. What goes wrong shows when they are placed.
   */
  runAhead(at: number): void {
    const end = Math.min(this.datums.length, at + this.queueSize);
    if (end <= at + 1) return;
    this.#ahead?.stop.abort();
    const stop = childController(this.wait.signal);
    const fetching = this.#fetchAhead(at + 1, end, stop);
    const ended = fetching.catch(() => undefined).finally(() => stop[Symbol.dispose]());
    this.#ahead = { stop, ended };
  }

  async #fetchAhead(from: number, to: number, wait: Wait): Promise<void> {
    const { cache } = this.deps;
    for (let at = from; at < to; at += 1) {
      for await (const { kind, content } of this.#placements(at)) {
        wait.signal.throwIfAborted();
        if (kind !== 'large' || cache.has(content)) continue;
        await cache.fetch(content, wait);
      }
    }
  }

  /** Ends what is still read; the task needs no more inputs. */
  async finish(): Promise<void> {
    this.#ahead?.stop.abort();
    await Promise.all([this.close(), this.#ahead?.ended]);
  }

  async close(): Promise<void> {
    const stream = this.#stream;
    this.#stream = undefined;
    this.#next = -1;
    await stream?.return?.().catch(() => undefined);
  }

  #open(from: number, to = this.datums.length): AsyncIterator<ManyResult<Placement>> {
    const items = this.#items(from, to);
    return this.deps.storage.readMany(items, this.wait)[Symbol.asyncIterator]();
  }

  async *#items(from: number, to: number): AsyncGenerator<ManyItem<Placement>> {
    for (let at = from; at < to; at += 1) {
      for (const input of this.#inputs(at)) {
        if (!('node' in input)) yield this.#item(input);
        else for await (const placement of this.#below(at, input)) yield this.#item(placement);
      }
      yield this.#item({ at, path: '', kind: 'end', content: EMPTY_CONTENT });
    }
  }

  /** The files and directories of a datum, those below matched directories included. */
  async *#placements(at: number): AsyncGenerator<Placement> {
    for (const input of this.#inputs(at)) {
      if ('node' in input) yield* this.#below(at, input);
      else yield input;
    }
  }

  async *#below(at: number, dir: Walk): AsyncGenerator<Placement> {
    for await (const { path, node } of this.deps.trees.walk(dir.node, '', this.wait)) {
      yield placementOf(at, dir.path + path, node, dir.how);
    }
  }

  /** Only what has to be read from the store travels with its content. */
  #item(placement: Placement): ManyItem<Placement> {
    const read = placement.kind === 'small' && !this.deps.cache.has(placement.content);
    return { key: placement, content: read ? placement.content : EMPTY_CONTENT };
  }

  *#inputs(at: number): Generator<Placement | Walk> {
    for (const input of this.datums[at]?.inputs ?? []) {
      if (input.s3) continue;
      const node = decodeNode(Buffer.from(input.node, 'base64'));
      const path = input.name + (input.path === '/' ? '' : input.path);
      const how = input.emptyFiles ? 'empty' : input.lazy ? 'lazy' : undefined;
      if (node.type === 'dir') yield { path, node, how };
      else yield placementOf(at, path, node, how);
    }
  }

  async #put(placement: Placement, bytes: Buffer | undefined, files: SlotFiles): Promise<number> {
    const { kind, path, content } = placement;
    if (kind === 'dir') {
      files.makeDir(path);
      return 0;
    }
    // Inputs of one name can overlap (a directory and a file in it, in a group): same content.
    const target = files.fileTarget(path);
    if (target === undefined) return 0;
    if (kind === 'empty') {
      writeEmpty(target);
      return 0;
    }
    if (kind === 'lazy') {
      this.#lazy.push({ target, content });
      checkLazyCount(this.#lazy.length);
      return 0;
    }
    const { cache } = this.deps;
    if (cache.place(content, target)) return content.size;
    if (kind === 'small' && bytes && bytes.length === content.size) {
      cache.write(content, bytes, target);
      return content.size;
    }
    // Twice, because the file may leave the cache before it is linked.
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await cache.fetch(content, this.wait);
      if (cache.place(content, target)) break;
    }
    return content.size;
  }
}

interface Walk {
  readonly path: string;
  readonly node: Extract<TreeNode, { type: 'dir' }>;
  readonly how: How;
}

/** Other than as the files they are. */
type How = 'empty' | 'lazy' | undefined;

function placementOf(at: number, path: string, node: TreeNode, how: How): Placement {
  if (node.type === 'dir') return { at, path, kind: 'dir', content: EMPTY_CONTENT };
  if (how !== undefined) return { at, path, kind: how, content: node };
  const single = node.pieces.length === 1 && node.size <= SMALL_BYTES;
  const kind = node.size === 0 ? 'empty' : single ? 'small' : 'large';
  return { at, path, kind, content: node };
}

/** No try and no other worker makes the name of a file shorter: it is the datum's fault. */
function tooLong(error: unknown, path: string): unknown {
  if ((error as NodeJS.ErrnoException).code !== 'ENAMETOOLONG') return error;
  return invalidInput(
    `input /pfs/${excerpt(path)} can not be given to user code: its name, or its path, is longer ` +
      'than file systems allow (255 and 4,096 bytes)',
    { cause: error },
  );
}

function writeEmpty(target: string): void {
  try {
    writeFileSync(target, '', { flag: 'wx' });
  } catch (error) {
    throw diskError(error, target);
  }
}
