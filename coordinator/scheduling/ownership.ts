/**
 * Which pipelines this coordinator looks after. It takes the lock `own/<pipeline>` under its lease
 * when it is the first choice in rendezvous order (others wait their turn), runs one supervised loop
 * per lock it holds, and starts a loop again with backoff when it fails.
 *
 * O1  A loop runs only while its lock key is ours; losing lease or key ends the loop.
 * O2  A restarted coordinator replaces locks of its former process at once: fencing makes that safe.
 */
import type { Clock } from '../../core/clock.js';
import { codeOf } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { backoffMs } from '../../core/retry.js';
import { addAbortListener, cancelledBy, childController } from '../../core/signals.js';
import type { Lease, Meta } from '../meta/index.js';
import type { Fence } from './deps.js';
import { rankOf, type Membership } from './membership.js';
import { ownerKey, type OwnerRecord } from './model.js';
import type { Views } from './views.js';
import { Wakeup } from './wakeup.js';

export interface OwnershipDeps {
  readonly meta: Meta;
  readonly log: Log;
  readonly clock: Clock;
  readonly views: Views;
  readonly membership: Membership;
  /** Looks after a pipeline until it is gone or the signal aborts. */
  readonly tend: (fence: Fence, signal: AbortSignal) => Promise<void>;
}

interface Owned {
  readonly fence: Fence;
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

const LOOK_MS = 2_000;
/** How long each lower rank waits for the ones above before it takes a free lock. */
const RANK_DELAY_MS = 2_000;

export class Ownership {
  readonly #owned = new Map<string, Owned>();
  readonly #freeSince = new Map<string, number>();
  readonly #changed = new Wakeup();

  constructor(
    readonly deps: OwnershipDeps,
    readonly self: OwnerRecord,
  ) {}

  get pipelines(): string[] {
    return [...this.#owned.keys()].sort();
  }

  /** Runs until the signal aborts; then ends every loop and gives the locks back. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    const { views, membership, clock, log } = this.deps;
    const { pipelines, owners, coordinators } = views;
    const raise = (): void => this.#changed.raise();
    const stops = [pipelines, owners, coordinators].map((view) => view.subscribe(raise));
    try {
      while (!signal.aborted) {
        const lease = await membership.current(signal).catch(() => undefined);
        if (!lease) break;
        await this.#underLease(lease, signal).catch((error: unknown) => {
          if (!signal.aborted) log.warn({ err: error }, 'ownership loop failed; starting again');
        });
        await this.#endAll(signal.aborted ? 'stopping' : 'lost its lease');
        if (!signal.aborted) await clock.sleep(200, { signal }).catch(() => undefined);
      }
    } finally {
      for (const stop of stops) stop();
      await this.#endAll('stopping');
    }
  }

  async #underLease(lease: Lease, signal: AbortSignal): Promise<void> {
    using scope = childController(signal);
    const stop = addAbortListener(lease.lost, () =>
      scope.abort(cancelledBy('a lost coordinator lease')),
    );
    try {
      for (;;) {
        await this.#look(lease, scope.signal);
        await this.#changed.wait({
          signal: scope.signal,
          timeoutMs: LOOK_MS,
          clock: this.deps.clock,
        });
      }
    } finally {
      stop();
    }
  }

  async #look(lease: Lease, signal: AbortSignal): Promise<void> {
    const { views } = this.deps;
    const wanted = new Set([...views.pipelines.entries()].map(([, record]) => record.name));
    for (const [pipeline, owned] of this.#owned) {
      const holder = views.owners.get(ownerKey(pipeline));
      const lost = holder !== undefined && holder.instance !== this.self.instance;
      if (!wanted.has(pipeline) || lost) {
        await this.#end(pipeline, owned, lost ? 'another owner' : 'deletion of the pipeline');
        if (!lost) await this.#giveBack(owned.fence, signal);
      }
    }
    const replicas = [...views.coordinators.entries()].map(([, record]) => record.replica);
    for (const pipeline of wanted) {
      if (this.#owned.has(pipeline) || !this.#mayTake(pipeline, replicas)) continue;
      const fence = await this.#take(pipeline, lease, signal);
      if (fence) this.#start(fence, signal);
    }
    for (const pipeline of this.#freeSince.keys()) {
      if (!wanted.has(pipeline)) this.#freeSince.delete(pipeline);
    }
  }

  #mayTake(pipeline: string, replicas: readonly string[]): boolean {
    const holder = this.deps.views.owners.get(ownerKey(pipeline));
    if (holder && this.#isOurs(holder, holder.revision)) return true;
    if (holder) {
      this.#freeSince.delete(pipeline);
      return false;
    }
    const now = this.deps.clock.monotonicMs();
    const since = this.#freeSince.get(pipeline) ?? now;
    this.#freeSince.set(pipeline, since);
    const rank = rankOf(this.self.replica, replicas, pipeline);
    return now - since >= rank * RANK_DELAY_MS;
  }

  /**
   * A lock of this process, or of the one it replaced. A lock of the same name that is younger than
   * this process belongs to its successor.
   */
  #isOurs(holder: OwnerRecord, revision: number): boolean {
    if (holder.instance === this.self.instance) return true;
    return holder.replica === this.self.replica && revision < this.deps.membership.joinedAt;
  }

