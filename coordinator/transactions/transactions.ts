/**
 * Transactions: requests recorded one by one and then run together, in one etcd transaction with
 * one propagation at its end.
 *
 * X1 Nothing of a transaction shows before it is finished; then all of it does, or nothing.
 * X2 A request is recorded only after a rehearsal of everything recorded plus itself on the present
 *    state; the recorded list is compared, so what was rehearsed is what is extended.
 * X3 The id of a commit that a request starts is decided when it is recorded and never changes.
 * X4 Running fails or succeeds as a whole; a transaction that fails to finish stays as it was.
 * Between recording and finishing the world may move on: a rehearsal promises nothing.
 */
import type { Clock } from '../../core/clock.js';
import { contention, invalidInput, notFound, wrap } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import type { Log } from '../../core/log.js';
import { backoffMs } from '../../core/retry.js';
import { TransactionRequest } from '../../proto/generated/transaction.js';
import type { Wait } from '../../storage/types.js';
import type { KV, Meta, MetaTxn } from '../meta/index.js';
import type { CommitName, Versioning } from '../versioning/index.js';
import { KeyedQueue } from '../versioning/keyed-queue.js';
import {
  REQUESTS,
  requestKey,
  requestsOf,
  transactionKey,
  TRANSACTIONS,
  type RequestRecord,
  type TransactionRecord,
} from './model.js';

/** A request with what is fixed about it. */
export interface Recorded {
  readonly request: TransactionRequest;
  /** The commit it starts. */
  readonly commit?: CommitName;
}

export interface TransactionDetails {
  readonly id: string;
  /** Wall time in milliseconds. */
  readonly started: number;
  readonly requests: readonly Recorded[];
}

/**
 * Does one request as a step of an etcd transaction, without propagation; answers the commit it
 * starts, which has the id given, if there is one. Throws what the request would throw by itself.
 */
export type RunRequest = (
  t: MetaTxn,
  recorded: Recorded,
  wait: Wait,
) => Promise<CommitName | undefined>;

export interface TransactionsDeps {
  readonly meta: Meta;
  readonly versioning: Versioning;
  readonly clock: Clock;
  readonly log: Log;
  readonly run: RunRequest;
}

const APPEND_TRIES = 10;
const INSPECT_PARALLEL = 16;

export class Transactions {
  readonly #deps: TransactionsDeps;
  /** Additions of this process to one transaction, one after the other. */
  readonly #queue = new KeyedQueue();

  constructor(deps: TransactionsDeps) {
    this.#deps = deps;
  }

  /** Opens an empty transaction; answers its id. */
  async start(wait: Wait): Promise<string> {
    const { meta, clock } = this.#deps;
    const record = { id: newUuid(), started: clock.wallMs(), requests: 0 };
    await meta.transact(async (t) => t.putJson(transactionKey(record.id), record), {
      ...wait,
      label: `transaction ${record.id}`,
    });
    return record.id;
  }

