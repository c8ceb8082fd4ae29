/**
 * One etcd transaction as versioning sees it: typed reads and writes, the list of touched branches
 * that propagation works on, and the ids of commits made.
 *
 * S1 Steps composed into one transaction share one Scope (found by the MetaTxn), so later steps see
 *    what earlier ones did, and propagation runs once over everything that was touched.
 * S2 What the cache answers is immutable; where a decision also needs the record to still exist,
 *    the step adds an existence compare (`needCommit`).
 * S3 What an earlier step deleted is gone for the later ones, whatever the cache remembers.
 */
import type { Clock } from '../../core/clock.js';
import { derivedId } from '../../core/ids.js';
import type { Meta, MetaTxn } from '../meta/index.js';
import type { CommitCache } from './commit-cache.js';
import type { IdSource } from './id-source.js';
import {
  branchKey,
  branchesPrefix,
  childKey,
  commitKey,
  generationKey,
  openKey,
  repoKey,
  SIZE_BRANCH,
  subvenanceKey,
  type BranchName,
  type BranchRecord,
  type CommitName,
  type CommitRecord,
  type OpenRecord,
  type ProvenanceEntry,
  type RepoRecord,
} from './model.js';
import type { RecordReader } from './records.js';
import { repoDeleted, repoNotFound } from './refs.js';

export interface ScopeDeps {
  readonly meta: Meta;
  readonly cache: CommitCache;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** A branch as last seen by the watch: good enough to guess what will be read, for no more. */
  readonly hint?: (name: BranchName) => BranchRecord | undefined;
}

/** Keys guessed at a time; one request carries 100. */
const WARM_MAX = 90;

const scopes = new WeakMap<MetaTxn, Scope>();

export class Scope implements RecordReader {
  /** Branches touched, in order of first touch. */
  readonly touched = new Map<string, BranchName>();
  /** The last touch was a new commit on the branch. */
  lastTouchWasCommit = false;
  readonly #staged = new Map<string, CommitRecord>();
  /** Commits, and repos with all their commits, that this transaction deletes: see S3. */
  readonly #dropped = new Set<string>();
  readonly #droppedRepos = new Set<string>();
  readonly #usedIds = new Set<string>();
  #origin: string | undefined;

  constructor(
    readonly t: MetaTxn,
    readonly deps: ScopeDeps,
  ) {}

  /** The scope of a transaction: always the same one (S1). */
  static of(t: MetaTxn, deps: ScopeDeps): Scope {
    let scope = scopes.get(t);
    if (!scope) {
      scope = new Scope(t, deps);
      scopes.set(t, scope);
    }
    return scope;
  }

  /**
   * Asks at once for all that a commit on the branch is likely to read, so that it travels in one
   * request. Reads nothing into the transaction's conditions.
   */
  warm(branch: BranchName): void {
    const { hint } = this.deps;
    const names = [branch, { repo: branch.repo, name: SIZE_BRANCH }];
    for (const below of hint?.(branch)?.subvenance ?? []) {
      names.push(below, ...(hint?.(below)?.provenance ?? []));
    }
    const keys = new Set([repoKey(branch.repo), ...names.slice(0, WARM_MAX).map(branchKey)]);
    // A failed read shows itself again when its value is needed.
    for (const key of keys) void this.t.peek(key).catch(() => undefined);
  }

  async repo(name: string): Promise<RepoRecord | undefined> {
    return this.t.getJson<RepoRecord>(repoKey(name));
  }

  /** The repo, alive; else NOT_FOUND or, while it is being deleted, STATE_CONFLICT. */
  async needRepo(name: string): Promise<RepoRecord> {
    const record = await this.repo(name);
    if (!record) throw repoNotFound(name);
    if (record.tombstone) throw repoDeleted(name);
    return record;
  }

  async branch(name: BranchName): Promise<BranchRecord | undefined> {
    return this.t.getJson<BranchRecord>(branchKey(name));
  }

  async branchesOf(repo: string): Promise<BranchRecord[]> {
    return this.t.rangeJson<BranchRecord>(branchesPrefix(repo));
  }

  putBranch(record: BranchRecord): void {
    this.t.putJson(branchKey(record), record);
  }

  async commit(name: CommitName): Promise<CommitRecord | undefined> {
    const key = commitKey(name);
    const staged = this.#staged.get(key);
    if (staged) return staged;
    return this.#remembered(name)?.finished(name) ?? (await this.#read(name));
  }

