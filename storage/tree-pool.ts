/**
 * Gives heavy applies to a thread, so that the event loop of the caller stays free. The thread has
 * its own connection to the object store; only references travel.
 *
 * Q1 A thread that dies fails the applies it had (UNAVAILABLE: they may be tried again) and is
 *    started anew for the next one.
 * Q2 `apply` settles before the pool is closed; closing aborts what still runs.
 */
import { existsSync } from 'node:fs';
import { entryPath } from '../core/entry.js';
import { AppError, cancelled, unavailable } from '../core/errors.js';
import { KeptThread } from '../core/kept-thread.js';
import type { Log } from '../core/log.js';
import { unpackError, type PackedError } from '../core/packed-error.js';
import { addAbortListener } from '../core/signals.js';
import type { StorageOptions } from './index.js';
import { decodeNode, encodeNode } from './node-format.js';
import { runToText } from './run.js';
import type { Selection } from './selection.js';
import type { ApplyOptions, RunInput, RunPart } from './tree-types.js';
import type { DirNode } from './types.js';

/** Applies below both limits are faster where they are. */
const INLINE_BYTES_MAX = 1024 * 1024;
const INLINE_RUNS_MAX = 64;

/** What the thread is told when it starts. */
export type ThreadSetup = Pick<StorageOptions, 'url' | 's3' | 'cacheBytes'>;

export interface ThreadRun {
  readonly run: string;
  readonly select?: Selection;
  readonly subtract?: boolean;
}

export type ThreadRequest =
  | {
      readonly kind: 'apply';
      readonly id: number;
      /** Epoch of what is written. */
      readonly epoch: number;
      readonly base: Uint8Array | undefined;
      readonly runs: readonly ThreadRun[];
      readonly options: Omit<ApplyOptions, 'signal'>;
    }
  | { readonly kind: 'abort'; readonly id: number };

export interface ThreadReply {
  readonly id: number;
  readonly root?: Uint8Array;
  readonly error?: PackedError;
}

interface Waiting {
  readonly resolve: (root: DirNode) => void;
  readonly reject: (error: unknown) => void;
}

/** A pool, or undefined where the thread's program is missing (then applies run in place). */
export function openTreePool(
  setup: ThreadSetup,
  log: Log,
  epoch: () => number,
): TreePool | undefined {
  const program = entryPath('tree-thread');
  if (existsSync(program)) return new TreePool(program, setup, log, epoch);
  log.warn({ program }, 'tree thread is not built; trees are made in place');
  return undefined;
}

export class TreePool implements AsyncDisposable {
  readonly #waiting = new Map<number, Waiting>();
  readonly #thread: KeptThread<ThreadRequest, ThreadReply>;
  #nextId = 1;
  #closed = false;

  constructor(
    readonly program: string,
    readonly setup: ThreadSetup,
    readonly log: Log,
    /** The epoch of objects written now. */
    readonly epoch: () => number,
    restMs?: number,
  ) {
    this.#thread = new KeptThread({
      ...{ program, setup, restMs },
      onReply: (reply) => this.#settle(reply),
      onError: (error) => this.log.error({ err: error }, 'tree thread failed'),
      onLost: () => this.#lost(),
    });
  }

  /** Whether the thread is there. */
  get running(): boolean {
    return this.#thread.running;
  }

  /** True when the work is worth a thread (functions can not travel to one). */
  wants(runs: readonly RunInput[]): boolean {
    let bytes = 0;
    for (const input of runs) {
      const part: RunPart = 'run' in input ? input : { run: input };
      if (part.keep || part.order) return false;
      bytes += 'inline' in part.run ? part.run.inline.length : part.run.object.size;
    }
    return !this.#closed && (bytes > INLINE_BYTES_MAX || runs.length > INLINE_RUNS_MAX);
  }

  /** Trees.apply in the thread. */
  async apply(
    base: DirNode | undefined,
    runs: readonly RunInput[],
    options: ApplyOptions,
  ): Promise<DirNode> {
    // What callers pass on may hold more than options, such as functions no thread can be sent.
    const { signal, ordinal, mode, fresh, runsAtOnce } = options;
    signal.throwIfAborted();
    using thread = this.#thread.use();
    const id = this.#nextId++;
    const stop = addAbortListener(signal, () => thread.send({ kind: 'abort', id }));
    try {
      return await new Promise<DirNode>((resolve, reject) => {
        this.#waiting.set(id, { resolve, reject });
        thread.send({
          kind: 'apply',
          id,
          epoch: this.epoch(),
          base: base && encodeNode(base),
          runs: runs.map(toThreadRun),
          options: {
            ...{ ordinal, mode },
            ...(fresh === undefined ? {} : { fresh }),
            ...(runsAtOnce === undefined ? {} : { runsAtOnce }),
          },
        });
      });
    } catch (error) {
      throw signal.aborted ? signal.reason : error;
    } finally {
      stop();
      this.#waiting.delete(id);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    await this.terminateThread();
  }

  /** Ends the thread whatever it does (Q1). */
  async terminateThread(): Promise<void> {
    await this.#thread.terminate();
  }

  #settle(reply: ThreadReply): void {
    const waiting = this.#waiting.get(reply.id);
    if (!waiting) return;
    if (reply.root) {
      waiting.resolve(decodeNode(Buffer.from(reply.root)) as DirNode);
      return;
    }
    const { error } = reply;
    const silent = new AppError('INTERNAL', 'the tree thread gave no answer');
    waiting.reject(error ? unpackError(error) : silent);
  }

  #lost(): void {
    const error = this.#closed
      ? cancelled('storage was closed')
      : unavailable('the thread that makes trees stopped; try again');
    for (const waiting of this.#waiting.values()) waiting.reject(error);
    this.#waiting.clear();
  }
}

function toThreadRun(input: RunInput): ThreadRun {
  const part: RunPart = 'run' in input ? input : { run: input };
  const run = runToText(part.run);
  return {
    run,
    ...(part.select && { select: part.select }),
    ...(part.subtract && { subtract: true }),
  };
}
