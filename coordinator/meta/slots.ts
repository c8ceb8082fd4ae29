/**
 * Finding out what became of a transaction whose answer was lost.
 *
 * Each transaction in flight holds one slot, a key `txn/<process>/<n>` that it compares (at the
 * revision the slot was last written) and overwrites with its own mark.
 *
 * U1  The mark is in the slot exactly if the transaction took effect.
 * U2  `settle` writes the slot when the mark is not there, which makes the transaction's compare
 *     fail for ever: it can not take effect later, from some buffer on the way.
 * U3  A slot is used again only after a clear answer; one that had to be settled is left alone (an
 *     answerless settle may still be on its way). Slots live under a lease of an hour that is
 *     renewed by use, so a dead process leaves nothing behind.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../../core/clock.js';
import type { EtcdClient } from './etcd-client.js';
import type { Compare, Op } from './kv.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface Slot {
  readonly key: string;
  modRevision: number;
  usedMs: number;
}

const LEASE_TTL_MS = 3_600_000;
/** A lease is handed to new marks for half its life; a slot idle for longer is not trusted. */
const FRESH_MS = LEASE_TTL_MS / 2;

export class Slots {
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #name = randomUUID();
  readonly #free: Slot[] = [];
  #count = 0;
  #lease: { readonly id: Promise<string>; readonly fromMs: number } | undefined;

  constructor(client: EtcdClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  take(): Slot {
    const now = this.#clock.monotonicMs();
    for (let slot = this.#free.pop(); slot; slot = this.#free.pop()) {
      if (now - slot.usedMs < FRESH_MS) return slot;
    }
    this.#count += 1;
    return { key: `txn/${this.#name}/${this.#count}`, modRevision: 0, usedMs: now };
  }

  /** Gives a settled slot back. */
  give(slot: Slot, modRevision: number): void {
    slot.modRevision = modRevision;
    slot.usedMs = this.#clock.monotonicMs();
    this.#free.push(slot);
  }

  /** What a transaction adds to use the slot. */
  async claim(slot: Slot, mark: string, wait: Wait): Promise<{ compare: Compare; op: Op }> {
    return {
      compare: { key: slot.key, modRevision: slot.modRevision },
      op: { put: slot.key, value: mark, lease: await this.#currentLease(wait) },
    };
  }

  /**
   * Decides for good whether the transaction with this mark took effect (U2): its revision, or
   * undefined when it did not and never will. Throws when etcd does not answer; call again then.
   */
  async settle(slot: Slot, mark: string, wait: Wait): Promise<number | undefined> {
    const lease = await this.#currentLease(wait);
    const result = await this.#client.txn(
      {
        compare: [{ key: slot.key, value: mark }],
        success: [{ get: slot.key }],
        failure: [{ put: slot.key, value: 'settled', lease }],
      },
      wait,
    );
    if (!result.succeeded) return undefined;
    return result.responses[0]?.[0]?.modRevision ?? result.revision;
  }

  /** Whether the slots' own lease does not exist any more; a new one is made next time. */
  async leaseIsGone(): Promise<boolean> {
    const lease = this.#lease;
    if (!lease) return true;
    const probe = `txn/${this.#name}/probe`;
    try {
      const op = { put: probe, value: '', lease: await lease.id };
      const request = { compare: [], success: [op], failure: [] };
      await this.#client.txn(request, { signal: new AbortController().signal });
      return false;
    } catch {
      if (this.#lease === lease) this.#lease = undefined;
      return true;
    }
  }

  /** Removes every slot. */
  async close(wait: Wait): Promise<void> {
    const lease = this.#lease;
    this.#lease = undefined;
    if (lease) await this.#client.revoke(await lease.id, wait);
  }

  async #currentLease(wait: Wait): Promise<string> {
    const now = this.#clock.monotonicMs();
    if (!this.#lease || now - this.#lease.fromMs > FRESH_MS) {
      const id = this.#client.grant(LEASE_TTL_MS, { signal: new AbortController().signal });
      const lease = { id, fromMs: now };
      this.#lease = lease;
      id.catch(() => {
        if (this.#lease === lease) this.#lease = undefined;
      });
    }
    wait.signal.throwIfAborted();
    return this.#lease.id;
  }
}
