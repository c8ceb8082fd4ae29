/**
 * Workers joining: one per Join stream. A joined worker has a `wk/` key under this coordinator's
 * lease and is told, at once and after every change, what to pull tasks for. It leaves when the
 * stream ends, when its heartbeats stop, or with the coordinator's lease.
 */
import { BoundedQueue } from '../../core/bounded-queue.js';
import type { Clock } from '../../core/clock.js';
import { invalidInput, unavailable } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { abortable, addAbortListener, childController } from '../../core/signals.js';
import type {
  JoinEvent,
  JoinRequest,
  WorkerConfig,
  WorkerHeartbeat,
  WorkerHello,
} from '../../proto/generated/tusk.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import { Allocations } from './allocations.js';
import type { Membership } from './membership.js';
import { workerKey, type WorkerRecord } from './model.js';
import type { Offer } from './shares.js';
import { offerOf, type Views } from './views.js';

export interface JoinDeps {
  readonly meta: Meta;
  readonly views: Views;
  readonly membership: Membership;
  readonly clock: Clock;
  readonly log: Log;
  readonly replica: string;
  readonly config: WorkerConfig;
}

/** A worker joined to this coordinator. */
export interface Joined {
  readonly hello: WorkerHello;
  heartbeat: WorkerHeartbeat | undefined;
}

type Signal = 'look' | 'end';

export class Joins {
  readonly #joined = new Map<string, Joined>();
  readonly #allocations: Allocations;

  constructor(readonly deps: JoinDeps) {
    this.#allocations = new Allocations(deps);
  }

