/**
 * Tells a coordinator how a duty goes: the newest state only, again until it was heard, and every log
 * segment once. Over a channel of its own to whichever coordinator the worker is joined to.
 */
import type { Clock } from '../../core/clock.js';
import { codeOf, unavailable } from '../../core/errors.js';
import { backoffMs } from '../../core/retry.js';
import { addAbortListener, cancelledBy, childController } from '../../core/signals.js';
import { CLIENT_OPTIONS, insecure } from '../../proto/channel.js';
import {
  ClusterClient,
  type DutyReply,
  type DutyReport,
  type SpoutWrite,
  type SpoutWritten,
} from '../../proto/generated/tusk.js';
import { fromStatus } from '../../proto/status.js';
import type { Wait } from '../../storage/types.js';

const CALL_MS = 30_000;
/** The epoch of the answer is the one to write with: it has to be a fresh one. */
const SILENCE_MS = 30_000;

/** Calls to the coordinator that the worker is joined to. */
export class ClusterLink implements Disposable {
  #client: { readonly address: string; readonly client: ClusterClient } | undefined;

  /** `address`: where the worker is joined; empty while it is not. */
  constructor(readonly address: () => string) {}

  reportDuty(report: DutyReport, wait: Wait): Promise<DutyReply> {
    return this.#call((client, done) => client.reportDuty(report, done), wait);
  }

  commitSpout(write: SpoutWrite, wait: Wait): Promise<SpoutWritten> {
    return this.#call((client, done) => client.commitSpout(write, done), wait);
  }

  [Symbol.dispose](): void {
    this.#client?.client.close();
  }

  async #call<T>(
    start: (
      client: ClusterClient,
      done: (error: Error | null, reply: T) => void,
    ) => { cancel(): void },
    { signal }: Wait,
  ): Promise<T> {
    signal.throwIfAborted();
    const client = this.#open();
    return new Promise<T>((resolve, reject) => {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(CALL_MS)]);
      const call = start(client, (error, reply) => {
        stop();
        if (error) reject(signal.aborted ? (signal.reason as Error) : fromStatus(error));
        else resolve(reply);
      });
      const stop = addAbortListener(limit, () => call.cancel());
    });
  }

  #open(): ClusterClient {
    const address = this.address();
    if (address === '') throw unavailable('the worker is not joined to a coordinator right now');
    if (this.#client?.address !== address) {
      this.#client?.client.close();
      this.#client = { address, client: new ClusterClient(address, insecure(), CLIENT_OPTIONS) };
    }
    return this.#client.client;
  }
}

export type DutyState = 'starting' | 'running' | 'waiting' | 'blocked' | 'impossible';

export interface DutyName {
  readonly pipeline: string;
  readonly run: string;
  readonly worker: string;
  /** Of a service; set once it is known. */
  job: string;
}

export class Reporter {
  #state: Omit<DutyReport, 'logs' | keyof DutyName>;
  readonly #logs = new Map<number, string>();
  #dirty = false;
  #wake: () => void = () => undefined;

  constructor(
    readonly name: DutyName,
    readonly link: Pick<ClusterLink, 'reportDuty'>,
    readonly clock: Clock,
    readonly onReply: (reply: DutyReply) => void,
  ) {
    this.#state = { state: '', reason: '', internalPort: 0, externalPort: 0, restarts: 0 };
  }

  /** Changes what is to be told. */
  set(change: {
    state?: DutyState;
    reason?: string;
    internalPort?: number;
    externalPort?: number;
    restarts?: number;
  }): void {
    const next = { ...this.#state, ...change };
    if (JSON.stringify(next) === JSON.stringify(this.#state)) return;
    this.#state = next;
    this.#raise();
  }

  addLog(number: number, ref: string): void {
    this.#logs.set(number, ref);
    this.#raise();
  }

  /** Tells now; the answer. Throws STATE_CONFLICT when the duty is another's. */
  async tell(wait: Wait): Promise<DutyReply> {
    const logs = [...this.#logs].map(([number, segment]) => ({ number, segment }));
    const report = { ...this.name, ...this.#state, logs };
    const reply = await this.link.reportDuty(report, wait);
    for (const { number, segment } of logs) {
      if (this.#logs.get(number) === segment) this.#logs.delete(number);
    }
    this.onReply(reply);
    return reply;
  }

  /**
   * Tells of every change, and now and then without one, until the signal aborts. Throws
   * STATE_CONFLICT when the duty is another's; the coordinator being away is no reason to give up.
   */
  async run(wait: Wait): Promise<void> {
    for (let attempt = 0; ;) {
      wait.signal.throwIfAborted();
      if (attempt === 0) await this.#changed(wait);
      this.#dirty = false;
      try {
        await this.tell(wait);
        attempt = 0;
      } catch (error) {
        wait.signal.throwIfAborted();
        if (codeOf(error) === 'STATE_CONFLICT') throw error;
        attempt += 1;
        await this.clock.sleep(backoffMs(attempt, { baseDelayMs: 200, maxDelayMs: 5_000 }), wait);
      }
    }
  }

  #raise(): void {
    this.#dirty = true;
    this.#wake();
  }

  async #changed({ signal }: Wait): Promise<void> {
    if (this.#dirty) return;
    using raised = childController(signal);
    this.#wake = () => raised.abort(cancelledBy('a change'));
    await this.clock.sleep(SILENCE_MS, { signal: raised.signal }).catch(() => undefined);
    signal.throwIfAborted();
  }
}