  /**
   * Records a request; answers the commit it will start. Throws NOT_FOUND for an unknown
   * transaction, what the rehearsal throws, and CONTENTION when others keep adding.
   */
  async append(
    id: string,
    request: TransactionRequest,
    wait: Wait,
  ): Promise<CommitName | undefined> {
    const { clock } = this.#deps;
    return this.#queue.run(id, wait, async () => {
      for (let attempt = 1; attempt <= APPEND_TRIES; attempt += 1) {
        const done = await this.#tryAppend(id, request, wait);
        if (done) return done.commit;
        await clock.sleep(backoffMs(attempt, { baseDelayMs: 5, maxDelayMs: 200 }), wait);
      }
      throw contention('transaction could not be modified due to concurrent modifications', {
        fields: { transaction: id },
      });
    });
  }

  /** Runs everything recorded, and forgets the transaction. */
  async finish(id: string, wait: Wait): Promise<TransactionDetails> {
    const { meta, versioning, log } = this.#deps;
    const planned = await meta.rehearse((t) => loadIn(t, id), wait);
    const details = await versioning.sweepAfter(deletedRepos(planned.requests), wait, () =>
      meta.transact(
        async (t) => {
          const found = await loadIn(t, id);
          await this.#runIn(t, found.requests, wait);
          removeIn(t, id);
          return found;
        },
        { ...wait, label: `transaction ${id}` },
      ),
    );
    log.info({ transaction: id, requestCount: details.requests.length }, 'transaction finished');
    return details;
  }

  /** Runs requests together, at once. */
  async batch(requests: readonly TransactionRequest[], wait: Wait): Promise<TransactionDetails> {
    const { meta, versioning, clock } = this.#deps;
    const list = requests.map((request) => ({ request }));
    const id = newUuid();
    return versioning.sweepAfter(deletedRepos(list), wait, () =>
      meta.transact(
        async (t) => ({
          id,
          started: clock.wallMs(),
          requests: await this.#runIn(t, list, wait),
        }),
        { ...wait, label: `transaction ${id}` },
      ),
    );
  }

  async inspect(id: string, wait: Wait): Promise<TransactionDetails> {
    return this.#deps.meta.rehearse((t) => loadIn(t, id), wait);
  }

  /** All open transactions, newest first. */
  async list(wait: Wait): Promise<TransactionDetails[]> {
    const { meta } = this.#deps;
    const { kvs } = await meta.range(TRANSACTIONS, wait);
    kvs.sort((a, b) => b.createRevision - a.createRevision);
    const found: TransactionDetails[] = [];
    for (let at = 0; at < kvs.length; at += INSPECT_PARALLEL) {
      const batch = kvs.slice(at, at + INSPECT_PARALLEL);
      const details = await Promise.all(
        batch.map(({ key }) =>
          meta.rehearse((t) => findIn(t, key.slice(TRANSACTIONS.length)), wait),
        ),
      );
      // One that was finished or dropped since is no longer there.
      found.push(...details.filter((each) => each !== undefined));
    }
    return found;
  }

  async delete(id: string, wait: Wait): Promise<void> {
    await this.#deps.meta.transact(
      async (t) => {
        if (!(await t.get(transactionKey(id)))) throw transactionNotFound(id);
        removeIn(t, id);
      },
      { ...wait, label: `transaction ${id}` },
    );
  }

  async deleteAll(wait: Wait): Promise<void> {
    const label = 'delete all transactions';
    await this.#deps.meta.transact(async (t) => deleteAllTransactionsIn(t), { ...wait, label });
  }

  /** One try to record a request; undefined when somebody else recorded one meanwhile (X2). */
  async #tryAppend(
    id: string,
    request: TransactionRequest,
    wait: Wait,
  ): Promise<{ readonly commit: CommitName | undefined } | undefined> {
    const { meta } = this.#deps;
    const { before, commit } = await meta.rehearse(async (t) => {
      const kv = await t.get(transactionKey(id));
      if (!kv) throw transactionNotFound(id);
      const { requests } = await loadIn(t, id);
      const ran = await this.#runIn(t, [...requests, { request }], wait);
      return { before: kv, commit: ran.at(-1)?.commit };
    }, wait);
    const recorded = await meta.transact(async (t) => extendIn(t, before, { request, commit }), {
      ...wait,
      label: `transaction ${id}`,
    });
    return recorded ? { commit } : undefined;
  }

  async #runIn(t: MetaTxn, requests: readonly Recorded[], wait: Wait): Promise<Recorded[]> {
    const done: Recorded[] = [];
    for (const [index, recorded] of requests.entries()) {
      try {
        const commit = await this.#deps.run(t, recorded, wait);
        done.push({ request: recorded.request, ...(commit ? { commit } : {}) });
      } catch (error) {
        wait.signal.throwIfAborted();
        throw wrap(`error running request ${index + 1} of ${requests.length}`, error);
      }
    }
    await this.#deps.versioning.propagateIn(t);
    return done;
  }
}

/** Drops every transaction, as a step of another one. */
export function deleteAllTransactionsIn(t: MetaTxn): void {
  t.deletePrefix(TRANSACTIONS);
  t.deletePrefix(REQUESTS);
}

export function transactionNotFound(id: string): Error {
  if (id === '') return invalidInput('transaction cannot be nil');
  return notFound(`/pachyderm_pfs/transactions/ ${id} not found`, { fields: { transaction: id } });
}

async function loadIn(t: MetaTxn, id: string): Promise<TransactionDetails> {
  const found = await findIn(t, id);
  if (!found) throw transactionNotFound(id);
  return found;
}

async function findIn(t: MetaTxn, id: string): Promise<TransactionDetails | undefined> {
  const record = await t.getJson<TransactionRecord>(transactionKey(id));
  if (!record) return undefined;
  const stored = await t.rangeJson<RequestRecord>(requestsOf(id));
  const requests = stored.map(({ request, commit }) => ({
    request: TransactionRequest.decode(Buffer.from(request, 'base64')),
    ...(commit ? { commit } : {}),
  }));
  return { id, started: record.started, requests };
}

/** False when the record is not as it was read before. */
async function extendIn(
  t: MetaTxn,
  before: KV,
  added: { readonly request: TransactionRequest; readonly commit: CommitName | undefined },
): Promise<boolean> {
  const now = await t.get(before.key);
  if (now?.modRevision !== before.modRevision) return false;
  const record = JSON.parse(now.value.toString()) as TransactionRecord;
  const request = Buffer.from(TransactionRequest.encode(added.request).finish());
  const entry: RequestRecord = {
    request: request.toString('base64'),
    ...(added.commit ? { commit: added.commit } : {}),
  };
  t.putJson(before.key, { ...record, requests: record.requests + 1 });
  t.putJson(requestKey(record.id, record.requests), entry);
  return true;
}

function removeIn(t: MetaTxn, id: string): void {
  t.delete(transactionKey(id));
  t.deletePrefix(requestsOf(id));
}

/** Repos whose reverse provenance is to be swept once the transaction has gone through. */
function deletedRepos(requests: readonly Recorded[]): string[] {
  const names = requests.map(({ request }) => request.deleteRepo?.repo?.name ?? '');
  return [...new Set(names)].filter((name) => name !== '');
}