  /** The fence when the lock is now ours. */
  async #take(pipeline: string, lease: Lease, signal: AbortSignal): Promise<Fence | undefined> {
    const { meta } = this.deps;
    const key = ownerKey(pipeline);
    const taken = await meta.transact(
      async (t) => {
        const before = await t.get(key);
        const holder = before && (JSON.parse(before.value.toString()) as OwnerRecord);
        // The fence is the revision of this put, so a lock of our former process is worthless.
        if (holder && !this.#isOurs(holder, before.modRevision)) return false;
        t.putJson(key, this.self, { lease: lease.id });
        return true;
      },
      { signal, label: 'take a pipeline' },
    );
    if (!taken) return undefined;
    const kv = await meta.get(key, { signal });
    if (!kv) return undefined;
    const holder = JSON.parse(kv.value.toString()) as OwnerRecord;
    if (holder.instance !== this.self.instance) return undefined;
    return { pipeline, key, revision: kv.modRevision };
  }

  #start(fence: Fence, signal: AbortSignal): void {
    const stop = childController(signal);
    const done = this.#supervise(fence, stop.signal).finally(() => stop[Symbol.dispose]());
    this.#owned.set(fence.pipeline, { fence, stop, done });
    this.deps.log.info({ pipeline: fence.pipeline }, 'looking after the pipeline');
  }

  /** Never throws. Ends when the signal aborts or the pipeline is gone. */
  async #supervise(fence: Fence, signal: AbortSignal): Promise<void> {
    const { clock, log } = this.deps;
    for (let attempt = 1; !signal.aborted; attempt += 1) {
      const startMs = clock.monotonicMs();
      try {
        await this.deps.tend(fence, signal);
        return;
      } catch (error) {
        if (signal.aborted) return;
        const level = codeOf(error) === 'INTERNAL' ? 'error' : 'warn';
        log[level]({ pipeline: fence.pipeline, attempt, err: error }, 'pipeline loop failed');
      }
      if (clock.monotonicMs() - startMs > 30_000) attempt = 1;
      const delayMs = backoffMs(attempt, { baseDelayMs: 200, maxDelayMs: 5_000 });
      await clock.sleep(delayMs, { signal }).catch(() => undefined);
    }
  }

  async #endAll(why: string): Promise<void> {
    for (const [pipeline, owned] of [...this.#owned]) await this.#end(pipeline, owned, why);
  }

  async #end(pipeline: string, owned: Owned, why: string): Promise<void> {
    owned.stop.abort(cancelledBy(why));
    await owned.done;
    this.#owned.delete(pipeline);
    this.deps.log.info({ pipeline, why }, 'no longer looking after the pipeline');
  }

  async #giveBack(fence: Fence, signal: AbortSignal): Promise<void> {
    await this.deps.meta
      .transact(
        async (t) => {
          const holder = await t.getJson<OwnerRecord>(fence.key);
          if (holder?.instance === this.self.instance) t.delete(fence.key);
        },
        { signal, label: 'give a pipeline back' },
      )
      .catch(() => undefined);
  }
}
