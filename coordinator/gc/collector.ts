/**
 * Garbage collection while everything runs. What is exact about it:
 *
 * G1 It begins by raising the epoch, at revision `from`. Every root that exists then, and every value
 *    put up to revision `to`, is marked.
 * G2 `to` is the revision of the transaction that sets floor and barrier. It compares that every
 *    session has seen the raise, has no hold on refs from before it, and takes as floor the oldest
 *    epoch that a hold or a running job may still write.
 * G3 So whoever makes something visible after `to` began reading after `from`, and what he found
 *    then was named by a root between `from` and `to` or is newer than the floor. An object below the floor
 *    which no such root leads to can not be referred to ever again.
 * G4 One collection at a time (a key under a lease). A killed one leaves garbage and nothing else;
 *    one that lost its lease and goes on deletes only what G3 says.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.js';
import { codeOf, messageOf, stateConflict, unavailable } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import type { Log } from '../../core/log.js';
import { cancelledBy, childController, addAbortListener } from '../../core/signals.js';
import type { Collected, MarkProgress, SweepProgress } from '../../storage/gc/index.js';
import type { Storage } from '../../storage/index.js';
import { HOLDS } from '../admin/keys.js';
import type { Lease, Meta, MetaTxn } from '../meta/index.js';
import { checkNoRestore } from '../versioning/restore-mark.js';
import { JobEpochs } from './job-epochs.js';
import { markAndSweep, type ThreadSetup } from './mark-and-sweep.js';
import {
  EPOCH_KEY,
  FIRST_EPOCH,
  RUN_KEY,
  SESSIONS,
  type EpochRecord,
  type RunRecord,
  type SessionRecord,
} from './model.js';
import { RootFile } from './root-file.js';

interface Wait {
  readonly signal: AbortSignal;
}

export interface CollectorDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: Log;
  /** For people: which coordinator collects. */
  readonly name: string;
  /** How the thread opens the store; absent: no thread. */
  readonly setup?: ThreadSetup;
  /** Where big lists are put meanwhile; the system's directory when absent. */
  readonly tempDir?: string;
  readonly leaseMs?: number;
}

export type GcProgress =
  | { readonly phase: 'start'; readonly epoch: number }
  /** `on`: what is still busy with things it read before the start, for people. */
  | { readonly phase: 'wait'; readonly on: readonly string[] }
  | MarkProgress
  | SweepProgress;

export interface GcResult extends Collected {
  readonly epoch: number;
  /** Objects of epochs below were judged. */
  readonly floor: number;
  /** What keeps the floor below the epoch, for people: running jobs and long uploads. */
  readonly heldBy: readonly string[];
}

export interface GcOptions extends Wait {
  readonly dryRun: boolean;
  readonly onProgress?: (progress: GcProgress) => void;
}

const LEASE_MS = 15_000;
const POLL_MS = 100;

export class GarbageCollector {
  constructor(readonly deps: CollectorDeps) {}

  /**
   * Deletes every object that nothing refers to. STATE_CONFLICT when a collection is running
   * already, CORRUPT_DATA when a stored tree is damaged (nothing is deleted then).
   */
  async collect(options: GcOptions): Promise<GcResult> {
    const { meta, log } = this.deps;
    const lease = await meta.lease(this.deps.leaseMs ?? LEASE_MS, options);
    using scope = childController(options.signal);
    const unhook = addAbortListener(lease.lost, () =>
      scope.abort(unavailable('the garbage collection lost its place in etcd; run it again')),
    );
    try {
      const started = await this.#begin(lease, options);
      log.info({ epoch: started.epoch, dryRun: options.dryRun }, 'garbage collection begins');
      const result = await this.#collect(started, { ...options, signal: scope.signal });
      const { freed, freedBytes, live, floor } = result;
      log.info({ freed, freedBytes, live, floor, dryRun: options.dryRun }, 'garbage collected');
      return result;
    } finally {
      unhook();
      await lease.revoke();
    }
  }

