/**
 * Optimistic transactions: run the work on a snapshot, commit its writes under compares, run it
 * again when something it read has changed.
 *
 * T1  The work's writes take effect at most once per successful return, whatever happens to
 *     connections (slots.ts).
 * T2  Under one label, transactions of this process run one after the other. Never start a
 *     transaction inside another one with the same label.
 * T3  Ends only with success, an error of the work, a broken fence, or time: the signal, or the
 *     budget while etcd is away.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../core/clock.js';
import { AppError, contention, stateConflict, unavailable } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { backoffMs } from '../../core/retry.js';
import { abortable } from '../../core/signals.js';
import type { EtcdClient } from './etcd-client.js';
import { outcomeUnknown } from './etcd-errors.js';
import type { Compare, KV, TxnResult } from './kv.js';
import { LabelLocks } from './label-locks.js';
import { MetaTxn } from './meta-txn.js';
import { Slots, type Slot } from './slots.js';
import { Snapshot, type Seed, type SnapshotSource } from './snapshot.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface TransactOptions extends Wait {
  /** Names the work in logs, and the line it stands in within this process (T2). */
  readonly label: string;
  /** false: a conflict is thrown as CONTENTION instead of running the work again. */
  readonly retry?: boolean;
  /** Does without the fence of the process: only for what the fence itself is made of. */
  readonly unfenced?: boolean;
}

/**
 * What every transaction of the process depends on besides what it read. While it does not hold,
 * nothing of this process takes effect.
 */
export interface ProcessFence {
  /** The condition that holds now. Waits until there is one; throws when there will be none. */
  compare(wait: Wait): Promise<Compare & { readonly key: string; readonly createRevision: number }>;
  /** A transaction found that the condition of that revision does not hold. */
  broken(createRevision: number): void;
}

export interface TransactDeps {
  readonly client: EtcdClient;
  readonly source: SnapshotSource;
  readonly clock: Clock;
  readonly log: Log;
  /** How long a transaction goes on trying while etcd does not answer. */
  readonly budgetMs: number;
}

type Outcome =
  | { readonly kind: 'done'; readonly revision: number }
  | { readonly kind: 'conflict'; readonly seed: Seed }
  /** Certainly not applied; the reason has nothing to do with what was read. */
  | { readonly kind: 'again'; readonly error: unknown };

/** Keys whose present values come back with a conflict; below etcd's default limit of operations. */
const SEED_MAX = 100;
/** How often a requirement may be found broken before the work's view of it is blamed. */
const BROKEN_MAX = 5;
const NEVER = new AbortController().signal;

export class Transactor {
  readonly #deps: TransactDeps;
  readonly #locks = new LabelLocks();
  readonly #slots: Slots;
  /** T4  Set once: from then on every transaction is fenced by it. */
  fence: ProcessFence | undefined;

  constructor(deps: TransactDeps) {
    this.#deps = deps;
    this.#slots = new Slots(deps.client, deps.clock);
  }

  async transact<T>(work: (t: MetaTxn) => Promise<T>, o: TransactOptions): Promise<T> {
    return this.#locks.with(o.label, o, () => this.#run(work, o));
  }

  /** Runs the work on a snapshot and throws its writes away. */
  async rehearse<T>(work: (t: MetaTxn) => Promise<T>, wait: Wait): Promise<T> {
    for (;;) {
      wait.signal.throwIfAborted();
      const value = await this.#work(work, new MetaTxn(new Snapshot(this.#deps.source, wait)));
      if (value !== COMPACTED) return value.result;
    }
  }

  async close(wait: Wait): Promise<void> {
    await this.#slots.close(wait);
  }

  async #run<T>(work: (t: MetaTxn) => Promise<T>, o: TransactOptions): Promise<T> {
    const { clock, source } = this.#deps;
    let seed: Seed | undefined;
    let awaySinceMs: number | undefined;
    let broken = 0;
    for (let attempt = 1; ; attempt += 1) {
      o.signal.throwIfAborted();
      const t = new MetaTxn(new Snapshot(source, o, seed));
      seed = undefined;
      const value = await this.#work(work, t);
      if (value === COMPACTED) continue;
      t.close();
      if (!t.writes && !t.requires) return value.result;
      const outcome = await this.#commit(t, o);
      if (outcome.kind === 'done') {
        t.committed(outcome.revision);
        return value.result;
      }
      if (outcome.kind === 'again') {
        awaySinceMs ??= clock.monotonicMs();
        if (clock.monotonicMs() - awaySinceMs > this.#deps.budgetMs) throw outcome.error;
        await clock.sleep(backoffMs(attempt, { baseDelayMs: 50, maxDelayMs: 500 }), o);
        continue;
      }
      awaySinceMs = undefined;
      seed = outcome.seed;
      const requirement = t.brokenRequirement(seed.values);
      if (requirement) broken += 1;
      if (requirement && (requirement.fence || broken >= BROKEN_MAX)) {
        throw brokenError(requirement, o.label);
      }
      if (o.retry === false) throw contention(`${o.label}: something it read has changed`);
      this.#logConflict(o.label, attempt);
      await clock.sleep(backoffMs(attempt, { baseDelayMs: 2, maxDelayMs: 100 }), o);
    }
  }

