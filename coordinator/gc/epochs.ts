/**
 * The garbage-collection epoch of one coordinator: tells writers which epoch to write, and tells
 * collectors, through a session key under a lease, what this coordinator still needs.
 *
 * E1 Every transaction of this process compares the session's key. Who lost the session can make
 *    nothing visible until there is a new one.
 * E2 A new session is taken only if no collection has passed what is still held here; holds it did
 *    pass end with an error first, and until then every transaction fails.
 * E3 Holds taken after a raise of the epoch became known see nothing of before: whoever remembers
 *    records or trees drops them in `onRaise`.
 */
import type { Clock } from '../../core/clock.js';
import { codeOf, invariant, messageOf, unavailable } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import type { Log } from '../../core/log.js';
import { abortable, addAbortListener, cancelledBy } from '../../core/signals.js';
import type { EpochSource, Hold, HoldKind } from '../../storage/index.js';
import type { Informer, Lease, Meta, ProcessFence } from '../meta/index.js';
import { Holds } from './holds.js';
import {
  EPOCH_KEY,
  FIRST_EPOCH,
  sessionKey,
  type EpochRecord,
  type SessionRecord,
} from './model.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface EpochDeps {
  readonly meta: Meta;
  readonly clock: Clock;
  readonly log: Log;
  /** For people: which coordinator this is. */
  readonly name: string;
  readonly leaseMs?: number;
}

const LEASE_MS = 15_000;
const RETRY_MS = 200;

interface Session {
  readonly key: string;
  readonly createRevision: number;
  readonly lease: Lease;
}

/** Takes a session and keeps one for as long as it lives. From then on all transactions need it. */
export async function openEpochs(deps: EpochDeps, wait: Wait): Promise<Epochs> {
  const epochs = new Epochs(deps);
  try {
    await epochs.start(wait);
  } catch (error) {
    await epochs[Symbol.asyncDispose]();
    throw error;
  }
  return epochs;
}

export class Epochs implements EpochSource, ProcessFence, AsyncDisposable {
  readonly #deps: EpochDeps;
  readonly #informer: Informer<EpochRecord>;
  readonly #holds = new Holds(() => this.#changed());
  readonly #stop = new AbortController();
  readonly #raised: (() => void)[] = [];
  #epoch = 0;
  #session: Session | undefined;
  #told: SessionRecord | undefined;
  /** Why there can be no session yet: holds that a collection has passed. */
  #passed: Error | undefined;
  #wakes: (() => void)[] = [];
  #done: Promise<unknown> = Promise.resolve();

  constructor(deps: EpochDeps) {
    this.#deps = deps;
    this.#informer = deps.meta.informer(EPOCH_KEY, (value) => JSON.parse(value.toString()));
  }