  /** Takes the place of the one collector and raises the epoch. */
  async #begin(lease: Lease, options: GcOptions): Promise<{ epoch: number; from: number }> {
    const { meta, clock, name } = this.deps;
    let from = 0;
    const run: RunRecord = { id: newUuid(), name, started: clock.wallMs() };
    const epoch = await meta.transact(
      async (t) => {
        const other = await t.getJson<RunRecord>(RUN_KEY);
        if (other) {
          const since = new Date(other.started).toISOString();
          throw stateConflict(
            `garbage collection is running already, on ${other.name} since ${since}`,
          );
        }
        await refuseBeside(t);
        const before = await t.getJson<EpochRecord>(EPOCH_KEY);
        const next = (before?.epoch ?? FIRST_EPOCH) + 1;
        t.putJson(RUN_KEY, run, { lease: lease.id });
        t.putJson(EPOCH_KEY, { ...before, epoch: next } satisfies EpochRecord);
        t.afterCommit((revision) => (from = revision));
        return next;
      },
      { signal: options.signal, label: 'garbage collection' },
    );
    options.onProgress?.({ phase: 'start', epoch });
    return { epoch, from };
  }

  async #collect(
    started: { readonly epoch: number; readonly from: number },
    options: GcOptions,
  ): Promise<GcResult> {
    const { epoch, from } = started;
    const directory = await mkdtemp(join(this.deps.tempDir ?? tmpdir(), 'tusk-gc-'));
    try {
      const rootFile = join(directory, 'roots');
      await using roots = await RootFile.create(rootFile);
      const watched = new Watched(this.deps, roots, from);
      using watch = childController(options.signal);
      const watching = watched.run(watch);
      watching.catch(() => undefined);
      const jobs = new JobEpochs(this.deps);
      const passing = Promise.all([
        this.#pass(started, jobs, { ...options, signal: watch.signal }),
        this.#existing(roots, from, watch),
      ]);
      const [passed] = await Promise.race([passing, watching]);
      await Promise.race([watched.reached(passed.revision), watching]);
      watch.abort(cancelledBy('the collector'));
      await watching.catch(() => undefined);
      await roots.flush();
      const collected = await markAndSweep(
        this.deps,
        { rootFile, directory, floor: passed.floor, dryRun: options.dryRun },
        { signal: options.signal, onProgress: (progress) => options.onProgress?.(progress) },
      );
      return { ...collected, epoch, floor: passed.floor, heldBy: passed.heldBy };
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  }

  /** Everything in etcd at the revision of the raise. */
  async #existing(roots: RootFile, revision: number, wait: Wait): Promise<void> {
    const { meta } = this.deps;
    for await (const kv of meta.scan('', { signal: wait.signal, revision })) {
      await roots.add(kv.value);
    }
  }

  /** Waits until nobody needs what was read before the raise; then sets floor and barrier (G2). */
  async #pass(
    { epoch, from }: { readonly epoch: number; readonly from: number },
    jobs: JobEpochs,
    options: GcOptions,
  ): Promise<Passed> {
    const { meta, clock } = this.deps;
    const { signal, dryRun } = options;
    for (;;) {
      await jobs.load({ signal });
      let revision = 0;
      const result = await meta.transact<Omit<Passed, 'revision'> | readonly string[]>(
        async (t) => {
          t.requireCreated(RUN_KEY, from);
          const kvs = await t.range(SESSIONS);
          const sessions = kvs.map((kv) => JSON.parse(kv.value.toString()) as SessionRecord);
          const busy = sessions.filter(({ refs }) => refs < epoch).map(({ name }) => name);
          if (busy.length > 0) return busy;
          const running = await jobs.oldestIn(t);
          if (!running) return [];
          let floor = epoch;
          const heldBy: string[] = [];
          const lower = (to: number, who: string): void => {
            if (to >= epoch) return;
            floor = Math.min(floor, to);
            heldBy.push(who);
          };
          for (const session of sessions) lower(session.epoch, `uploads through ${session.name}`);
          for (const job of running) lower(job.epoch, `job ${job.pipeline}@${job.job}`);
          const record = await t.getJson<EpochRecord>(EPOCH_KEY);
          const passed = dryRun
            ? {}
            : { floor: Math.max(floor, record?.floor ?? 0), barrier: epoch };
          t.putJson(EPOCH_KEY, { ...record, epoch, ...passed } satisfies EpochRecord);
          t.afterCommit((at) => (revision = at));
          return { floor, heldBy };
        },
        { signal, label: 'garbage collection' },
      );
      if ('floor' in result) return { ...result, revision };
      if (result.length > 0) options.onProgress?.({ phase: 'wait', on: result });
      await clock.sleep(POLL_MS, { signal });
    }
  }
}

/**
 * An extract reads the store as of a revision before `from`, and a restore stores objects before
 * anything refers to them. Either may begin later on: an extract then reads what is marked or young,
 * and a restore refuses while a collection runs.
 */
async function refuseBeside(t: MetaTxn): Promise<void> {
  const [hold] = await t.rangeJson<{ what: string; since: number }>(HOLDS);
  if (hold) {
    const since = new Date(hold.since).toISOString();
    throw stateConflict(
      `an ${hold.what} reads the object store since ${since}: collect garbage when it has ended`,
    );
  }
  await checkNoRestore(t);
}

interface Passed {
  readonly floor: number;
  readonly heldBy: readonly string[];
  readonly revision: number;
}

/** Adds every value put after a revision to the roots. */
class Watched {
  #revision: number;
  #wanted: { readonly revision: number; readonly resolve: () => void } | undefined;

  constructor(
    readonly deps: Pick<CollectorDeps, 'meta' | 'clock' | 'log'>,
    readonly roots: RootFile,
    from: number,
  ) {
    this.#revision = from;
  }

  /** Ends only by the signal, or when history is gone from etcd. */
  async run({ signal }: Wait): Promise<never> {
    for (let failures = 0; ;) {
      try {
        for await (const batch of this.deps.meta.changes('', {
          from: this.#revision + 1,
          signal,
        })) {
          for (const { value } of batch.puts) await this.roots.add(value);
          this.#revision = batch.revision;
          failures = 0;
          this.#check();
        }
      } catch (error) {
        failures += 1;
        const gone = messageOf(error).includes('compacted');
        if (signal.aborted || codeOf(error) !== 'UNAVAILABLE' || gone || failures > 20) throw error;
        this.deps.log.debug({ reason: messageOf(error) }, 'watching again');
        await this.deps.clock.sleep(POLL_MS, { signal });
      }
    }
  }

  async reached(revision: number): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wanted = { revision, resolve };
      this.#check();
    });
  }

  #check(): void {
    if (this.#wanted && this.#revision >= this.#wanted.revision) this.#wanted.resolve();
  }
}
