/**
 * Versioning: repos, branches, commits. The facade that rpc handlers, pipelines and scheduling use.
 *
 * Every change exists as a step (`…In(t, …)`) that can be composed with others in one MetaTxn, and
 * most also as a use case that runs a transaction of its own. Whoever composes steps calls
 * `propagateIn(t)` once, at the end.
 */
import type { Clock } from '../../core/clock.js';
import { codeOf, invalidInput, wrap } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import { held, type RunRef, type Storage } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { Informer, Meta, MetaTxn } from '../meta/index.js';
import { createBranchIn, deleteBranchIn, type CreateBranchInput } from './branches.js';
import { CommitCache } from './commit-cache.js';
import {
  checkNewId,
  finishCommitIn,
  startCommitIn,
  type CommitContent,
  type StartCommitInput,
} from './commits.js';
import { deleteCommitIn } from './delete-commit.js';
import { deleteRepoPiecemeal } from './delete-repo.js';
import {
  commitTopic,
  flushCommits,
  repoTopic,
  subscribeCommits,
  waitFinished,
  waitReady,
  type SubscribeInput,
} from './follow.js';
import { fsck, type Finding } from './fsck.js';
import { IdSource } from './id-source.js';
import {
  commitDetails,
  downstream,
  inspectBranch,
  inspectRepo,
  listBranches,
  listRepos,
  type CommitDetails,
  type RepoDetails,
} from './info.js';
import { KeyedQueue } from './keyed-queue.js';
import { listCommits, type ListCommitsInput } from './list-commits.js';
import {
  branchKey,
  branchText,
  SPEC_REPO,
  type BranchName,
  type BranchRecord,
  type CommitName,
  type CommitRecord,
  type OpenRecord,
  type RepoRecord,
} from './model.js';
import { baseTree, checkReadable, OpenCommits, rootOf } from './open-commits.js';
import { propagateIn } from './propagate.js';
import { Records, resolveRef, type Resolved } from './records.js';
import type { CommitRef } from './refs.js';
import {
  createRepoIn,
  deleteAllReposIn,
  deleteRepoIn,
  ensureSpecRepoIn,
  type CreateRepoInput,
} from './repos.js';
import { Scope } from './scope.js';
import { staleSubvenance, sweepKeys } from './subvenance.js';
import { Wakeups } from './wakeups.js';
import {
  finishCommit,
  finishRefIn,
  oneShot,
  registerRuns,
  writeTarget,
  type FinishOptions,
  type OneShotOptions,
  type WriteDeps,
  type WriteTarget,
} from './write.js';

export interface VersioningDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly clock: Clock;
  readonly log: Log;
}

/** Opens versioning: makes the spec repo when it is missing and waits for the first listing. */
export async function openVersioning(deps: VersioningDeps, wait: Wait): Promise<Versioning> {
  const versioning = new Versioning(deps);
  try {
    await versioning.start(wait);
  } catch (error) {
    await versioning[Symbol.asyncDispose]();
    throw error;
  }
  return versioning;
}

export class Versioning implements AsyncDisposable {
  /** All open commits, and all branches, followed live; shared with whoever needs to watch. */
  readonly openCommits: Informer<OpenRecord>;
  readonly branches: Informer<BranchRecord>;
  readonly wakeups = new Wakeups();
  /** Part of every transaction that deletes commits: what others keep about them goes too. */
  whenDeletedIn: ((t: MetaTxn, commits: readonly CommitName[]) => Promise<void>) | undefined;
  readonly #generations: Informer<number>;
  readonly #deps: WriteDeps & { wakeups: Wakeups; log: Log };
  readonly #stops: (() => void)[] = [];