  /** As `commit`, and the transaction fails unless the commit still exists when it commits. */
  async needCommit(name: CommitName): Promise<CommitRecord | undefined> {
    const record = await this.commit(name);
    if (record && !this.#staged.has(commitKey(name))) this.t.requireExists(commitKey(name));
    return record;
  }

  /** The record itself, compared: for changing it. */
  async commitForUpdate(name: CommitName): Promise<CommitRecord | undefined> {
    return this.#staged.get(commitKey(name)) ?? (await this.#read(name));
  }

  /** Upstream commits of a commit; empty when its record is gone. Needs no compare (M1). */
  async provenanceOf(name: CommitName): Promise<readonly ProvenanceEntry[]> {
    const staged = this.#staged.get(commitKey(name));
    if (staged) return staged.provenance;
    const cached = this.#remembered(name)?.provenance(name);
    if (cached) return cached;
    const mark = this.deps.cache.mark(name.repo);
    const record = await this.t.peekJson<CommitRecord>(commitKey(name));
    if (record) this.deps.cache.remember(record, mark);
    return record?.provenance ?? [];
  }

  async *ancestry(from: CommitRecord): AsyncIterable<CommitRecord> {
    yield from;
    let current = from;
    while (current.parent !== undefined) {
      const parent = await this.commit({ repo: current.repo, id: current.parent });
      if (!parent) return;
      yield parent;
      current = parent;
    }
  }

  /** Changes a commit that exists. */
  putCommit(record: CommitRecord): void {
    const key = commitKey(record);
    this.#staged.set(key, record);
    this.t.putJson(key, record);
    const mark = this.deps.cache.mark(record.repo);
    this.t.afterCommit(() => {
      if (this.#staged.get(key) === record) this.deps.cache.remember(record, mark);
    });
  }

  /**
   * Writes a new commit with its index keys: parent link, reverse provenance (only to commits that
   * no other upstream commit leads to: the rest is found by walking), and the open key while it is
   * open.
   */
  async addCommit(record: CommitRecord): Promise<void> {
    this.t.requireAbsent(commitKey(record));
    this.#origin ??= record.id;
    this.putCommit(record);
    if (record.parent !== undefined) {
      this.t.put(childKey(record.repo, record.parent, record.id), '');
    }
    for (const up of await this.#nearest(record.provenance)) {
      this.t.put(subvenanceKey(up, record), '');
    }
    if (record.finished === undefined) {
      const open: OpenRecord = {
        repo: record.repo,
        id: record.id,
        ...(record.branch === undefined ? {} : { branch: record.branch }),
        provenance: record.provenance,
      };
      this.t.putJson(openKey(record), open);
    }
  }

  /** Forgets a commit that this transaction deletes. */
  dropCommit(name: CommitName): void {
    this.#staged.delete(commitKey(name));
    this.#dropped.add(commitKey(name));
    this.t.delete(commitKey(name));
  }

  /** Forgets every commit of a repo that this transaction deletes. */
  dropRepo(repo: string): void {
    for (const [key, record] of this.#staged) if (record.repo === repo) this.#staged.delete(key);
    this.#droppedRepos.add(repo);
    this.bumpGeneration(repo);
  }

  /** Tells every process that commits of the repo went away or got another parent (M2). */
  bumpGeneration(repo: string): void {
    this.t.putJson(generationKey(repo), { by: this.deps.ids.next() });
    this.t.afterCommit(() => this.deps.cache.dropRepo(repo));
  }

  /** Schedules propagation from a branch. */
  touch(branch: BranchName, what: 'commit' | 'move'): void {
    this.touched.set(branchKey(branch), { repo: branch.repo, name: branch.name });
    this.lastTouchWasCommit = what === 'commit';
  }

  /** The id of a commit that a person or job starts; the first one dates the transaction. */
  freshId(): string {
    const id = this.deps.ids.next();
    this.#origin ??= id;
    this.#usedIds.add(id);
    return id;
  }

  /** The id of the commit that propagation makes on a branch. */
  propagatedId(branch: BranchName): string {
    const origin = (this.#origin ??= this.deps.ids.next());
    const id = derivedId(origin, branch.repo, branch.name);
    if (!this.#usedIds.has(id)) {
      this.#usedIds.add(id);
      return id;
    }
    return this.freshId();
  }

  #remembered(name: CommitName): CommitCache | undefined {
    const gone = this.#droppedRepos.has(name.repo) || this.#dropped.has(commitKey(name));
    return gone ? undefined : this.deps.cache;
  }

  async #read(name: CommitName): Promise<CommitRecord | undefined> {
    const mark = this.deps.cache.mark(name.repo);
    const record = await this.t.getJson<CommitRecord>(commitKey(name));
    if (record?.finished !== undefined) this.deps.cache.remember(record, mark);
    return record;
  }

  /** Entries that are not upstream of another entry. */
  async #nearest(entries: readonly ProvenanceEntry[]): Promise<readonly CommitName[]> {
    const upstream = await Promise.all(entries.map((entry) => this.provenanceOf(entry)));
    const reached = new Set(upstream.flat().map(commitKey));
    const nearest = new Map<string, CommitName>();
    for (const entry of entries) {
      const key = commitKey(entry);
      if (!reached.has(key)) nearest.set(key, entry);
    }
    return [...nearest.values()];
  }
}
