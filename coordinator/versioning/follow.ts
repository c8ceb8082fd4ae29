/**
 * Waiting for commits: until one is finished or ready, everything downstream of some (flush), and
 * every commit of a repo as it comes (subscribe). All of it is driven by wake-ups, none by polling.
 */
import { codeOf, invalidInput } from '../../core/errors.js';
import type { Wait } from '../../storage/types.js';
import { downstream, type InfoDeps } from './info.js';
import { commitsByCreation } from './list-commits.js';
import { commitKey, type BranchName, type CommitName, type CommitRecord } from './model.js';
import { Records, resolveRef } from './records.js';
import { commitDeleted, type CommitRef } from './refs.js';
import { toRanges } from './subvenance.js';
import type { Wakeups } from './wakeups.js';

export interface FollowDeps extends InfoDeps {
  readonly wakeups: Wakeups;
}

/** As on the wire. */
export type CommitStateName = 'STARTED' | 'READY' | 'FINISHED';

export const commitTopic = (name: CommitName): string => `commit ${commitKey(name)}`;
export const repoTopic = (repo: string): string => `repo ${repo}`;

/** Waits until the commit is finished. Throws NOT_FOUND (`… was deleted`) when it goes away. */
export async function waitFinished(
  deps: FollowDeps,
  name: CommitName,
  wait: Wait,
): Promise<CommitRecord> {
  const read = new Records(deps, wait);
  return deps.wakeups.until(
    commitTopic(name),
    async () => {
      const record = await read.commit(name);
      if (!record) throw commitDeleted(name);
      return record.finished === undefined ? undefined : record;
    },
    wait,
  );
}

/** Waits until every upstream commit is finished; upstream commits that went away do not count. */
export async function waitReady(deps: FollowDeps, commit: CommitRecord, wait: Wait): Promise<void> {
  for (const up of commit.provenance) await waitOrGone(deps, up, wait);
}

/** Waits until the commit is in a state; answers its record as it is then. */
export async function waitState(
  deps: FollowDeps,
  commit: CommitRecord,
  state: CommitStateName,
  wait: Wait,
): Promise<CommitRecord> {
  if (state === 'FINISHED') return waitFinished(deps, commit, wait);
  if (state === 'READY') await waitReady(deps, commit, wait);
  return commit;
}

async function waitOrGone(
  deps: FollowDeps,
  name: CommitName,
  wait: Wait,
): Promise<CommitRecord | undefined> {
  try {
    return await waitFinished(deps, name, wait);
  } catch (error) {
    if (wait.signal.aborted || codeOf(error) !== 'NOT_FOUND') throw error;
    return undefined;
  }
}

/**
 * Streams the commits downstream of all given ones as they finish (with or without content), those
 * with the least behind them first, then
 * waits for the given ones themselves. `toRepos`, when not empty, limits what is streamed.
 */
export async function* flushCommits(
  deps: FollowDeps,
  refs: readonly CommitRef[],
  toRepos: readonly string[],
  wait: Wait,
): AsyncGenerator<CommitRecord> {
  if (refs.length === 0) throw invalidInput('fromCommits cannot be empty');
  const read = new Records(deps, wait);
  const starts: CommitRecord[] = [];
  for (const ref of refs) starts.push((await resolveRef(read, ref)).commit);
  const wanted = (commit: CommitRecord): boolean =>
    toRepos.length === 0 || toRepos.includes(commit.repo);

  const uppers = await Promise.all(starts.map((start) => upperEnds(deps, start, wait)));
  const common = [...(uppers[0]?.values() ?? [])].filter((commit) =>
    uppers.every((ends) => ends.has(commitKey(commit))),
  );
  const seen = new Set(common.map(commitKey));
  // Who waits for the last step of a chain first says nothing about those before it.
  const queue = common.filter(wanted).sort((a, b) => a.provenance.length - b.provenance.length);
  for (let next = queue.shift(); next; next = queue.shift()) {
    const finished = await waitOrGone(deps, next, wait);
    if (!finished) continue;
    yield finished;
    for (const [key, commit] of await upperEnds(deps, finished, wait)) {
      if (seen.has(key)) continue;
      seen.add(key);
      if (wanted(commit)) queue.push(commit);
    }
  }
  for (const start of starts) await waitOrGone(deps, start, wait);
}

async function upperEnds(
  deps: FollowDeps,
  of: CommitName,
  wait: Wait,
): Promise<Map<string, CommitRecord>> {
  const ranges = toRanges(await downstream(deps, of, wait));
  return new Map(ranges.map(({ upper }) => [commitKey(upper), upper]));
}

export interface SubscribeInput {
  readonly repo: string;
  /** Empty: every branch. */
  readonly branch?: string;
  /** Must be one of the commit's provenance entries, exactly. */
  readonly provenance?: { readonly commit: CommitName; readonly branch: BranchName };
  /** The commit with exactly this id is left out. */
  readonly from?: string;
  readonly state: CommitStateName;
}

/**
 * Endless: every commit of the repo that passes the filters, in order of creation, each once it has
 * reached the state. Ends only on cancel, or with NOT_FOUND when a commit that is waited for is
 * deleted.
 */
export async function* subscribeCommits(
  deps: FollowDeps,
  input: SubscribeInput,
  wait: Wait,
): AsyncGenerator<CommitRecord> {
  const read = new Records(deps, wait);
  let after = 0;
  for (;;) {
    const fresh = await deps.wakeups.until(
      repoTopic(input.repo),
      async () => {
        const names = await commitsByCreation(deps, input.repo, { ...wait, after });
        return names.length > 0 ? names : undefined;
      },
      wait,
    );
    for (const name of fresh) {
      after = Math.max(after, name.created);
      const commit = await read.commit(name);
      if (commit && passes(commit, input)) yield await waitState(deps, commit, input.state, wait);
    }
  }
}

function passes(commit: CommitRecord, input: SubscribeInput): boolean {
  if (commit.branch === 'stats') return false;
  if (input.branch && commit.branch !== undefined && commit.branch !== input.branch) return false;
  if (input.from && commit.id === input.from) return false;
  const { provenance } = input;
  if (!provenance) return true;
  return commit.provenance.some(
    (p) =>
      p.repo === provenance.commit.repo &&
      p.id === provenance.commit.id &&
      p.repo === provenance.branch.repo &&
      p.branch === provenance.branch.name,
  );
}