  async #work<T>(
    work: (t: MetaTxn) => Promise<T>,
    t: MetaTxn,
  ): Promise<{ result: T } | typeof COMPACTED> {
    try {
      return { result: await work(t) };
    } catch (error) {
      if (isCompacted(error)) return COMPACTED;
      throw error;
    }
  }

  async #commit(t: MetaTxn, o: TransactOptions): Promise<Outcome> {
    const fence = o.unfenced ? undefined : await this.fence?.compare(o);
    const mark = randomUUID();
    const slot = this.#slots.take();
    // The caller can stop waiting, but the commit goes on to a clear end (bounded by the call's
    // deadline and the budget), so that its slot is settled.
    const running = this.#attempt(t, slot, mark, fence);
    running.catch(() => undefined); // Nobody listens once the caller has stopped waiting.
    return abortable(running, o.signal);
  }

  async #attempt(t: MetaTxn, slot: Slot, mark: string, fence?: FenceCompare): Promise<Outcome> {
    const seedKeys = t.comparedKeys().slice(0, SEED_MAX);
    const asked = fence ? [...seedKeys, fence.key] : seedKeys;
    let result: TxnResult;
    try {
      const claim = await this.#slots.claim(slot, mark, { signal: NEVER });
      result = await this.#deps.client.txn(
        {
          compare: [claim.compare, ...(fence ? [fence] : []), ...t.compares()],
          success: [claim.op, ...t.ops()],
          failure: [slot.key, ...asked].map((key) => ({ get: key })),
        },
        { signal: NEVER },
      );
    } catch (error) {
      return this.#afterError(error, slot, mark);
    }
    if (result.succeeded) {
      this.#slots.give(slot, result.revision);
      return { kind: 'done', revision: result.revision };
    }
    const now = result.responses[0]?.[0]?.modRevision ?? 0;
    if (now === slot.modRevision) this.#slots.give(slot, slot.modRevision);
    if (fence) {
      const held = result.responses[asked.length]?.[0]?.createRevision;
      if (held !== fence.createRevision) {
        this.fence?.broken(fence.createRevision);
        return { kind: 'again', error: unavailable('this coordinator lost its place in etcd') };
      }
    }
    const values = new Map<string, KV | undefined>();
    seedKeys.forEach((key, i) => values.set(key, result.responses[i + 1]?.[0]));
    return { kind: 'conflict', seed: { revision: result.revision, values } };
  }

  async #afterError(error: unknown, slot: Slot, mark: string): Promise<Outcome> {
    if (error instanceof AppError && error.fields['lease'] === true) {
      // Either the slots' own lease went with a restored etcd, or the caller's lease has ended.
      const own = await this.#slots.leaseIsGone();
      if (own) return { kind: 'again', error };
      throw error;
    }
    if (error instanceof AppError && error.code === 'OVERLOADED') return { kind: 'again', error };
    if (!outcomeUnknown(error)) throw error;
    const revision = await this.#settle(slot, mark, error);
    return revision === undefined ? { kind: 'again', error } : { kind: 'done', revision };
  }

  /** Keeps asking until etcd tells, for at most the budget. */
  async #settle(slot: Slot, mark: string, cause: unknown): Promise<number | undefined> {
    const { clock, budgetMs } = this.#deps;
    const startMs = clock.monotonicMs();
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#slots.settle(slot, mark, { signal: NEVER });
      } catch (error) {
        if (!outcomeUnknown(error)) throw error;
        if (clock.monotonicMs() - startMs > budgetMs) {
          throw new AppError(
            'UNAVAILABLE',
            'etcd stopped answering during a change; whether it was made is not known',
            { cause, fields: { outcome: 'unknown' } },
          );
        }
        const delayMs = backoffMs(attempt, { baseDelayMs: 50, maxDelayMs: 500 });
        await clock.sleep(delayMs, { signal: NEVER });
      }
    }
  }

  #logConflict(label: string, attempt: number): void {
    if (attempt % 10 === 0) {
      this.#deps.log.warn({ label, attempt }, 'a transaction keeps meeting conflicts');
    }
  }
}

type FenceCompare = Awaited<ReturnType<ProcessFence['compare']>>;

const COMPACTED = Symbol('compacted');

/** The snapshot is no longer there to be read; whoever wrapped the error meant something else. */
function isCompacted(error: unknown): boolean {
  let current = error;
  for (let depth = 0; depth < 8 && current instanceof Error; depth += 1) {
    if (current instanceof AppError && current.fields['compacted'] === true) return true;
    current = current.cause;
  }
  return false;
}

function brokenError(requirement: { key: string; fence: boolean }, label: string): AppError {
  const { key, fence } = requirement;
  const what = fence ? 'is no longer what it acts under' : 'is not as it must be';
  return stateConflict(`${label}: ${key} ${what}`, { fields: { key, fenced: fence } });
}
