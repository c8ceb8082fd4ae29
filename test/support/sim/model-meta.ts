/** Meta over the model: the real transactions, reads and snapshots; leases and watches of the model. */
import type { Clock } from '../../../core/clock.js';
import { silentLog } from '../../../core/log.js';
import type { KV, Meta } from '../../../coordinator/meta/index.js';
import { Reader } from '../../../coordinator/meta/reader.js';
import { Transactor } from '../../../coordinator/meta/transact.js';
import { clientOf, type Event, type ModelEtcd } from './model-etcd.js';
import type { Process, Scheduler } from './scheduler.js';

interface Wait {
  readonly signal: AbortSignal;
}

/** A lease whose end is known to its holder only some turns after it happened. */
export class ModelLease {
  readonly #lost = new AbortController();
  readonly ttlMs = 1;

  constructor(
    readonly id: string,
    readonly end: () => Promise<void>,
  ) {}

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  lose(): void {
    this.#lost.abort(new Error('the lease has ended'));
  }

  async revoke(): Promise<void> {
    if (this.#lost.signal.aborted) return;
    this.lose();
    // As of the real one: what can not be told to etcd ends by itself.
    await this.end().catch(() => undefined);
  }
}

export function turnClock(scheduler: Scheduler, process: Process): Clock {
  return {
    wallMs: () => scheduler.turnsGiven,
    monotonicMs: () => scheduler.turnsGiven,
    sleep: async (_ms, { signal }) => {
      signal.throwIfAborted();
      await scheduler.turn(process);
      signal.throwIfAborted();
    },
  };
}

export interface ModelMeta {
  readonly meta: Meta;
  readonly leases: Set<ModelLease>;
}

/** `blind`: watches tell when, not what (a sabotage). */
export function modelMeta(
  etcd: ModelEtcd,
  scheduler: Scheduler,
  process: Process,
  blind = false,
): ModelMeta {
  const client = clientOf(etcd, scheduler, process);
  const clock = turnClock(scheduler, process);
  const reader = new Reader(client, clock, 1e9);
  const transactor = new Transactor({
    ...{ client, source: reader, clock, log: silentLog },
    budgetMs: 1e9,
  });
  const leases = new Set<ModelLease>();
  const get = (key: string, wait: Wait): Promise<KV | undefined> => reader.get(key, wait);
  const meta = {
    get,
    getJson: async (key: string, wait: Wait) => {
      const kv = await get(key, wait);
      return kv && JSON.parse(kv.value.toString());
    },
    range: reader.range.bind(reader),
    transact: transactor.transact.bind(transactor),
    fenceWith: (fence: Transactor['fence']) => (transactor.fence = fence),
    scan: async function* (prefix: string, o: Wait & { revision?: number }) {
      yield* (await reader.range(prefix, o)).kvs;
    },
    lease: async (_ttlMs: number, wait: Wait) => {
      const id = await client.grant(1, wait);
      const lease = new ModelLease(id, () => client.revoke(id, wait));
      leases.add(lease);
      etcd.sessions.add(id);
      return lease;
    },
    informer: (prefix: string, decode: (value: Buffer, kv: KV) => unknown) =>
      new ModelInformer({ etcd, scheduler, process }, prefix, decode),
    changes: (prefix: string, o: Wait & { from: number }) =>
      changes({ etcd, scheduler, process }, blind ? 'gc/epoch' : prefix, o),
  };
  return { meta: meta as unknown as Meta, leases };
}

interface World {
  readonly etcd: ModelEtcd;
  readonly scheduler: Scheduler;
  readonly process: Process;
}

/** Tells the newest values, late. */
class ModelInformer {
  readonly #items = new Map<string, unknown>();
  readonly #callbacks = new Set<() => void>();
  readonly #listen: (event: Event) => void;

  constructor(
    readonly world: World,
    readonly prefix: string,
    readonly decode: (value: Buffer, kv: KV) => unknown,
  ) {
    for (const kv of world.etcd.all()) this.#take(kv);
    let last: Promise<void> = Promise.resolve();
    this.#listen = (event) => {
      const mine = event.puts.filter((kv) => kv.key.startsWith(prefix));
      if (mine.length === 0) return;
      const told = last.then(async () => {
        await world.scheduler.turn(world.process);
        for (const kv of mine) this.#take(kv);
        for (const callback of [...this.#callbacks]) callback();
      });
      last = told.catch(() => undefined);
    };
    world.etcd.listeners.add(this.#listen);
  }

  get(key: string): unknown {
    return this.#items.get(key);
  }

  async ready(): Promise<void> {
    await this.world.scheduler.turn(this.world.process);
  }

  subscribe(callback: () => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.world.etcd.listeners.delete(this.#listen);
    await Promise.resolve();
  }

  #take(kv: KV): void {
    if (kv.key.startsWith(this.prefix)) this.#items.set(kv.key, this.decode(kv.value, kv));
  }
}

async function* changes(
  { etcd, scheduler, process }: World,
  prefix: string,
  o: Wait & { from: number },
): AsyncGenerator<{ revision: number; puts: readonly KV[] }> {
  for (let at = 0; ;) {
    o.signal.throwIfAborted();
    await scheduler.turn(process);
    const event = etcd.log[at];
    if (!event) continue;
    at += 1;
    if (event.revision < o.from) continue;
    yield {
      revision: event.revision,
      puts: event.puts.filter((kv) => kv.key.startsWith(prefix)),
    };
  }
}