  async start(wait: Wait): Promise<void> {
    await this.#deps.meta.transact(
      async (t) => {
        const known = await t.getJson<EpochRecord>(EPOCH_KEY);
        if (!known) t.putJson(EPOCH_KEY, { epoch: FIRST_EPOCH } satisfies EpochRecord);
      },
      { ...wait, label: 'epoch', unfenced: true },
    );
    await this.#informer.ready(wait);
    this.#informer.subscribe(() => this.#look());
    this.#look();
    this.#deps.meta.fenceWith(this);
    this.#done = Promise.all([this.#keep(), this.#tell()]);
    await this.compare(wait);
  }

  /** Calls back when a raise of the epoch became known: what was remembered before is stale. */
  onRaise(callback: () => void): void {
    this.#raised.push(callback);
  }

  current(): number {
    invariant(this.#holds.any, 'bytes are written under a hold only (storage/epochs.ts)');
    return this.#epoch;
  }

  hold(kind: HoldKind): Hold {
    return this.#holds.take(kind, this.#epoch);
  }

  async compare(wait: Wait): Promise<{ key: string; createRevision: number }> {
    for (;;) {
      if (this.#session) {
        const { key, createRevision } = this.#session;
        return { key, createRevision };
      }
      if (this.#passed) throw this.#passed;
      if (this.#stop.signal.aborted) throw this.#stop.signal.reason;
      await abortable(new Promise<void>((wake) => this.#wakes.push(wake)), wait.signal);
    }
  }

  broken(createRevision: number): void {
    if (this.#session?.createRevision !== createRevision) return;
    const { lease } = this.#session;
    this.#session = undefined;
    void lease.revoke();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(cancelledBy('the end of the coordinator'));
    this.#wake();
    await this.#done;
    await this.#informer[Symbol.asyncDispose]();
  }

  #look(): void {
    const epoch = this.#informer.get(EPOCH_KEY)?.epoch ?? 0;
    if (epoch <= this.#epoch) return;
    this.#epoch = epoch;
    for (const callback of this.#raised) callback();
    this.#changed();
  }

  /** What this coordinator needs now. */
  #needs(): SessionRecord {
    const { writes, refs } = this.#holds.oldest();
    const name = this.#deps.name;
    return { epoch: writes ?? this.#epoch, refs: refs ?? this.#epoch, name };
  }

  #changed(): void {
    const { epoch, refs } = this.#needs();
    if (epoch !== this.#told?.epoch || refs !== this.#told.refs || this.#passed) this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakes.splice(0)) wake();
  }

  async #woken(): Promise<void> {
    await new Promise<void>((wake) => {
      this.#wakes.push(wake);
      if (this.#stop.signal.aborted) wake();
    });
  }

  /** Keeps a session. */
  async #keep(): Promise<void> {
    const { clock, log, meta } = this.#deps;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        const lease = await meta.lease(this.#deps.leaseMs ?? LEASE_MS, { signal });
        try {
          if (!(await this.#join(lease))) continue;
          await new Promise<void>((resolve) => {
            addAbortListener(lease.lost, resolve);
            addAbortListener(signal, resolve);
          });
          this.#session = undefined;
          if (!signal.aborted) log.warn('the epoch session ended; taking a new one');
        } finally {
          await lease.revoke();
        }
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ reason: messageOf(error) }, 'no epoch session; trying again');
        await clock.sleep(RETRY_MS, { signal }).catch(() => undefined);
      }
    }
  }

  /** Takes a session under the lease, or ends the holds that stand in the way (E2). */
  async #join(lease: Lease): Promise<boolean> {
    const { meta } = this.#deps;
    const key = sessionKey(newUuid());
    let needs = this.#needs();
    let createRevision = 0;
    const state = await meta.transact(
      async (t) => {
        const record = await t.getJson<EpochRecord>(EPOCH_KEY);
        invariant(record, 'the epoch was made at the start');
        needs = this.#needs();
        if (needs.epoch < (record.floor ?? 0) || needs.refs < (record.barrier ?? 0)) return record;
        t.putJson(key, needs, { lease: lease.id });
        t.afterCommit((revision) => (createRevision = revision));
        return undefined;
      },
      { signal: this.#stop.signal, label: 'epoch session', unfenced: true },
    );
    if (!state) {
      this.#passed = undefined;
      this.#told = needs;
      this.#session = { key, createRevision, lease };
      this.#wake();
      return true;
    }
    this.#passed = unavailable(
      'this coordinator had no contact with etcd while a garbage collection passed; what it was ' +
        'doing can not become visible any more: try again',
    );
    while (!this.#stop.signal.aborted && !this.#clean(state)) {
      this.#holds.end({ writes: state.floor ?? 0, refs: state.barrier ?? 0 }, this.#passed);
      this.#wake();
      await this.#woken();
    }
    return false;
  }

  #clean(state: EpochRecord): boolean {
    // The new epoch may not be known here yet: what is held then counts from the old one.
    const { writes, refs } = this.#holds.oldest();
    const held = (writes ?? Infinity) >= (state.floor ?? 0);
    return (
      held && (refs ?? Infinity) >= (state.barrier ?? 0) && this.#epoch >= (state.barrier ?? 0)
    );
  }

  /** Brings the session's key up to date. */
  async #tell(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      const session = this.#session;
      const needs = this.#needs();
      if (!session || (needs.epoch === this.#told?.epoch && needs.refs === this.#told.refs)) {
        await this.#woken();
        continue;
      }
      try {
        await this.#deps.meta.transact(
          async (t) => {
            t.requireCreated(session.key, session.createRevision);
            t.putJson(session.key, needs, { lease: session.lease.id });
          },
          { signal, label: 'epoch needs', unfenced: true },
        );
        if (this.#session === session) this.#told = needs;
      } catch (error) {
        if (signal.aborted) return;
        if (codeOf(error) === 'STATE_CONFLICT') this.broken(session.createRevision);
        this.#deps.log.debug({ reason: messageOf(error) }, 'the epoch session was not brought up');
        await this.#deps.clock.sleep(RETRY_MS, { signal }).catch(() => undefined);
      }
    }
  }
}
