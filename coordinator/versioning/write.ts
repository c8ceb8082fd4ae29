/**
 * Writing content: finishing an open commit, and one-shot commits that are started and finished in
 * one transaction.
 *
 * W1 Trees are built outside of the transaction that shows them; that transaction compares what
 *    they were built from (open key, registered runs; or the branch with its head).
 * W2 Two finishers of one commit: one wins, the other hears that it is finished already.
 * W3 One-shots on one branch queue up in this process, first come first served, so that they do
 *    not defeat each other; against other processes the transaction's compares decide.
 */
import { invalidInput, stateConflict } from '../../core/errors.js';
import { ordinalOf } from '../../core/ids.js';
import { held, type RunRef, type Storage } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import type { Meta, MetaTxn } from '../meta/index.js';
import { finishCommitIn, startCommitIn, type CommitContent } from './commits.js';
import type { KeyedQueue } from './keyed-queue.js';
import {
  branchKey,
  commitKey,
  isOutputBranch,
  openKey,
  runsPrefix,
  type BranchName,
  type CommitName,
  type CommitRecord,
} from './model.js';
import { baseTree, notOpen, type OpenCommits, type OpenSnapshot } from './open-commits.js';
import { propagateIn } from './propagate.js';
import { Records, resolveRef } from './records.js';
import {
  alreadyFinished,
  branchNotFound,
  checkBranchName,
  parseRef,
  repoNotFound,
  type CommitRef,
} from './refs.js';
import { Scope, type ScopeDeps } from './scope.js';

export interface WriteDeps extends ScopeDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly opens: OpenCommits;
  readonly queue: KeyedQueue;
}

export interface FinishOptions {
  readonly description?: string;
  /** Finish without any content (a failed or killed job). */
  readonly empty?: boolean;
}

/** Where writes to a reference go. */
export type WriteTarget =
  | { readonly kind: 'open'; readonly commit: CommitRecord }
  | { readonly kind: 'branch'; readonly branch: BranchName };

/**
 * Finishes an open commit with what was written to it. Throws NOT_FOUND, STATE_CONFLICT (finished
 * already) or the conflict texts of the tree, and then the commit stays open.
 */
export async function finishCommit(
  deps: WriteDeps,
  ref: CommitRef,
  options: FinishOptions,
  wait: Wait,
): Promise<CommitRecord> {
  const read = new Records(deps, wait);
  const { commit } = await resolveRef(read, ref);
  if (commit.finished !== undefined) throw alreadyFinished(commit);
  const withRuns = (): Promise<CommitRecord> => finishWithRuns(deps, read, commit, options, wait);
  const finished = options.empty
    ? await deps.meta.transact(
        async (t) => finishIn(deps, t, commit, { kind: 'empty', ...describe(options) }),
        { ...wait, label: `finish ${commitKey(commit)}` },
      )
    : await held(deps.storage.epochs, 'refs', withRuns);
  deps.opens.forget(commit);
  return finished;
}

async function finishWithRuns(
  deps: WriteDeps,
  read: Records,
  commit: CommitRecord,
  options: FinishOptions,
  wait: Wait,
): Promise<CommitRecord> {
  const base = await baseTree(read, commit);
  // Registrations of this process wait while a second or later try is under way, so that a
  // steady stream of writes can not keep the commit open for ever.
  for (let attempt = 1; ; attempt += 1) {
    const finish = async (): Promise<CommitRecord | undefined> => {
      const snapshot = await deps.opens.snapshot(commit, wait);
      if (!snapshot) throw await whyNotOpen(read, commit);
      const root = await deps.opens.build(commit, snapshot, base, wait);
      return deps.meta.transact(
        async (t) => {
          if (!(await isCurrent(t, commit, snapshot))) return undefined;
          return finishIn(deps, t, commit, { kind: 'input', root, ...describe(options) });
        },
        { ...wait, label: `finish ${commitKey(commit)}` },
      );
    };
    const done =
      attempt === 1 ? await finish() : await deps.queue.run(commitKey(commit), wait, finish);
    if (done) return done;
  }
}

/** The commit holds exactly what the snapshot says; the transaction fails if that changes. */
async function isCurrent(t: MetaTxn, commit: CommitName, snapshot: OpenSnapshot): Promise<boolean> {
  const [open, keys] = await Promise.all([t.get(openKey(commit)), t.keys(runsPrefix(commit))]);
  if (!open) throw alreadyFinished(commit);
  const same = new Set(snapshot.keys);
  return (
    open.modRevision === snapshot.modRevision &&
    keys.length === same.size &&
    keys.every((key) => same.has(key))
  );
}

async function finishIn(
  deps: WriteDeps,
  t: MetaTxn,
  commit: CommitName,
  content: CommitContent,
): Promise<CommitRecord> {
  const scope = Scope.of(t, deps);
  const record = await finishCommitIn(scope, commit, content);
  await propagateIn(scope);
  return record;
}

/**
 * Finishes a commit as one step of a larger transaction. That transaction depends on everything
 * written to the commit; a commit which the same transaction started holds what its parent holds.
 * Errors as of `finishCommit`.
 */
