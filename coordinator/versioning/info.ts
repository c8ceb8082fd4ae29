/** What clients are told about repos, branches and commits: records plus what is derived. */
import type { Wait } from '../../storage/types.js';
import type { KV, Meta } from '../meta/index.js';
import type { CommitCache } from './commit-cache.js';
import {
  branchesPrefix,
  childrenPrefix,
  SIZE_BRANCH,
  SPEC_REPO,
  type BranchName,
  type BranchRecord,
  type CommitName,
  type CommitRecord,
  type RepoRecord,
} from './model.js';
import { Records } from './records.js';
import { branchNotFound } from './refs.js';
import { downstreamNames, listKeys, toRanges, type CommitRange } from './subvenance.js';

export interface InfoDeps {
  readonly meta: Meta;
  readonly cache: CommitCache;
}

export interface RepoDetails extends RepoRecord {
  readonly branches: readonly string[];
  /** Bytes in the finished head of `master`. */
  readonly size: number;
}

export interface CommitDetails extends CommitRecord {
  /** Ids of children, in order of creation. */
  readonly children: readonly string[];
  readonly subvenance: readonly CommitRange[];
  /** Downstream commits that finished, with and without content. */
  readonly succeeded: number;
  readonly failed: number;
}

/** The repo; NOT_FOUND when it is missing. */
export async function inspectRepo(deps: InfoDeps, name: string, wait: Wait): Promise<RepoDetails> {
  const read = new Records(deps, wait);
  const [record, branches] = await Promise.all([
    read.needRepo(name),
    collect<BranchRecord>(deps.meta, branchesPrefix(name), wait),
  ]);
  return repoDetails(
    record,
    branches.map(({ value }) => value),
  );
}

/** All repos but the spec repo, newest created first. */
export async function listRepos(deps: InfoDeps, wait: Wait): Promise<RepoDetails[]> {
  const [repos, branches] = await Promise.all([
    collect<RepoRecord>(deps.meta, 'repo/', wait),
    collect<BranchRecord>(deps.meta, 'br/', wait),
  ]);
  const byRepo = new Map<string, BranchRecord[]>();
  for (const { value } of branches) {
    const list = byRepo.get(value.repo) ?? [];
    list.push(value);
    byRepo.set(value.repo, list);
  }
  return (
    repos
      .filter(({ value }) => value.name !== SPEC_REPO)
      // Those of a restored cluster were all made at once; they keep the order they had.
      .sort(
        (a, b) =>
          b.created - a.created ||
          b.value.created - a.value.created ||
          (a.value.name < b.value.name ? -1 : 1),
      )
      .map(({ value }) => repoDetails(value, byRepo.get(value.name) ?? []))
  );
}

function repoDetails(record: RepoRecord, branches: readonly BranchRecord[]): RepoDetails {
  return {
    ...record,
    branches: branches.map((branch) => branch.name),
    size: branches.find((branch) => branch.name === SIZE_BRANCH)?.size ?? 0,
  };
}

export async function inspectBranch(
  deps: InfoDeps,
  name: BranchName,
  wait: Wait,
): Promise<BranchRecord> {
  const record = await new Records(deps, wait).branch(name);
  if (!record) throw branchNotFound(name);
  return record;
}

/**
 * Branches of a repo, or of all repos when the name is empty: newest created first, of one
 * transaction the ones with less provenance first; `reverse` turns both around.
 */
export async function listBranches(
  deps: InfoDeps,
  repo: string,
  options: { reverse: boolean },
  wait: Wait,
): Promise<BranchRecord[]> {
  if (repo !== '') await new Records(deps, wait).needRepo(repo);
  const branches = await collect<BranchRecord>(
    deps.meta,
    repo === '' ? 'br/' : branchesPrefix(repo),
    wait,
  );
  const sign = options.reverse ? -1 : 1;
  return branches
    .sort(
      (a, b) =>
        sign * (b.created - a.created || a.value.provenance.length - b.value.provenance.length),
    )
    .map(({ value }) => value);
}

/** A commit with its children and everything downstream. */
export async function commitDetails(
  deps: InfoDeps,
  record: CommitRecord,
  wait: Wait,
): Promise<CommitDetails> {
  const [children, down] = await Promise.all([
    childrenOf(deps, record, wait),
    downstream(deps, record, wait),
  ]);
  return {
    ...record,
    children,
    subvenance: toRanges(down),
    succeeded: down.filter((c) => c.finished !== undefined && c.kind !== 'empty').length,
    failed: down.filter((c) => c.finished !== undefined && c.kind === 'empty').length,
  };
}

/** Records of all commits that have this one in their provenance. */
export async function downstream(
  deps: InfoDeps,
  of: CommitName,
  wait: Wait,
): Promise<CommitRecord[]> {
  const read = new Records(deps, wait);
  const names = await downstreamNames(listKeys(deps.meta, wait), of);
  const records = await Promise.all(names.map((name) => read.commit(name)));
  return records.filter(
    (record): record is CommitRecord =>
      record?.provenance.some((p) => p.id === of.id && p.repo === of.repo) ?? false,
  );
}

async function childrenOf(deps: InfoDeps, of: CommitName, wait: Wait): Promise<string[]> {
  const kvs: KV[] = [];
  for await (const kv of deps.meta.scan(childrenPrefix(of), wait)) kvs.push(kv);
  return kvs
    .sort((a, b) => a.createRevision - b.createRevision)
    .map(({ key }) => key.slice(key.lastIndexOf('/') + 1));
}

async function collect<T>(
  meta: Meta,
  prefix: string,
  wait: Wait,
): Promise<{ created: number; value: T }[]> {
  const found: { created: number; value: T }[] = [];
  for await (const kv of meta.scan(prefix, wait)) {
    found.push({
      created: kv.createRevision,
      value: JSON.parse(kv.value.toString()) as T,
    });
  }
  return found;
}
