/**
 * Keeps one process of a pipeline placed on a worker: chosen once, kept while that worker lives, moved
 * when it leaves or was away for longer than it would go on by itself.
 */
import { newUuid } from '../../../core/ids.js';
import { sha256Hex } from '../../../core/sha256.js';
import type { LivePorts, LiveSpec } from '../../../queue/messages.js';
import { held } from '../../../storage/index.js';
import type { Wait } from '../../../storage/types.js';
import type { MetaTxn } from '../../meta/index.js';
import { fenced, type Fence, type OwnerDeps } from '../deps.js';
import { Unrunnable } from '../job-watch.js';
import { workerKey } from '../model.js';
import { Wakeup } from '../wakeup.js';
import { chooseWorker } from './choose.js';
import { liveKey, liveStateKey, type LiveRecord } from './model.js';

export interface Placed {
  readonly kind: 'service' | 'spout';
  /** A change makes the worker start the process anew. */
  readonly spec: LiveSpec;
  readonly job?: string;
  readonly ports?: LivePorts | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * A worker that lost its coordinator ends its processes after 10 s, and notices within 10 s that it
 * lost it; a coordinator notices a silent worker after 10 s at the earliest.
 */
export const AWAY_MS = 12_000;
const LOOK_MS = 1_000;

/** The same for the same content, whoever stores it and when. */
export function specIdOf(spec: LiveSpec): string {
  return sha256Hex(JSON.stringify(spec));
}

export class Placement {
  readonly #specId: string;
  #trouble = '';
  #awaySince: { readonly worker: string; readonly ms: number } | undefined;

  constructor(
    readonly deps: OwnerDeps,
    readonly fence: Fence,
    readonly placed: Placed,
  ) {
    this.#specId = specIdOf(placed.spec);
  }

  get #pipeline(): string {
    return this.fence.pipeline;
  }

  /** Why the process is not running well; empty when it is. */
  get trouble(): string {
    return this.#trouble;
  }

  /**
   * Runs until the signal aborts, which changes nothing about the process. `before` is part of the
   * transaction that starts a new process; the former one is gone by then. `onChange` is called when
   * the trouble changes. Throws Unrunnable when it can never run as it is specified.
   */
  async keep(
    wait: Wait,
    options: {
      readonly before?: (t: MetaTxn) => Promise<void>;
      readonly onChange: (trouble: string) => Promise<void>;
    },
  ): Promise<never> {
    const changed = new Wakeup();
    const stop = this.deps.views.subscribe(() => changed.raise());
    try {
      for (;;) {
        const trouble = await this.#look(wait, options.before);
        if (trouble !== this.#trouble) {
          this.#trouble = trouble;
          await options.onChange(trouble);
        }
        const { signal } = wait;
        await changed.wait({ signal, timeoutMs: LOOK_MS, clock: this.deps.clock });
      }
    } finally {
      stop();
    }
  }

  async #look(wait: Wait, before?: (t: MetaTxn) => Promise<void>): Promise<string> {
    const { views, clock } = this.deps;
    const now = views.lives.get(liveKey(this.#pipeline));
    if (now?.specId === this.#specId) {
      const worker = views.workers.get(workerKey(now.worker));
      if (worker && !worker.draining) {
        this.#awaySince = undefined;
        return this.#reported(now);
      }
      if (!worker) {
        if (this.#awaySince?.worker !== now.worker) {
          this.#awaySince = { worker: now.worker, ms: clock.monotonicMs() };
        }
        if (clock.monotonicMs() - this.#awaySince.ms < AWAY_MS) {
          return `worker ${now.worker} on host ${now.host} is away; if it does not come back, another one takes over`;
        }
      }
    }
    const workers = [...views.workers.values()];
    const lives = [...views.lives.values()];
    const { labels, ports } = this.placed;
    const wanted = { pipeline: this.#pipeline, ports, labels, current: now?.worker };
    const chosen = chooseWorker(wanted, workers, lives);
    if (typeof chosen === 'string') return chosen;
    await this.#place(chosen, now, wait, before);
    return '';
  }

  #reported({ run, worker }: LiveRecord): string {
    const state = this.deps.views.liveStates.get(liveStateKey(this.#pipeline));
    if (!state || state.run !== run || state.worker !== worker) return '';
    if (state.state === 'impossible') throw new Unrunnable(state.reason);
    return state.state === 'running' && state.reason === '' ? '' : state.reason;
  }

  async #place(
    worker: { readonly worker: string; readonly host: string },
    former: LiveRecord | undefined,
    wait: Wait,
    before?: (t: MetaTxn) => Promise<void>,
  ): Promise<void> {
    const { kind, job, ports } = this.placed;
    const record: Omit<LiveRecord, 'spec'> = {
      pipeline: this.#pipeline,
      kind,
      run: newUuid().replaceAll('-', ''),
      worker: worker.worker,
      host: worker.host,
      specId: this.#specId,
      ...(job === undefined ? {} : { job }),
      ...(ports ? { ports } : {}),
    };
    const key = liveKey(this.#pipeline);
    const { storage } = this.deps;
    // Stored each time: nothing refers to it while no worker can be found.
    await held(storage.epochs, 'refs', async () => {
      const spec = await storage.putJson(this.placed.spec, wait);
      await fenced(
        this.deps.meta,
        this.fence,
        async (t) => {
          const now = await t.getJson<LiveRecord>(key);
          if (now?.run !== former?.run) return;
          await before?.(t);
          t.putJson(key, { ...record, spec } satisfies LiveRecord);
          t.delete(liveStateKey(this.#pipeline));
        },
        { ...wait, label: 'place' },
      );
    });
    this.#awaySince = undefined;
    const { log, views } = this.deps;
    const fields = { pipeline: this.#pipeline, worker: worker.worker, run: record.run };
    log.info({ ...fields, former: former?.worker }, `${kind} placed on a worker`);
    await views.lives.waitFor(() => views.lives.get(key)?.run !== former?.run, wait);
  }
}

/** Ends the pipeline's process, if it has one and (with `specId`) it runs that. */
export async function endLive(
  deps: OwnerDeps,
  fence: Fence,
  wait: Wait,
  specId?: string,
): Promise<void> {
  const key = liveKey(fence.pipeline);
  const now = deps.views.lives.get(key);
  if (!now || (specId !== undefined && now.specId !== specId)) return;
  await fenced(
    deps.meta,
    fence,
    async (t) => {
      const record = await t.getJson<LiveRecord>(key);
      if (!record || (specId !== undefined && record.specId !== specId)) return;
      t.delete(key);
      t.delete(liveStateKey(fence.pipeline));
    },
    { ...wait, label: 'end the process' },
  );
}