  constructor(deps: VersioningDeps) {
    this.#deps = {
      ...deps,
      cache: new CommitCache(),
      ids: new IdSource(deps.clock),
      opens: new OpenCommits(deps),
      queue: new KeyedQueue(),
      wakeups: this.wakeups,
      hint: (name) => this.branches.get(branchKey(name)),
    };
    const json = <T>(value: Buffer): T => JSON.parse(value.toString()) as T;
    this.openCommits = deps.meta.informer('open/', (value) => json<OpenRecord>(value));
    this.branches = deps.meta.informer('br/', (value) => json<BranchRecord>(value));
    this.#generations = deps.meta.informer('gen/', (_value, kv) => kv.modRevision);
  }

  /** Forgets every remembered record: the next reader sees what is there. */
  forgetAll(): void {
    this.#deps.cache.clear();
  }

  async start(wait: Wait): Promise<void> {
    this.#listen();
    await Promise.all([
      this.openCommits.ready(wait),
      this.branches.ready(wait),
      this.#generations.ready(wait),
      this.#transact(`repo ${SPEC_REPO}`, wait, ensureSpecRepoIn),
    ]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stop of this.#stops.splice(0)) stop();
    await this.#deps.opens[Symbol.asyncDispose]();
    const informers = [this.openCommits, this.branches, this.#generations];
    await Promise.all(informers.map((informer) => informer[Symbol.asyncDispose]()));
  }

  // ---- steps: compose them in one transaction, then propagateIn(t) once ----

  /** The typed view of a transaction, for reads between steps. */
  scope(t: MetaTxn): Scope {
    return Scope.of(t, this.#deps);
  }

  createRepoIn(t: MetaTxn, input: CreateRepoInput): Promise<RepoRecord> {
    return createRepoIn(this.scope(t), input);
  }

  deleteRepoIn(t: MetaTxn, repo: string, options: { force: boolean }): Promise<void> {
    return deleteRepoIn(this.scope(t), repo, options);
  }

  deleteAllReposIn(t: MetaTxn): Promise<void> {
    return deleteAllReposIn(this.scope(t));
  }

  createBranchIn(t: MetaTxn, input: CreateBranchInput): Promise<BranchRecord> {
    return createBranchIn(this.scope(t), input);
  }

  deleteBranchIn(t: MetaTxn, name: BranchName, options: { force: boolean }): Promise<void> {
    return deleteBranchIn(this.scope(t), name, options);
  }

  /** Starts a commit; with `content` it is finished at once. */
  startCommitIn(
    t: MetaTxn,
    input: StartCommitInput,
    content?: CommitContent,
  ): Promise<CommitRecord> {
    return startCommitIn(this.scope(t), input, content);
  }

  /** Finishes an open commit with ready content (of kind input or empty). */
  finishCommitIn(t: MetaTxn, commit: CommitName, content: CommitContent): Promise<CommitRecord> {
    return finishCommitIn(this.scope(t), commit, content);
  }

  /** Finishes an open commit with what was written to it, seen from within the transaction. */
  finishRefIn(t: MetaTxn, ref: CommitRef, options: FinishOptions & Wait): Promise<CommitRecord> {
    // Started and finished at once and on no branch, it shows in neither of the watched prefixes.
    t.afterCommit(() => this.wakeups.wake(repoTopic(ref.repo)));
    return finishRefIn(this.#deps, t, ref, options);
  }

  /**
   * Finishes the output commit of a job; without a root it is finished empty (failed, killed).
   * Branches that a trigger moves because of it are propagated here, as nothing else may follow.
   */
  async finishOutputIn(
    t: MetaTxn,
    commit: CommitName,
    output: { root?: DirNode; datums?: string },
  ): Promise<CommitRecord> {
    const { root, datums } = output;
    const scope = this.scope(t);
    const record = await finishCommitIn(scope, commit, {
      kind: root ? 'output' : 'empty',
      ...(root ? { root } : {}),
      ...(datums === undefined ? {} : { datums }),
    });
    await propagateIn(scope);
    return record;
  }

  /** Deletes the referenced commit with everything downstream. */
  async deleteCommitIn(t: MetaTxn, ref: CommitRef): Promise<CommitName[]> {
    const scope = this.scope(t);
    const { commit } = await resolveRef(scope, ref).catch((error: unknown) => {
      throw codeOf(error) === 'INTERNAL' ? error : wrap('resolveCommit', error);
    });
    const gone = await deleteCommitIn(scope, (await scope.commitForUpdate(commit)) ?? commit);
    await this.whenDeletedIn?.(t, gone);
    return gone;
  }

  /** Makes the automatic commits that follow from everything done in the transaction so far. */
  propagateIn(t: MetaTxn): Promise<CommitRecord[]> {
    return propagateIn(this.scope(t));
  }

  /** A new commit id, later than all this process gave before. */
  newId(): string {
    return this.#deps.ids.next();
  }

  // ---- use cases ----

  createRepo(input: CreateRepoInput, wait: Wait): Promise<RepoRecord> {
    return this.#transact(`repo ${input.name}`, wait, (scope) => createRepoIn(scope, input));
  }

  async deleteRepo(repo: string, options: { force: boolean }, wait: Wait): Promise<void> {
    if (repo === '') throw invalidInput('repo cannot be nil');
    await this.sweepAfter([repo], wait, () =>
      this.#transact(`repo ${repo}`, wait, (scope) => deleteRepoIn(scope, repo, options)),
    );
  }

  /** Deletes a repo of any size, in many transactions; may be repeated after a failure. */
  deleteRepoPiecemeal(repo: string, options: { force: boolean }, wait: Wait): Promise<void> {
    if (repo === '') throw invalidInput('repo cannot be nil');
    return deleteRepoPiecemeal(this.#deps, repo, options, wait);
  }

  /** Deletes every repo but the spec repo, in one transaction, as with force. */
  async deleteAllRepos(wait: Wait): Promise<void> {
    await this.#transact('delete all repos', wait, deleteAllReposIn);
  }

  /** Runs work that deletes repos, then removes what that leaves behind in others. */
  async sweepAfter<T>(repos: readonly string[], wait: Wait, work: () => Promise<T>): Promise<T> {
    const stale: string[] = [];
    for (const repo of repos) stale.push(...(await staleSubvenance(this.#deps.meta, repo, wait)));
    const answer = await work();
    await sweepKeys(this.#deps, stale, wait);
    return answer;
  }

  startCommit(input: StartCommitInput, wait: Wait): Promise<CommitRecord> {
    return this.#transact(`commits of ${input.repo}`, wait, async (scope) => {
      await checkNewId(scope, input);
      return startCommitIn(scope, input);
    });
  }

  /** Makes a commit that is finished at once, with the given content. */
  async buildCommit(
    input: StartCommitInput,
    content: CommitContent,
    wait: Wait,
  ): Promise<CommitRecord> {
    const record = await this.#transact(`commits of ${input.repo}`, wait, async (scope) => {
      await checkNewId(scope, input);
      return startCommitIn(scope, input, content);
    });
    // Made finished and on no branch, it shows in neither of the watched prefixes.
    this.wakeups.wake(repoTopic(record.repo));
    return record;
  }

  finishCommit(ref: CommitRef, options: FinishOptions, wait: Wait): Promise<CommitRecord> {
    return finishCommit(this.#deps, ref, options, wait);
  }

  deleteCommit(ref: CommitRef, wait: Wait): Promise<CommitName[]> {
    return this.#transact(`commits of ${ref.repo}`, wait, (scope) =>
      this.deleteCommitIn(scope.t, ref),
    );
  }

  createBranch(input: CreateBranchInput, wait: Wait): Promise<BranchRecord> {
    return this.#transact(`branch ${branchText(input)}`, wait, (scope) =>
      createBranchIn(scope, input),
    );
  }

  deleteBranch(name: BranchName, options: { force: boolean }, wait: Wait): Promise<void> {
    return this.#transact(`branch ${branchText(name)}`, wait, (scope) =>
      deleteBranchIn(scope, name, options),
    );
  }

  /** Registers runs in an open commit; repeating a request id has no effect. */
  registerRuns(
    commit: CommitRecord,
    runs: readonly RunRef[],
    requestId: string,
    wait: Wait,
  ): Promise<void> {
    return registerRuns(this.#deps, commit, runs, requestId, wait);
  }

  /** One finished commit on a branch, made of runs on top of its head. */
  oneShot(
    branch: BranchName,
    runs: readonly RunRef[],
    options: OneShotOptions,
  ): Promise<CommitRecord> {
    return oneShot(this.#deps, branch, runs, options);
  }

  /** Where a write to `repo@ref` goes; `needBranch`: what is missing is an error, not made. */
  writeTarget(
    ref: CommitRef,
    options: { readonly needBranch?: 'exists' | 'head' } & Wait,
  ): Promise<WriteTarget> {
    return writeTarget(this.#deps, ref, options);
  }

  // ---- reading ----

  /** The commit a reference means, and the branch it was named through. */
  resolve(ref: CommitRef, wait: Wait): Promise<Resolved> {
    return resolveRef(new Records(this.#deps, wait), ref);
  }

  async resolveCommit(ref: CommitRef, wait: Wait): Promise<CommitRecord> {
    return (await this.resolve(ref, wait)).commit;
  }

  /** A commit by its id; undefined when there is none. */
  commit(name: CommitName, wait: Wait): Promise<CommitRecord | undefined> {
    return new Records(this.#deps, wait).commit(name);
  }

  /** The commit and its ancestors, newest first. */
  ancestry(from: CommitRecord, wait: Wait): AsyncIterable<CommitRecord> {
    return new Records(this.#deps, wait).ancestry(from);
  }

  /**
   * The tree of a commit: of a finished one as stored (empty when it was finished without content),
   * of an open input commit with all that was written so far. Throws STATE_CONFLICT for an open
   * output commit, and the conflict texts of the tree.
   */
  async openTree(commit: CommitRecord, wait: Wait): Promise<DirNode> {
    const { opens, storage } = this.#deps;
    const stored = (record: CommitRecord): DirNode =>
      record.root === undefined ? storage.trees.empty : rootOf(record.root);
    if (commit.finished !== undefined) return stored(commit);
    checkReadable(commit);
    const snapshot = await opens.snapshot(commit, wait);
    const read = new Records(this.#deps, wait);
    if (!snapshot) {
      const now = await read.commit(commit);
      return now?.finished === undefined ? storage.trees.empty : stored(now);
    }
    const base = await baseTree(read, commit);
    return held(storage.epochs, 'writes', () => opens.build(commit, snapshot, base, wait));
  }

  inspectRepo(repo: string, wait: Wait): Promise<RepoDetails> {
    return inspectRepo(this.#deps, repo, wait);
  }

  listRepos(wait: Wait): Promise<RepoDetails[]> {
    return listRepos(this.#deps, wait);
  }

  inspectBranch(name: BranchName, wait: Wait): Promise<BranchRecord> {
    return inspectBranch(this.#deps, name, wait);
  }

  listBranches(repo: string, options: { reverse: boolean }, wait: Wait): Promise<BranchRecord[]> {
    return listBranches(this.#deps, repo, options, wait);
  }

  listCommits(input: ListCommitsInput, wait: Wait): AsyncIterable<CommitRecord> {
    return listCommits(this.#deps, input, wait);
  }

  /** Adds children and downstream commits to a record. */
  commitDetails(record: CommitRecord, wait: Wait): Promise<CommitDetails> {
    return commitDetails(this.#deps, record, wait);
  }

  /** Every commit that has this one in its provenance. */
  downstream(of: CommitName, wait: Wait): Promise<CommitRecord[]> {
    return downstream(this.#deps, of, wait);
  }

  /** Streams what is wrong with the records; with `fix`, mends what can be mended. */
  fsck(options: { fix: boolean }, wait: Wait): AsyncIterable<Finding> {
    return fsck(this.#deps, options, wait);
  }

  // ---- waiting ----

  waitFinished(commit: CommitName, wait: Wait): Promise<CommitRecord> {
    return waitFinished(this.#deps, commit, wait);
  }

  waitReady(commit: CommitRecord, wait: Wait): Promise<void> {
    return waitReady(this.#deps, commit, wait);
  }

  flushCommits(
    refs: readonly CommitRef[],
    toRepos: readonly string[],
    wait: Wait,
  ): AsyncIterable<CommitRecord> {
    return flushCommits(this.#deps, refs, toRepos, wait);
  }

  subscribeCommits(input: SubscribeInput, wait: Wait): AsyncIterable<CommitRecord> {
    return subscribeCommits(this.#deps, input, wait);
  }

  // ---- inside ----

  async #transact<T>(label: string, wait: Wait, work: (scope: Scope) => Promise<T>): Promise<T> {
    return this.#deps.meta.transact(
      async (t) => {
        const scope = this.scope(t);
        const answer = await work(scope);
        await propagateIn(scope);
        return answer;
      },
      { ...wait, label },
    );
  }

  #listen(): void {
    this.#stops.push(
      this.openCommits.subscribe((changes) => {
        if (changes.length === 0) this.wakeups.wakeAll();
        for (const { key, value } of changes) {
          const [, repo, id] = key.split('/') as [string, string, string];
          this.wakeups.wake(commitTopic({ repo, id }));
          this.wakeups.wake(repoTopic(repo));
          if (!value) this.#deps.opens.forget({ repo, id });
        }
      }),
      this.branches.subscribe((changes) => {
        if (changes.length === 0) this.wakeups.wakeAll();
        for (const { key } of changes) this.wakeups.wake(repoTopic(key.split('/')[1] as string));
      }),
      this.#generations.subscribe((changes) => {
        if (changes.length === 0) this.#deps.cache.clear();
        for (const { key } of changes) this.#deps.cache.dropRepo(key.slice('gen/'.length));
      }),
    );
  }
}
