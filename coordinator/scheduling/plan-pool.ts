/**
 * Plans large jobs in a thread: listing a million datums, joining them with what is known and
 * writing them down takes seconds in which leases, calls and other pipelines must go on. The thread
 * has its own connection to the object store; trees and plans travel by reference.
 *
 * Q1 A thread that dies fails the plans it had (UNAVAILABLE: they may be tried again) and is started
 *    anew for the next one.
 * Q2 A plan that nobody wants any more is aborted.
 */
import { existsSync } from 'node:fs';
import { BoundedQueue } from '../../core/bounded-queue.js';
import { entryPath } from '../../core/entry.js';
import { cancelled, unavailable } from '../../core/errors.js';
import { KeptThread } from '../../core/kept-thread.js';
import type { Log } from '../../core/log.js';
import { unpackError, type PackedError } from '../../core/packed-error.js';
import { addAbortListener, NEVER } from '../../core/signals.js';
import { encodeNode, type StorageOptions } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import { leaves } from './enumerate.js';
import type { JobPlan } from './model.js';
import type { MadePlan, PlanDeps, PlanInput } from './plan.js';
import { plansOfJob } from './plan-beside.js';
import type { KnownRoot } from './source.js';

/** Plans over fewer files than this are made sooner where they are than a thread starts. */
const FILES_MIN = 20_000;

/** A plan with its end: partial, whole, and the word that this was all. */
const REPLIES_MAX = 4;

/** What the thread is told when it starts. */
export type PlanThreadSetup = Pick<StorageOptions, 'url' | 's3'>;

export type ThreadRoot = Omit<KnownRoot, 'root'> & { readonly root: Uint8Array | undefined };

export type PlanRequest =
  | {
      readonly kind: 'plan';
      readonly id: number;
      readonly epoch: number;
      readonly input: Omit<PlanInput, 'source'>;
      readonly roots: readonly ThreadRoot[];
      readonly before: JobPlan | undefined;
    }
  | { readonly kind: 'abort'; readonly id: number };

export interface PlanReply {
  readonly id: number;
  /** Absent in the last reply. */
  readonly made?: Omit<MadePlan, 'list'>;
  readonly error?: PackedError;
}

/** A pool, or undefined where the thread's program is missing (then plans are made in place). */
export function openPlanPool(
  setup: PlanThreadSetup,
  log: Log,
  epoch: () => number,
): PlanPool | undefined {
  const program = entryPath('plan-thread');
  if (existsSync(program)) return new PlanPool(program, setup, log, epoch);
  log.warn({ program }, 'plan thread is not built; jobs are planned in place');
  return undefined;
}

export class PlanPool implements AsyncDisposable {
  readonly #waiting = new Map<number, BoundedQueue<PlanReply>>();
  readonly #thread: KeptThread<PlanRequest, PlanReply>;
  #nextId = 1;
  #closed = false;

  constructor(
    readonly program: string,
    readonly setup: PlanThreadSetup,
    readonly log: Log,
    /** Garbage-collection epoch of what is written now. */
    readonly epoch: () => number,
    readonly filesMin = FILES_MIN,
  ) {
    this.#thread = new KeptThread({
      ...{ program, setup },
      onReply: (reply) => {
        // There is room: a job has two plans and an end.
        void this.#waiting.get(reply.id)?.push(reply, { signal: NEVER });
      },
      onError: (error) => this.log.error({ err: error }, 'plan thread failed'),
      onLost: () => this.#lost(),
    });
  }

  /** The trees of a job's inputs when planning it is worth a thread. */
  async roots(input: PlanInput, wait: Wait): Promise<ThreadRoot[] | undefined> {
    if (this.#closed) return undefined;
    const roots = new Map<string, ThreadRoot>();
    let files = 0;
    for (const { repo, branch } of leaves(input.info.input)) {
      if (roots.has(`${repo}@${branch}`)) continue;
      const commit = input.source.commitOf(repo, branch);
      const ref = { name: '', repo, branch, commit, lazy: false, emptyFiles: false };
      const root = await input.source.root(ref, wait);
      files += root?.files ?? 0;
      roots.set(`${repo}@${branch}`, { repo, branch, commit, root: root && encodeNode(root) });
    }
    return files < this.filesMin ? undefined : [...roots.values()];
  }

  /** As plansOfJob, in the thread; `roots` as told by `roots`. */
  async *plans(
    input: PlanInput,
    roots: readonly ThreadRoot[],
    wait: Wait,
    before?: JobPlan,
  ): AsyncGenerator<MadePlan> {
    wait.signal.throwIfAborted();
    using thread = this.#thread.use();
    const id = this.#nextId++;
    const { source: _here, ...rest } = input;
    const replies = new BoundedQueue<PlanReply>({ items: REPLIES_MAX });
    this.#waiting.set(id, replies);
    const stop = addAbortListener(wait.signal, () => replies.fail(wait.signal.reason));
    let whole = false;
    try {
      thread.send({
        ...{ kind: 'plan', id, epoch: this.epoch(), roots, before },
        input: rest,
      });
      for await (const { made, error } of replies.iterate(wait)) {
        if (error) throw unpackError(error);
        whole = made === undefined;
        if (!made) return;
        yield made;
      }
    } finally {
      stop();
      this.#waiting.delete(id);
      if (!whole) thread.send({ kind: 'abort', id });
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

  #lost(): void {
    const error = this.#closed
      ? cancelled('the coordinator stops')
      : unavailable('the thread that plans jobs stopped; try again');
    for (const replies of this.#waiting.values()) replies.fail(error);
    this.#waiting.clear();
  }
}

/** plansOfJob, in the thread where that is worth it. */
export async function* plansOf(
  deps: PlanDeps & { readonly planPool?: PlanPool },
  input: PlanInput,
  wait: Wait,
  before?: JobPlan,
): AsyncGenerator<MadePlan> {
  const pool = deps.planPool;
  const roots = await pool?.roots(input, wait);
  if (pool && roots) yield* pool.plans(input, roots, wait, before);
  else yield* plansOfJob(deps, input, wait, before);
}
