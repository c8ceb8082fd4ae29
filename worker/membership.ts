/** The worker's handle on its heartbeat thread. */
import { Worker } from 'node:worker_threads';
import type { Clock } from '../core/clock.js';
import { entryPath } from '../core/entry.js';
import type { Log } from '../core/log.js';
import type {
  RunningDatum,
  WorkerAssignments,
  WorkerConfig,
  WorkerHello,
} from '../proto/generated/tusk.js';
import { STATE_MS, type FromThread, type ToThread } from './heartbeat-protocol.js';

export interface MembershipOptions {
  readonly addresses: readonly string[];
  readonly hello: WorkerHello;
  readonly clock: Clock;
  readonly log: Log;
  readonly running: () => readonly RunningDatum[];
  readonly onConfig: (config: WorkerConfig) => void;
  readonly onAssignments: (assignments: WorkerAssignments) => void;
  readonly onJoined: (joined: boolean, address: string) => void;
  /** The thread died: the worker cannot go on. */
  readonly onFailure: (error: Error) => void;
}

export class Membership implements AsyncDisposable {
  readonly #thread: Worker;
  readonly #stop = new AbortController();
  #lastReason = '';

  /** Starts the thread, which joins and stays joined. */
  constructor(readonly options: MembershipOptions) {
    const { addresses, hello } = options;
    this.#thread = new Worker(entryPath('heartbeat-thread'), { workerData: { addresses, hello } });
    this.#thread.on('message', (message: FromThread) => this.#take(message));
    this.#thread.on('error', (error) => options.onFailure(error as Error));
    void this.#report();
  }

  drain(): void {
    this.#send({ kind: 'drain' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#send({ kind: 'stop' });
    const gone = new Promise<void>((resolve) => this.#thread.once('exit', () => resolve()));
    const late = this.options.clock.sleep(2_000, { signal: AbortSignal.timeout(2_500) });
    await Promise.race([gone, late.catch(() => undefined)]);
    await this.#thread.terminate();
  }

  #take(message: FromThread): void {
    const { log, onConfig, onAssignments, onJoined } = this.options;
    if (message.kind === 'config') onConfig(message.config);
    else if (message.kind === 'assignments') onAssignments(message.assignments);
    else {
      const { joined, address, reason } = message;
      if (joined) log.info({ address }, 'joined the cluster');
      else if (reason !== this.#lastReason) {
        log.warn({ address, reason }, 'not joined; trying again until it works');
      }
      this.#lastReason = reason;
      onJoined(joined, address);
    }
  }

  async #report(): Promise<void> {
    const { clock, running } = this.options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      this.#send({ kind: 'state', running: running() });
      await clock.sleep(STATE_MS, { signal }).catch(() => undefined);
    }
  }

  #send(message: ToThread): void {
    this.#thread.postMessage(message);
  }
}