export async function finishRefIn(
  deps: WriteDeps,
  t: MetaTxn,
  ref: CommitRef,
  options: FinishOptions & Wait,
): Promise<CommitRecord> {
  const scope = Scope.of(t, deps);
  const { commit } = await resolveRef(scope, ref);
  if (commit.finished !== undefined) throw alreadyFinished(commit);
  t.afterCommit(() => deps.opens.forget(commit));
  if (options.empty) return finishCommitIn(scope, commit, { kind: 'empty', ...describe(options) });
  const snapshot = await deps.opens.snapshotIn(t, commit);
  if (!snapshot) throw notOpen(commit);
  const base = await baseTree(scope, commit);
  const root = await deps.opens.build(commit, snapshot, base, { signal: options.signal });
  return finishCommitIn(scope, commit, { kind: 'input', root, ...describe(options) });
}

async function whyNotOpen(read: Records, commit: CommitName): Promise<Error> {
  const now = await read.commit(commit);
  return now?.finished === undefined ? notOpen(commit) : alreadyFinished(commit);
}

function describe(options: { description?: string }): { description?: string } {
  return options.description ? { description: options.description } : {};
}

/** Registers runs in an open commit, behind a finisher that has had to try again. */
export async function registerRuns(
  deps: WriteDeps,
  commit: CommitRecord,
  runs: readonly RunRef[],
  requestId: string,
  wait: Wait,
): Promise<void> {
  await deps.queue.settled(commitKey(commit), wait);
  await deps.opens.register(commit, runs, requestId, wait);
  deps.opens.noteRegistered(commit, (own) => baseTree(new Records(deps, own), commit));
}

export interface OneShotOptions extends Wait {
  readonly description?: string;
  /** More that the transaction depends on or does: it sees the tree that the runs apply to. */
  readonly guardIn?: (
    t: MetaTxn,
    made: { readonly id: string; readonly base: DirNode | undefined },
  ) => Promise<void>;
}

/**
 * Makes one finished commit on a branch out of runs, on top of its head. Creates the branch when it
 * is not there. Throws as StartCommit does, and the conflict texts of the tree.
 */
export async function oneShot(
  deps: WriteDeps,
  branch: BranchName,
  runs: readonly RunRef[],
  options: OneShotOptions,
): Promise<CommitRecord> {
  const wait = { signal: options.signal };
  checkBranchName(branch.name);
  const make = async (): Promise<CommitRecord> => {
    const id = deps.ids.next();
    let built: { base: string; root: DirNode } | undefined;
    return deps.meta.transact(
      async (t) => {
        const scope = Scope.of(t, deps);
        scope.warm(branch);
        const current = await scope.branch(branch);
        const base = await oneShotBase(scope, branch, current?.head);
        await options.guardIn?.(t, { id, base });
        const basis = base?.hash.toString('hex') ?? '';
        if (built?.base !== basis) {
          const apply = { ...wait, ordinal: ordinalOf(id), mode: 'put' as const };
          const root = await deps.storage.trees.apply(base, runs, apply);
          built = { base: basis, root };
        }
        const made = await startCommitIn(
          scope,
          { repo: branch.repo, branch: branch.name, id, ...describe(options) },
          { kind: 'input', root: built.root },
        );
        await propagateIn(scope);
        return made;
      },
      { ...wait, label: `one-shot ${branchKey(branch)}` },
    );
  };
  return deps.queue.run(branchKey(branch), wait, () => held(deps.storage.epochs, 'refs', make));
}

async function oneShotBase(
  scope: Scope,
  branch: BranchName,
  head: string | undefined,
): Promise<DirNode | undefined> {
  if (head === undefined) return undefined;
  const record = await scope.commit({ repo: branch.repo, id: head });
  if (record && record.finished === undefined) {
    throw stateConflict(`parent commit ${branch.repo}@${head} has not been finished`, {
      fields: { repo: branch.repo, commit: head },
    });
  }
  return baseTree(scope, { repo: branch.repo, parent: head });
}

/**
 * Decides where a write to `repo@ref` goes: into an open commit, or into a new commit on a branch.
 * `needBranch`: a branch that is missing or has no head is an error (deletes), not a new one.
 */
export async function writeTarget(
  deps: WriteDeps,
  ref: CommitRef,
  options: { readonly needBranch?: 'exists' | 'head' } & Wait,
): Promise<WriteTarget> {
  const read = new Records(deps, { signal: options.signal });
  if (ref.repo === '') throw invalidInput('cannot resolve commit with no repo');
  if (ref.id === '') throw invalidInput('cannot resolve commit with no ID or branch');
  const parsed = parseRef(ref.id);
  const plain = parsed.base === ref.id;
  if (parsed.isId || !plain || options.needBranch === 'head') {
    const { commit } = await resolveRef(read, ref);
    if (commit.finished === undefined) return { kind: 'open', commit };
    if (parsed.isId) throw alreadyFinished(commit);
  }
  const branch = { repo: ref.repo, name: ref.id };
  checkBranchName(branch.name);
  const [repo, record] = await Promise.all([read.repo(ref.repo), read.branch(branch)]);
  if (!repo) throw repoNotFound(ref.repo);
  if (!record && options.needBranch) throw branchNotFound(branch);
  if (record?.head !== undefined) {
    const head = await read.commit({ repo: ref.repo, id: record.head });
    if (head && head.finished === undefined) return { kind: 'open', commit: head };
  }
  if (record && isOutputBranch(record)) {
    throw stateConflict('cannot start a commit on an output branch', { fields: { ...branch } });
  }
  return { kind: 'branch', branch };
}
