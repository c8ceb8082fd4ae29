/**
 * Wakes the loops of pipelines for the changes that concern them, and finds what belongs to one
 * without going through everything: with hundreds of pipelines every change of one would make all
 * others look at all open commits and running jobs.
 *
 * H1 A hint may be missing or too many: loops look by themselves every few seconds.
 */
import { PIPELINES, type RunningJobRecord } from '../pipelines/model.js';
import type { OpenRecord } from '../versioning/model.js';
import type { Change, Informer } from '../meta/index.js';
import { LIVE_STATES, LIVES } from './live/model.js';

type Listener = () => void;

/** What is of interest here about the informers of Views. */
export interface Watched {
  readonly pipelines: Pick<Informer<unknown>, 'subscribe'>;
  readonly open: Pick<Informer<OpenRecord>, 'subscribe'>;
  readonly workers: Pick<Informer<unknown>, 'subscribe'>;
  readonly running: Pick<Informer<RunningJobRecord>, 'subscribe'>;
  readonly lives: Pick<Informer<unknown>, 'subscribe'>;
  readonly liveStates: Pick<Informer<unknown>, 'subscribe'>;
}

export interface Hint extends Disposable {
  /** Changes of open commits in these repos concern the pipeline, too. In place of those before. */
  waitFor(repos: Iterable<string>): void;
}

export class Hints {
  readonly #listeners = new Groups<Listener>();
  readonly #open = new Groups<OpenRecord>();
  readonly #running = new Groups<RunningJobRecord>();
  #next = 0;

  constructor(watched: Watched) {
    const { pipelines, open, workers, running, lives, liveStates } = watched;
    const named =
      (prefix: string) =>
      (changes: readonly Change<unknown>[]): void =>
        this.#wake(changes, ({ key }) => key.slice(prefix.length));
    pipelines.subscribe(named(PIPELINES));
    lives.subscribe(named(LIVES));
    liveStates.subscribe(named(LIVE_STATES));
    workers.subscribe(() => this.#wakeAll());
    open.subscribe((changes) => {
      for (const { key, value } of changes) this.#open.set(repoOf(key), key, value);
      this.#wake(changes, ({ key }) => repoOf(key));
    });
    running.subscribe((changes) => {
      for (const { key, value, previous } of changes) {
        this.#running.set((value ?? previous)?.pipeline ?? '', key, value);
      }
      this.#wake(changes, ({ value, previous }) => (value ?? previous)?.pipeline ?? '');
    });
  }

  /** Open commits of a repo, with their keys. */
  openOf(repo: string): ReadonlyMap<string, OpenRecord> {
    return this.#open.get(repo);
  }

  /** Running jobs of a pipeline, by key. */
  runningOf(pipeline: string): ReadonlyMap<string, RunningJobRecord> {
    return this.#running.get(pipeline);
  }

  /** Calls back after changes that concern the pipeline, until it is disposed. */
  on(pipeline: string, listener: Listener): Hint {
    const id = String((this.#next += 1));
    let groups = new Set([pipeline]);
    const set = (value: Listener | undefined): void => {
      for (const group of groups) this.#listeners.set(group, id, value);
    };
    set(listener);
    return {
      waitFor: (repos) => {
        const wanted = new Set([pipeline, ...repos]);
        if (wanted.size === groups.size && [...wanted].every((repo) => groups.has(repo))) return;
        set(undefined);
        groups = wanted;
        set(listener);
      },
      [Symbol.dispose]: () => set(undefined),
    };
  }

  #wake<T>(changes: readonly Change<T>[], groupOf: (change: Change<T>) => string): void {
    // An empty batch: what came and went was not seen.
    if (changes.length === 0) return this.#wakeAll();
    for (const group of new Set(changes.map(groupOf))) {
      for (const listener of [...this.#listeners.get(group).values()]) listener();
    }
  }

  #wakeAll(): void {
    for (const listener of new Set(this.#listeners.values())) listener();
  }
}

/** `open/<repo>/<id>` */
function repoOf(key: string): string {
  return key.split('/')[1] ?? '';
}

/** Values by group and key; groups without any are forgotten. */
class Groups<V> {
  readonly #groups = new Map<string, Map<string, V>>();

  get(group: string): ReadonlyMap<string, V> {
    return this.#groups.get(group) ?? new Map<string, V>();
  }

  /** `undefined` removes. */
  set(group: string, key: string, value: V | undefined): void {
    let entries = this.#groups.get(group);
    if (value !== undefined) {
      if (!entries) this.#groups.set(group, (entries = new Map()));
      entries.set(key, value);
    } else if (entries?.delete(key) && entries.size === 0) this.#groups.delete(group);
  }

  *values(): Generator<V> {
    for (const entries of this.#groups.values()) yield* entries.values();
  }
}
