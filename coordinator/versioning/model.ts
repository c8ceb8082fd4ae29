/**
 * The records of versioning as they lie in etcd (JSON values), and their keys. The shapes are a
 * format: docs/formats/etcd.md describes them, and fields are only ever added.
 *
 * Two facts other code may rely on:
 * M1 a commit's identity, branch, origin, start and provenance never change once written;
 * M2 once `finished` is set, only `parent` may still change (a deleted ancestor is skipped over),
 *    and every such change bumps `gen/<repo>`.
 */

/** The repo that holds one branch of specs per pipeline. */
export const SPEC_REPO = '__spec__';

/** The branch whose head decides the size shown for a repo. */
export const SIZE_BRANCH = 'master';

export interface BranchName {
  readonly repo: string;
  readonly name: string;
}

/** A commit named by its own id (never by a branch or an ancestry suffix). */
export interface CommitName {
  readonly repo: string;
  readonly id: string;
}

/** `repo/<repo>` */
export interface RepoRecord {
  readonly name: string;
  readonly description: string;
  /** Wall time in milliseconds. */
  readonly created: number;
  /** Set while a piecemeal delete is under way: nothing new may be made in the repo. */
  readonly tombstone?: boolean;
  /** A branch of the repo has, or had, a trigger: finishing a commit must look for it. */
  readonly triggers?: boolean;
}

/** When a trigger fires; the meaning is in docs and follows the v1 API. */
export interface TriggerRecord {
  readonly branch: string;
  readonly all?: boolean;
  readonly cronSpec?: string;
  readonly size?: string;
  readonly commits?: number;
}

/** `br/<repo>/<branch>` */
export interface BranchRecord {
  readonly repo: string;
  readonly name: string;
  /** Commit id; absent = headless. */
  readonly head?: string;
  /** What the user asked for. */
  readonly directProvenance: readonly BranchName[];
  /** Closure of direct provenance. */
  readonly provenance: readonly BranchName[];
  /** All branches that have this one in their provenance. */
  readonly subvenance: readonly BranchName[];
  readonly trigger?: TriggerRecord;
  /** Name of a branch of the spec repo: commits made here record its head (a spout's output). */
  readonly spec?: string;
  /** Only on `master`: the size shown for its repo. */
  readonly size?: number;
}

export type CommitOriginName = 'USER' | 'AUTO' | 'FSCK';

/** One upstream commit, with the branch through which it is upstream. */
export interface ProvenanceEntry extends CommitName {
  readonly branch: string;
}

/** `cm/<repo>/<id>` */
export interface CommitRecord extends CommitName {
  /** The branch it was made on. */
  readonly branch?: string;
  /** Id of the parent, in the same repo. */
  readonly parent?: string;
  readonly origin: CommitOriginName;
  readonly description?: string;
  /** Wall times in milliseconds; `finished` absent = open. */
  readonly started: number;
  readonly finished?: number;
  /** Closure over all upstream commits, sorted by repo, branch, id. */
  readonly provenance: readonly ProvenanceEntry[];
  /** How it was finished: by its own writes, by a job, or without any content. */
  readonly kind?: 'input' | 'output' | 'empty';
  /** base64 of the encoded root directory (storage encodeNode); absent when `kind` is empty. */
  readonly root?: string;
  /** Content hash of the root directory, hex. */
  readonly digest?: string;
  /** Bytes and number of all files in the tree. */
  readonly size?: number;
  readonly files?: number;
  /** Output only: reference of the datum manifest. */
  readonly datums?: string;
}

/** `open/<repo>/<id>`: exists exactly while the commit is open. */
export interface OpenRecord extends CommitName {
  readonly branch?: string;
  readonly provenance: readonly ProvenanceEntry[];
  /** Runs already built into a tree: base64 root, so that reads and finish start from there. */
  readonly checkpoint?: { readonly root: string; readonly runs: number };
}

/** `dl/<repo>/<id>/<request>`: the runs of one call, in order; calls order by create revision. */
export interface RunsRecord {
  readonly runs: readonly string[];
}

export const REPOS = 'repo/';
export const COMMITS = 'cm/';
export const BRANCHES = 'br/';
export const SUBVENANCE = 'sv/';
export const CHILDREN = 'ch/';
export const OPENS = 'open/';
export const repoKey = (repo: string): string => `${REPOS}${repo}`;
export const branchKey = (b: BranchName): string => `br/${b.repo}/${b.name}`;
export const branchesPrefix = (repo: string): string => `br/${repo}/`;
export const commitKey = (c: CommitName): string => `cm/${c.repo}/${c.id}`;
export const commitsPrefix = (repo: string): string => `cm/${repo}/`;
export const openKey = (c: CommitName): string => `open/${c.repo}/${c.id}`;
export const openPrefix = (repo: string): string => `open/${repo}/`;
export const runsKey = (c: CommitName, request: string): string =>
  `dl/${c.repo}/${c.id}/${request}`;
export const runsPrefix = (c: CommitName): string => `dl/${c.repo}/${c.id}/`;
export const runsOfRepo = (repo: string): string => `dl/${repo}/`;
export const childrenOfRepo = (repo: string): string => `ch/${repo}/`;
/** Reverse provenance: `down` is directly downstream of `up`. Empty value. */
export const subvenanceKey = (up: CommitName, down: CommitName): string =>
  `sv/${up.repo}/${up.id}/${down.repo}/${down.id}`;
export const subvenancePrefix = (up: CommitName): string => `sv/${up.repo}/${up.id}/`;
/** Children of a commit, in the same repo. Empty value. */
export const childKey = (repo: string, parent: string, child: string): string =>
  `ch/${repo}/${parent}/${child}`;
export const childrenPrefix = (c: CommitName): string => `ch/${c.repo}/${c.id}/`;
/** Bumped whenever commits of the repo are deleted or re-parented: caches drop the repo. */
export const generationKey = (repo: string): string => `gen/${repo}`;

/** `repo@branch` as people write it. */
export const branchText = (b: BranchName): string => `${b.repo}@${b.name}`;

export function sameBranch(a: BranchName, b: BranchName): boolean {
  return a.name === b.name && a.repo === b.repo;
}

/** A branch whose commits are made by a pipeline: it has provenance outside the spec repo. */
export function isOutputBranch(branch: Pick<BranchRecord, 'provenance'>): boolean {
  return branch.provenance.some((p) => p.repo !== SPEC_REPO);
}

/**
 * A commit that a job fills: it has upstream commits after one spec commit is discounted, and was
 * not finished by writes of its own.
 */
export function isOutputCommit(commit: Pick<CommitRecord, 'provenance' | 'kind'>): boolean {
  const specs = commit.provenance.some((p) => p.repo === SPEC_REPO) ? 1 : 0;
  return commit.kind !== 'input' && commit.provenance.length - specs > 0;
}
