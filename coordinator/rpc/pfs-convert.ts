/** Records of versioning → messages of pfs.API, and names out of requests. */
import { invalidInput } from '../../core/errors.js';
import type { Timestamp } from '../../proto/generated/google/protobuf/timestamp.js';
import {
  CommitState,
  OriginKind,
  type Branch,
  type BranchInfo,
  type Commit,
  type CommitInfo,
  type CommitProvenance,
  type Repo,
  type RepoInfo,
  type Trigger,
} from '../../proto/generated/pfs.js';
import type {
  BranchName,
  BranchRecord,
  CommitDetails,
  CommitName,
  CommitOriginName,
  CommitRecord,
  CommitRef,
  CommitStateName,
  ProvenanceInput,
  RepoDetails,
  TriggerRecord,
} from '../versioning/index.js';

export function toTimestamp(ms: number): Timestamp {
  const seconds = Math.floor(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

export function fromTimestamp(time: Timestamp): number {
  return time.seconds * 1000 + Math.round(time.nanos / 1e6);
}

const toRepo = (name: string): Repo => ({ name });
const toBranch = ({ repo, name }: BranchName): Branch => ({ repo: toRepo(repo), name });
export const toCommit = ({ repo, id }: CommitName): Commit => ({ repo: toRepo(repo), id });

export function toRepoInfo(repo: RepoDetails): RepoInfo {
  return {
    repo: toRepo(repo.name),
    created: toTimestamp(repo.created),
    sizeBytes: repo.size,
    description: repo.description,
    authInfo: undefined,
    branches: repo.branches.map((name) => toBranch({ repo: repo.name, name })),
    tombstone: repo.tombstone ?? false,
  };
}

export function toBranchInfo(branch: BranchRecord): BranchInfo {
  return {
    name: branch.name,
    head: branch.head === undefined ? undefined : toCommit({ repo: branch.repo, id: branch.head }),
    provenance: branch.provenance.map(toBranch),
    branch: toBranch(branch),
    subvenance: branch.subvenance.map(toBranch),
    directProvenance: branch.directProvenance.map(toBranch),
    trigger: branch.trigger && toTrigger(branch.trigger),
  };
}

function toTrigger(trigger: TriggerRecord): Trigger {
  return {
    branch: trigger.branch,
    all: trigger.all ?? false,
    cronSpec: trigger.cronSpec ?? '',
    size: trigger.size ?? '',
    commits: trigger.commits ?? 0,
  };
}

export function fromTrigger(trigger: Trigger): TriggerRecord {
  return {
    branch: trigger.branch,
    ...(trigger.all ? { all: true } : {}),
    ...(trigger.cronSpec ? { cronSpec: trigger.cronSpec } : {}),
    ...(trigger.size ? { size: trigger.size } : {}),
    ...(trigger.commits ? { commits: trigger.commits } : {}),
  };
}

const ORIGINS: Record<CommitOriginName, OriginKind> = {
  USER: OriginKind.USER,
  AUTO: OriginKind.AUTO,
  FSCK: OriginKind.FSCK,
};

export function fromOrigin(kind: OriginKind): CommitOriginName {
  if (kind === OriginKind.AUTO) return 'AUTO';
  return kind === OriginKind.FSCK ? 'FSCK' : 'USER';
}

/** `viaBranch`: how the commit was named; fills in for a commit that was made on no branch. */
export function toCommitInfo(commit: CommitDetails, viaBranch?: string): CommitInfo {
  const { repo } = commit;
  const branch = commit.branch ?? viaBranch;
  const input = commit.kind === 'input' && commit.digest !== undefined;
  const output = commit.kind === 'output' && commit.digest !== undefined;
  const object = { hash: commit.digest ?? '' };
  // Stands in for a lost commit: when that was made is not known.
  const isPlaceholder = commit.origin === 'FSCK' && commit.started === 0;
  return {
    commit: toCommit(commit),
    parentCommit: commit.parent === undefined ? undefined : toCommit({ repo, id: commit.parent }),
    started: isPlaceholder ? undefined : toTimestamp(commit.started),
    finished:
      commit.finished === undefined || isPlaceholder ? undefined : toTimestamp(commit.finished),
    sizeBytes: commit.finished === undefined ? 0 : (commit.size ?? 0),
    tree: input ? object : undefined,
    description: commit.description ?? '',
    subvenance: commit.subvenance.map(({ lower, upper }) => ({
      lower: toCommit(lower),
      upper: toCommit(upper),
    })),
    childCommits: commit.children.map((id) => toCommit({ repo, id })),
    readyProvenance: 0,
    trees: output ? [object] : [],
    datums: output && commit.datums !== undefined ? { hash: commit.datums } : undefined,
    branch: branch === undefined ? undefined : toBranch({ repo, name: branch }),
    provenance: commit.provenance.map((entry) => ({
      commit: toCommit(entry),
      branch: toBranch({ repo: entry.repo, name: entry.branch }),
    })),
    origin: { kind: ORIGINS[commit.origin] },
    subvenantCommitsSuccess: commit.succeeded,
    subvenantCommitsFailure: commit.failed,
    subvenantCommitsTotal: commit.subvenance.length,
  };
}

/** A record as it is known without looking around: no children, nothing downstream. */
export function plainDetails(commit: CommitRecord): CommitDetails {
  return { ...commit, children: [], subvenance: [], succeeded: 0, failed: 0 };
}

/** The repo's name; INVALID_INPUT when the field is missing. */
export function repoName(repo: Repo | undefined, what = 'repo'): string {
  if (!repo) throw invalidInput(`${what} cannot be nil`);
  return repo.name;
}

export function branchName(branch: Branch | undefined, what = 'branch'): BranchName {
  if (!branch) throw invalidInput(`${what} cannot be nil`);
  return { repo: repoName(branch.repo, `${what} repo`), name: branch.name };
}

export function commitRef(commit: Commit | undefined, what = 'commit'): CommitRef {
  if (!commit) throw invalidInput(`${what} cannot be nil`);
  return { repo: repoName(commit.repo, `${what} repo`), id: commit.id };
}

export function provenanceInputs(entries: readonly CommitProvenance[]): ProvenanceInput[] {
  return entries.map((entry) => {
    const commit = commitRef(entry.commit, 'provenance commit');
    const name = entry.branch?.name;
    return name
      ? { commit, branch: { repo: entry.branch?.repo?.name || commit.repo, name } }
      : { commit };
  });
}

/** Unknown values mean the weakest state. */
export function fromState(state: CommitState): CommitStateName {
  if (state === CommitState.READY) return 'READY';
  return state === CommitState.FINISHED ? 'FINISHED' : 'STARTED';
}
