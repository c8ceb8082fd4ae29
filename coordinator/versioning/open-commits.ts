/**
 * Open commits: the runs registered in them, and the tree they would have if finished now.
 *
 * O1 The order of effect is the create revision of the `dl/` keys; a key holds the runs of one call
 *    in their order.
 * O2 A run can only be registered while `open/` exists, in the same transaction that checks it.
 * O3 A checkpoint is a tree built from a prefix of the runs; it replaces exactly those `dl/` keys,
 *    so the tree of an open commit is always `checkpoint + remaining runs`.
 * Trees built for reading are remembered, so that reading after each of n puts costs n small steps.
 */
import { codeOf, notFound, stateConflict } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { cancelledBy } from '../../core/signals.js';
import { ordinalOf } from '../../core/ids.js';
import {
  decodeNode,
  encodeNode,
  held,
  runFromText,
  runToText,
  type RunRef,
  type Storage,
} from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { KV, Meta, MetaTxn } from '../meta/index.js';
import {
  commitKey,
  isOutputCommit,
  openKey,
  runsKey,
  runsPrefix,
  type CommitName,
  type CommitRecord,
  type OpenRecord,
  type RunsRecord,
} from './model.js';
import type { RecordReader } from './records.js';

/** What is in an open commit at one moment. */
export interface OpenSnapshot {
  readonly open: OpenRecord;
  /** Of the open key; changes with every checkpoint. */
  readonly modRevision: number;
  /** Names of the `dl/` keys, in order of effect. */
  readonly keys: readonly string[];
  readonly runs: readonly RunRef[];
  /** Number of runs of each key. */
  readonly counts: readonly number[];
}

interface Built {
  /** Its pages are nobody's yet: when the garbage-collection epoch moves on they may go. */
  readonly epoch: number;
  readonly modRevision: number;
  readonly lastKey: string;
  readonly keys: number;
  readonly tree: DirNode;
}

/** Reads the tree an open commit started from. */
export type BaseReader = (wait: Wait) => Promise<DirNode | undefined>;

interface Deps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly log: Log;
}

/** Calls registered in one open commit before their runs are built into a checkpoint. */
const CHECKPOINT_AFTER = 64;
/** Runs merged at a time: bounds open readers and memory. */
const BATCH = 64;
const BUILT_MAX = 256;

export class OpenCommits implements AsyncDisposable {
  readonly #built = new Map<string, Built>();
  readonly #counts = new Map<string, number>();
  readonly #checkpoints = new Map<string, Promise<void>>();
  readonly #stop = new AbortController();

  constructor(readonly deps: Deps) {}

  /**
   * Registers the runs of one call in an open commit. Repeating a request id has no effect. Throws
   * NOT_FOUND when the commit is no longer open.
   */
  async register(
    commit: CommitName,
    runs: readonly RunRef[],
    requestId: string,
    wait: Wait,
  ): Promise<void> {
    if (runs.length === 0) return;
    const value: RunsRecord = { runs: runs.map(runToText) };
    await this.deps.meta.transact(
      async (t) => {
        const key = runsKey(commit, requestId);
        if (await t.get(key)) return;
        if (!(await t.peek(openKey(commit)))) throw notOpen(commit);
        t.requireExists(openKey(commit));
        t.putJson(key, value);
      },
      { ...wait, label: `register ${runsKey(commit, requestId)}` },
    );
  }

  /** Reads an open commit at one revision; undefined when it is not open. */
  async snapshot(commit: CommitName, wait: Wait): Promise<OpenSnapshot | undefined> {
    const { meta } = this.deps;
    const { kvs: opens, revision } = await meta.range(openKey(commit), wait);
    const [open] = opens;
    if (!open) return undefined;
    const { kvs } = await meta.range(runsPrefix(commit), { ...wait, revision });
    return toSnapshot(open, kvs);
  }

  /** As `snapshot`, of what a transaction sees; the transaction then depends on all of it. */
  async snapshotIn(t: MetaTxn, commit: CommitName): Promise<OpenSnapshot | undefined> {
    const [open, kvs] = await Promise.all([t.get(openKey(commit)), t.range(runsPrefix(commit))]);
    return open && toSnapshot(open, kvs);
  }

