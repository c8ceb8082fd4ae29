/**
 * The duties of this worker: starts what it is told to run, ends what it is not told any more. While
 * the worker is cut off from the cluster its processes go on for a while, so that a coordinator may
 * restart, and end before somebody else is told to take over.
 */
import type { Clock } from '../../core/clock.js';
import { childController, cancelledBy } from '../../core/signals.js';
import type { Duty } from '../../proto/generated/tusk.js';
import type { RestartRequest } from '../../queue/index.js';
import { LiveRun, type LiveDeps } from './live-run.js';

/** Sandboxes of duties have numbers beyond those of slots. */
const FIRST_SLOT = 100_000;

export class Duties implements AsyncDisposable {
  readonly #runs = new Map<string, LiveRun>();
  /** Runs on their way out, by the number of their sandbox. */
  readonly #ending = new Map<number, Promise<void>>();
  readonly #closed = new AbortController();
  #wanted: readonly Duty[] = [];
  #apart: (AbortController & Disposable) | undefined;
  #suspended = true;

  constructor(
    readonly deps: LiveDeps,
    readonly options: { readonly clock: Clock; readonly patienceMs: () => number },
  ) {}

  /** Replaces what to run. */
  assign(duties: readonly Duty[]): void {
    this.#wanted = duties;
    this.#look();
  }

  /** Starts services anew that the request means; answers how many there are. */
  restart(request: RestartRequest): number {
    return [...this.#runs.values()].filter((run) => run.restart(request)).length;
  }

  /** Whether the cluster knows this worker. */
  setJoined(joined: boolean): void {
    this.#apart?.abort(cancelledBy('a change of membership'));
    this.#apart = undefined;
    if (joined) {
      this.#suspended = false;
      this.#look();
      return;
    }
    const apart = childController(this.#closed.signal);
    this.#apart = apart;
    this.options.clock.sleep(this.options.patienceMs(), { signal: apart.signal }).then(
      () => {
        this.#suspended = true;
        this.#look();
      },
      () => undefined,
    );
  }

  /** Ends everything. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort(cancelledBy('the end of the worker'));
    this.#wanted = [];
    this.#look();
    await Promise.all(this.#ending.values());
  }

  #look(): void {
    const wanted = new Map(this.#suspended ? [] : this.#wanted.map((duty) => [duty.run, duty]));
    for (const [run, live] of this.#runs) {
      if (wanted.has(run)) continue;
      this.#runs.delete(run);
      const ended = live.stop('a change of duties').finally(() => {
        this.#ending.delete(live.slot);
        this.#look();
      });
      this.#ending.set(live.slot, ended);
    }
    for (const [run, duty] of wanted) {
      // The same pipeline's former process has to be gone first: it may hold the ports.
      if (this.#runs.has(run) || this.#isEnding(duty.pipeline)) continue;
      const live = new LiveRun(this.deps, duty, this.#slot());
      this.#runs.set(run, live);
      this.#pipelines.set(live.slot, duty.pipeline);
      live.start();
    }
  }

  readonly #pipelines = new Map<number, string>();

  #isEnding(pipeline: string): boolean {
    return [...this.#ending.keys()].some((slot) => this.#pipelines.get(slot) === pipeline);
  }

  #slot(): number {
    const taken = new Set([...this.#runs.values()].map(({ slot }) => slot));
    let slot = FIRST_SLOT;
    while (taken.has(slot) || this.#ending.has(slot)) slot += 1;
    return slot;
  }
}