  /** The workers whose streams end here, with their last heartbeat. */
  list(): readonly Joined[] {
    return [...this.#joined.values()];
  }

  /** Serves one Join stream. */
  async *join(requests: AsyncIterable<JoinRequest>, wait: Wait): AsyncGenerator<JoinEvent> {
    const iterator = requests[Symbol.asyncIterator]();
    const first = await iterator.next();
    const hello = first.done ? undefined : first.value.hello;
    if (!hello || hello.workerId === '') {
      throw invalidInput('the first message of Join must be `hello` with a worker id');
    }
    using scope = childController(wait.signal);
    const session = new Session(this.deps, this.#allocations, hello, scope);
    this.#joined.set(hello.workerId, session.joined);
    this.deps.log.info({ worker: hello.workerId, slots: hello.slots }, 'worker joined');
    const reading = session.read(iterator);
    try {
      yield { config: this.deps.config };
      yield* session.serve();
    } finally {
      scope.abort(unavailable('the worker has left'));
      await reading;
      const last = this.#joined.get(hello.workerId) === session.joined;
      if (last) this.#joined.delete(hello.workerId);
      await session.leave({ last });
      this.deps.log.info({ worker: hello.workerId }, 'worker left');
    }
  }
}

const LEAVE_MS = 5_000;

class Session {
  readonly joined: Joined;
  readonly #events = new BoundedQueue<Signal>({ items: 16 });
  #draining = false;
  #beatMs: number;
  /** What the worker's key was last written with, as far as this session knows. */
  #registered: { draining: boolean; lease: string } | undefined;

  constructor(
    readonly deps: JoinDeps,
    readonly allocations: Allocations,
    readonly hello: WorkerHello,
    readonly scope: AbortController,
  ) {
    this.joined = { hello, heartbeat: undefined };
    this.#beatMs = deps.clock.monotonicMs();
  }

  /**
   * Reads heartbeats until the worker is gone or the session over: a worker that stands still sends
   * nothing and never ends its stream. Never throws.
   */
  async read(requests: AsyncIterator<JoinRequest>): Promise<void> {
    try {
      for (;;) {
        const next = await abortable(requests.next(), this.scope.signal);
        if (next.done) break;
        this.#beatMs = this.deps.clock.monotonicMs();
        if (next.value.heartbeat) this.joined.heartbeat = next.value.heartbeat;
        if (next.value.draining !== undefined && next.value.draining !== this.#draining) {
          this.#draining = next.value.draining;
          this.#raise('look');
        }
      }
      this.#raise('end');
    } catch (error) {
      this.scope.abort(error);
    }
  }

  /** Registers the worker and answers its assignments whenever they change. */
  async *serve(): AsyncGenerator<JoinEvent> {
    const { config } = this.deps;
    const { signal } = this.scope;
    const offer = (): Offer => offerOf(this.#record());
    const stop = this.allocations.watch(offer, () => this.#raise('look'));
    const silence = this.#watchSilence(config.leaseMs).catch(() => undefined);
    let told: string | undefined;
    try {
      for (;;) {
        await this.#register({ signal });
        const { message, text } = this.allocations.of(offer());
        if (text !== told) yield { assignments: message };
        told = text;
        const next = await this.#events.shift({ signal });
        if (next === 'end') return;
      }
    } finally {
      stop();
      this.scope.abort(unavailable('the worker has left'));
      await silence;
    }
  }

  /**
   * Removes the worker's key unless it already joined elsewhere. `last`: it has no newer session at
   * this coordinator. The write of the key may have been cut off, so its value decides.
   */
  async leave({ last }: { readonly last: boolean }): Promise<void> {
    if (!last) return;
    const { meta, replica, log } = this.deps;
    const key = workerKey(this.hello.workerId);
    await meta
      .transact(
        async (t) => {
          const record = await t.getJson<WorkerRecord>(key);
          if (record?.replica === replica) t.delete(key);
        },
        { signal: AbortSignal.timeout(LEAVE_MS), label: `worker ${this.hello.workerId} leaves` },
      )
      .catch((error: unknown) => {
        // With the coordinator's lease it goes anyway.
        log.warn({ err: error, worker: this.hello.workerId }, 'could not take a worker off');
      });
  }

  #raise(signal: Signal): void {
    if (signal === 'look' && this.#events.length > 0) return;
    void this.#events.push(signal, { signal: this.scope.signal }).catch(() => undefined);
  }

  async #watchSilence(leaseMs: number): Promise<void> {
    const { clock } = this.deps;
    for (;;) {
      const leftMs = this.#beatMs + leaseMs - clock.monotonicMs();
      if (leftMs <= 0) {
        this.scope.abort(unavailable(`no heartbeat of the worker for ${leaseMs} ms`));
        return;
      }
      await clock.sleep(leftMs, { signal: this.scope.signal });
    }
  }

  /** Writes the worker's key under the lease in force: once per lease, and when it starts to drain. */
  async #register(wait: Wait): Promise<void> {
    const lease = await this.deps.membership.current(wait.signal);
    const now = { draining: this.#draining, lease: lease.id };
    const before = this.#registered;
    if (before?.lease === now.lease && before.draining === now.draining) return;
    const key = workerKey(this.hello.workerId);
    await this.deps.meta.transact(
      async (t) => t.putJson(key, this.#record(), { lease: lease.id }),
      { ...wait, label: `worker ${this.hello.workerId}` },
    );
    this.#registered = now;
    if (before?.lease === now.lease) return;
    const stop = addAbortListener(lease.lost, () => this.#raise('look'));
    addAbortListener(wait.signal, stop);
  }

  #record(): WorkerRecord {
    const { hello } = this;
    return {
      worker: hello.workerId,
      replica: this.deps.replica,
      host: hello.host,
      slots: hello.slots,
      gpus: hello.gpus.length,
      cpus: hello.cpus,
      memoryBytes: hello.memoryBytes,
      labels: hello.labels,
      isolation: hello.isolation,
      version: hello.version,
      diskBytes: hello.diskBytes,
      gpuShare: hello.gpuShare,
      limits: hello.limits,
      engine: hello.engine,
      draining: this.#draining,
    };
  }
}