  /**
   * The tree an open commit has with its runs so far. `base` is the tree it started from. Throws
   * the conflict texts of the v1 API when the runs do not fit together.
   */
  async build(
    commit: CommitName,
    snapshot: OpenSnapshot,
    base: DirNode | undefined,
    wait: Wait,
  ): Promise<DirNode> {
    const { trees, epoch } = this.deps.storage;
    const known = this.#built.get(commitKey(commit));
    const usable =
      known &&
      known.epoch === epoch &&
      known.modRevision === snapshot.modRevision &&
      snapshot.keys[known.keys - 1] === known.lastKey
        ? known
        : undefined;
    const start =
      usable?.tree ?? (snapshot.open.checkpoint ? rootOf(snapshot.open.checkpoint.root) : base);
    const skip = snapshot.counts.slice(0, usable?.keys ?? 0).reduce((sum, n) => sum + n, 0);
    const tree = await this.#apply(start, snapshot.runs.slice(skip), ordinalOf(commit.id), wait);
    const built = tree ?? trees.empty;
    const lastKey = snapshot.keys[snapshot.keys.length - 1];
    if (lastKey !== undefined) {
      this.#built.delete(commitKey(commit));
      this.#built.set(commitKey(commit), {
        epoch,
        modRevision: snapshot.modRevision,
        lastKey,
        keys: snapshot.keys.length,
        tree: built,
      });
      const oldest = this.#built.keys().next().value;
      if (this.#built.size > BUILT_MAX && oldest !== undefined) this.#built.delete(oldest);
    }
    return built;
  }

  /**
   * Applies runs in batches. A conflict may be undone by a later run, so a batch that fails is
   * tried again together with all that follows; only then is the conflict real.
   */
  async #apply(
    base: DirNode | undefined,
    runs: readonly RunRef[],
    ordinal: number,
    wait: Wait,
  ): Promise<DirNode | undefined> {
    const { trees } = this.deps.storage;
    let tree = base;
    for (let at = 0; at < runs.length; at += BATCH) {
      const rest = runs.slice(at);
      const batch = rest.slice(0, BATCH);
      try {
        tree = await trees.apply(tree, batch, { ...wait, ordinal, mode: 'put' });
      } catch (error) {
        const final = batch.length === rest.length || !isConflict(error);
        if (final) throw error;
        return trees.apply(tree, rest, { ...wait, ordinal, mode: 'put' });
      }
    }
    return tree;
  }

  /** Counts a registered call; every so often builds a checkpoint in the background. */
  noteRegistered(commit: CommitName, base: BaseReader): void {
    const key = commitKey(commit);
    const count = (this.#counts.get(key) ?? 0) + 1;
    this.#counts.delete(key);
    if (count < CHECKPOINT_AFTER) {
      this.#counts.set(key, count);
      const oldest = this.#counts.keys().next().value;
      if (this.#counts.size > BUILT_MAX && oldest !== undefined) this.#counts.delete(oldest);
      return;
    }
    if (this.#checkpoints.has(key)) return;
    const work = this.checkpoint(commit, base, { signal: this.#stop.signal })
      .catch((error: unknown) => {
        // Not needed for anything but speed: finishing builds what is missing.
        this.deps.log.debug({ err: error, ...commit }, 'checkpoint not made');
      })
      .finally(() => this.#checkpoints.delete(key));
    this.#checkpoints.set(key, work);
  }

  /** Builds all registered runs into a checkpoint (O3). */
  async checkpoint(commit: CommitName, base: BaseReader, wait: Wait): Promise<void> {
    const { epochs } = this.deps.storage;
    await held(epochs, 'refs', () => this.#makeCheckpoint(commit, base, wait));
  }

  async #makeCheckpoint(commit: CommitName, base: BaseReader, wait: Wait): Promise<void> {
    const snapshot = await this.snapshot(commit, wait);
    if (!snapshot || snapshot.keys.length === 0) return;
    const tree = await this.build(commit, snapshot, await base(wait), wait);
    await this.deps.meta.transact(
      async (t) => {
        const open = await t.get(openKey(commit));
        if (!open || open.modRevision !== snapshot.modRevision) return;
        const record: OpenRecord = {
          ...snapshot.open,
          checkpoint: {
            root: encodeNode(tree).toString('base64'),
            runs: (snapshot.open.checkpoint?.runs ?? 0) + snapshot.runs.length,
          },
        };
        t.putJson(openKey(commit), record);
        for (const key of snapshot.keys) t.delete(key);
      },
      { ...wait, label: `checkpoint ${commitKey(commit)}` },
    );
  }

  /** Forgets what is remembered about a commit that is no longer open. */
  forget(commit: CommitName): void {
    this.#built.delete(commitKey(commit));
    this.#counts.delete(commitKey(commit));
  }

  /** Stops background checkpoints and waits for their end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort(cancelledBy('the end of versioning'));
    await Promise.all(this.#checkpoints.values());
  }
}

function toSnapshot(open: KV, kvs: KV[]): OpenSnapshot {
  kvs.sort((a, b) => a.createRevision - b.createRevision);
  const records = kvs.map((kv) => JSON.parse(kv.value.toString()) as RunsRecord);
  return {
    open: JSON.parse(open.value.toString()) as OpenRecord,
    modRevision: open.modRevision,
    keys: kvs.map((kv) => kv.key),
    runs: records.flatMap((record) => record.runs.map(runFromText)),
    counts: records.map((record) => record.runs.length),
  };
}

/** The root directory of a base64 text from a record. */
export function rootOf(text: string): DirNode {
  return decodeNode(Buffer.from(text, 'base64')) as DirNode;
}

/**
 * The tree below a commit's own changes: that of the nearest ancestor which has one (ancestors
 * finished empty are skipped). Throws STATE_CONFLICT when an open ancestor is in the way.
 */
export async function baseTree(
  read: RecordReader,
  commit: Pick<CommitRecord, 'repo' | 'parent'>,
): Promise<DirNode | undefined> {
  if (commit.parent === undefined) return undefined;
  const parent = await read.commit({ repo: commit.repo, id: commit.parent });
  if (!parent) return undefined;
  for await (const ancestor of read.ancestry(parent)) {
    if (ancestor.root !== undefined) return rootOf(ancestor.root);
    if (ancestor.finished === undefined) {
      throw stateConflict('cannot read from an open commit', {
        fields: { repo: ancestor.repo, commit: ancestor.id },
      });
    }
  }
  return undefined;
}

/** Throws unless files of the commit can be read: those of a job only once it is finished. */
export function checkReadable(commit: CommitRecord): void {
  if (commit.finished === undefined && isOutputCommit(commit)) {
    throw stateConflict(`output commit ${commit.id} not finished`, {
      fields: { repo: commit.repo, commit: commit.id },
    });
  }
}

export function notOpen(commit: CommitName): Error {
  return notFound(`/pachyderm_pfs/openCommits/ ${commit.id} not found`, {
    fields: { repo: commit.repo, commit: commit.id },
  });
}

function isConflict(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'INVALID_INPUT' || code === 'STATE_CONFLICT' || code === 'ALREADY_EXISTS';
}
