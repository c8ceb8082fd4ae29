/**
 * This coordinator's place among the others: one lease, the `co/` key under it, and the informers
 * that scheduling works from. When the lease is lost everything under it ends and a new lease is
 * taken; whoever acts for a pipeline proves its ownership by fencing, never by this lease's timing.
 */
import { createHash } from 'node:crypto';
import { addAbortListener } from '../../core/signals.js';
import type { Clock } from '../../core/clock.js';
import type { Log } from '../../core/log.js';
import type { Lease, Meta } from '../meta/index.js';
import { coordinatorKey, type CoordinatorRecord } from './model.js';

export interface MembershipDeps {
  readonly meta: Meta;
  readonly log: Log;
  readonly clock: Clock;
}

export const LEASE_MS = 10_000;
const RETRY_MS = 1_000;

export class Membership {
  #lease: Lease | undefined;
  #joinedAt: number | undefined;
  #waiting: (() => void)[] = [];

  constructor(
    readonly deps: MembershipDeps,
    readonly self: CoordinatorRecord,
  ) {}

  /** The lease in force, if any. */
  get lease(): Lease | undefined {
    return this.#lease;
  }

  /** Revision at which this process joined first; what is older was left by its predecessor. */
  get joinedAt(): number {
    return this.#joinedAt ?? 0;
  }

  /** The lease in force; waits for one. */
  async current(signal: AbortSignal): Promise<Lease> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#lease && !this.#lease.lost.aborted) return this.#lease;
      await new Promise<void>((resolve, reject) => {
        const stop = addAbortListener(signal, () => reject(signal.reason as Error));
        this.#waiting.push(() => {
          stop();
          resolve();
        });
      });
    }
  }

  /** Keeps a lease until the signal aborts. Never throws. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const lease = await this.deps.meta.lease(LEASE_MS, { signal });
        await this.#join(lease, signal);
        this.#lease = lease;
        for (const wake of this.#waiting.splice(0)) wake();
        await ended([lease.lost, signal]);
        this.#lease = undefined;
        if (signal.aborted) await lease.revoke().catch(() => undefined);
        else this.deps.log.warn('the coordinator lost its lease; taking a new one');
      } catch (error) {
        if (signal.aborted) return;
        this.deps.log.warn({ err: error }, 'cannot take a lease; trying again');
        await this.deps.clock.sleep(RETRY_MS, { signal }).catch(() => undefined);
      }
    }
  }

  async #join(lease: Lease, signal: AbortSignal): Promise<void> {
    await this.deps.meta.transact(
      async (t) => {
        t.putJson(coordinatorKey(this.self.replica), this.self, { lease: lease.id });
        t.afterCommit((revision) => (this.#joinedAt ??= revision));
      },
      { signal, label: 'join the coordinators' },
    );
  }
}

/** Resolves when one of the signals aborts. */
export async function ended(signals: readonly AbortSignal[]): Promise<void> {
  await new Promise<void>((resolve) => {
    const stops = signals.map((signal) =>
      addAbortListener(signal, () => {
        for (const stop of stops) stop();
        resolve();
      }),
    );
  });
}

/** Rendezvous order: 0 = this replica is the first choice for the pipeline. */
export function rankOf(replica: string, replicas: readonly string[], pipeline: string): number {
  const score = (name: string): string =>
    createHash('sha256').update(`${name}\0${pipeline}`).digest('hex');
  const mine = score(replica);
  return replicas.filter((other) => other !== replica && score(other) > mine).length;
}
