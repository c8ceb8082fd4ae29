/**
 * Making and finishing commits inside a transaction: where the new commit goes, which upstream
 * commits it records, and what finishing sets off.
 */
import type { DirNode } from '../../storage/types.js';
import { encodeNode } from '../../storage/index.js';
import { alreadyExists, codeOf, invalidInput, stateConflict, wrap } from '../../core/errors.js';
import {
  branchKey,
  isOutputBranch,
  openKey,
  runsPrefix,
  sameBranch,
  SIZE_BRANCH,
  SPEC_REPO,
  type BranchName,
  type BranchRecord,
  type CommitName,
  type CommitOriginName,
  type CommitRecord,
  type ProvenanceEntry,
} from './model.js';
import { resolveRef } from './records.js';
import { alreadyFinished, checkBranchName, commitNotFound, type CommitRef } from './refs.js';
import type { Scope } from './scope.js';
import { fireTriggers } from './triggers.js';

/** An upstream commit as a request names it. */
export interface ProvenanceInput {
  readonly commit: CommitRef;
  /** Absent: the branch the commit was named through, or made on. */
  readonly branch?: BranchName;
}

export interface StartCommitInput {
  readonly repo: string;
  /** Absent or empty: no branch moves. */
  readonly branch?: string;
  /** A reference in the same repo; absent or empty: the head of `branch`. */
  readonly parent?: string;
  readonly description?: string;
  readonly provenance?: readonly ProvenanceInput[];
  /** Absent: a fresh id. */
  readonly id?: string;
  readonly origin?: CommitOriginName;
  /** Wall time in milliseconds; absent: now. */
  readonly started?: number;
}

/** What a finished commit holds. */
export interface CommitContent {
  readonly kind: 'input' | 'output' | 'empty';
  /** Absent for `empty`. */
  readonly root?: DirNode;
  /** Replaces the description when it is not empty. */
  readonly description?: string;
  /** Output only: reference of the datum manifest. */
  readonly datums?: string;
  /** Wall time in milliseconds; absent: now. */
  readonly finished?: number;
}

/**
 * Starts a commit, or with `content` makes one that is finished at once. The branch, if any, moves
 * to it and is scheduled for propagation. Errors as in the v1 API.
 */
export async function startCommitIn(
  scope: Scope,
  input: StartCommitInput,
  content?: CommitContent,
): Promise<CommitRecord> {
  const branchName = input.branch ? { repo: input.repo, name: input.branch } : undefined;
  if (branchName) {
    checkBranchName(branchName.name);
    scope.warm(branchName);
  }
  await scope.needRepo(input.repo);
  const branch = branchName && (await scope.branch(branchName));
  const explicit = await resolveProvenance(scope, input.provenance ?? []);
  if (branch?.spec !== undefined && !explicit.some((p) => p.repo === SPEC_REPO)) {
    const spec = await scope.branch({ repo: SPEC_REPO, name: branch.spec });
    if (spec?.head) explicit.push({ repo: SPEC_REPO, id: spec.head, branch: spec.name });
  }
  if (branch && isOutputBranch(branch) && !explicit.some((p) => p.repo === SPEC_REPO)) {
    throw stateConflict('cannot start a commit on an output branch', {
      fields: { ...branchName },
    });
  }
  const parent = await findParent(scope, input, branch);
  if (parent && parent.finished === undefined) {
    throw stateConflict(`parent commit ${input.repo}@${parent.id} has not been finished`, {
      fields: { repo: input.repo, commit: parent.id },
    });
  }
  const provenance = await closeProvenance(scope, explicit);
  if (branchName) await checkProvenance(scope, branchName, branch, explicit, provenance);

  const madeOn = input.branch || parent?.branch;
  const id = input.id ?? scope.freshId();
  const record: CommitRecord = {
    repo: input.repo,
    id,
    ...(madeOn ? { branch: madeOn } : {}),
    ...(parent ? { parent: parent.id } : {}),
    origin: input.origin ?? 'USER',
    ...(input.description ? { description: input.description } : {}),
    started: input.started ?? scope.deps.clock.wallMs(),
    provenance,
  };
  const written = content ? withContent(record, content, scope.deps.clock.wallMs()) : record;
  await scope.addCommit(written);
  if (branchName) {
    scope.putBranch({ ...(branch ?? newBranch(branchName)), head: id });
    scope.touch(branchName, 'commit');
  }
  if (content) await afterFinish(scope, written);
  return written;
}

/** A caller may choose the id of a commit, but not one that exists. */
export async function checkNewId(scope: Scope, { repo, id }: StartCommitInput): Promise<void> {
  if (id === undefined || !(await scope.commit({ repo, id }))) return;
  throw alreadyExists(`/pachyderm_pfs/commits/${repo}/ ${id} already exists`, {
    fields: { repo, commit: id },
  });
}

/** A branch record with nothing in it. */
export function newBranch(name: BranchName): BranchRecord {
  return {
    repo: name.repo,
    name: name.name,
    directProvenance: [],
    provenance: [],
    subvenance: [],
  };
}

/**
 * Finishes an open commit with the given content and does all that follows: the open key and the
 * runs go, the repo's size changes, triggers fire. Throws NOT_FOUND when the commit is gone and
 * STATE_CONFLICT when it is finished.
 */
export async function finishCommitIn(
  scope: Scope,
  name: CommitName,
  content: CommitContent,
): Promise<CommitRecord> {
  const record = await scope.commitForUpdate(name);
  if (!record) throw commitNotFound(name.repo, name.id);
  if (record.finished !== undefined) {
    throw content.kind === 'output'
      ? stateConflict(`commit ${name.repo}/${name.id} has already been finished`, {
          fields: { ...name },
        })
      : alreadyFinished(name);
  }
  const finished = withContent(record, content, scope.deps.clock.wallMs());
  scope.putCommit(finished);
  scope.t.delete(openKey(name));
  scope.t.deletePrefix(runsPrefix(name));
  await afterFinish(scope, finished);
  return finished;
}

function withContent(record: CommitRecord, content: CommitContent, nowMs: number): CommitRecord {
  const { root } = content;
  const finished = content.finished ?? nowMs;
  return {
    ...record,
    ...(content.description ? { description: content.description } : {}),
    started: Math.min(record.started, finished),
    finished,
    kind: content.kind,
    size: root?.size ?? 0,
    files: root?.files ?? 0,
    ...(root
      ? { root: encodeNode(root).toString('base64'), digest: root.hash.toString('hex') }
      : {}),
    ...(content.datums === undefined ? {} : { datums: content.datums }),
  };
}

/** Size of the repo, and branches that move because this commit is now finished. */
async function afterFinish(scope: Scope, commit: CommitRecord): Promise<void> {
  const [shown, repo] = await Promise.all([
    scope.branch({ repo: commit.repo, name: SIZE_BRANCH }),
    scope.repo(commit.repo),
  ]);
  if (shown?.head === commit.id) scope.putBranch({ ...shown, size: commit.size ?? 0 });
  if (repo?.triggers) await fireTriggers(scope, commit);
}

async function findParent(
  scope: Scope,
  input: StartCommitInput,
  branch: BranchRecord | undefined,
): Promise<CommitRecord | undefined> {
  if (input.parent) {
    try {
      const { commit } = await resolveRef(scope, { repo: input.repo, id: input.parent });
      return await scope.needCommit(commit);
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
      throw wrap('parent commit not found', error);
    }
  }
  if (branch?.head === undefined) return undefined;
  // The branch is compared, and no delete leaves a branch on a deleted commit: no compare needed.
  const head = await scope.commit({ repo: input.repo, id: branch.head });
  if (!head) throw wrap('parent commit not found', commitNotFound(input.repo, branch.head));
  return head;
}

async function resolveProvenance(
  scope: Scope,
  inputs: readonly ProvenanceInput[],
): Promise<ProvenanceEntry[]> {
  const entries = new Map<string, ProvenanceEntry>();
  for (const input of inputs) {
    const { commit, viaBranch } = await resolveRef(scope, input.commit);
    await scope.needCommit(commit);
    const branch = input.branch?.name || (commit.branch ?? viaBranch ?? '');
    entries.set(commit.id, { repo: commit.repo, id: commit.id, branch });
  }
  return [...entries.values()];
}

/** Explicit entries and all that is upstream of them; explicit ones win within a branch. */
async function closeProvenance(
  scope: Scope,
  explicit: readonly ProvenanceEntry[],
): Promise<ProvenanceEntry[]> {
  const byId = new Map(explicit.map((entry) => [entry.id, entry]));
  for (const entry of explicit) {
    for (const up of await scope.provenanceOf(entry)) {
      const named = explicit.some((other) => sameBranch(branchOf(other), branchOf(up)));
      if (!named && !byId.has(up.id)) byId.set(up.id, up);
    }
  }
  return sortProvenance([...byId.values()]);
}

async function checkProvenance(
  scope: Scope,
  name: BranchName,
  branch: BranchRecord | undefined,
  explicit: readonly ProvenanceEntry[],
  provenance: readonly ProvenanceEntry[],
): Promise<void> {
  const seen = new Map<string, string>();
  for (const entry of provenance) {
    const key = branchKey(branchOf(entry));
    if ((seen.get(key) ?? entry.id) !== entry.id) {
      throw invalidInput('the commit provenance contains multiple commits from the same branch');
    }
    seen.set(key, entry.id);
  }
  const ofHead =
    branch?.head === undefined
      ? []
      : await scope.provenanceOf({ repo: name.repo, id: branch.head });
  const allowed = [name, ...(branch?.provenance ?? []), ...ofHead.map(branchOf)];
  for (const entry of explicit) {
    if (entry.repo === SPEC_REPO) continue;
    if (!allowed.some((other) => sameBranch(other, branchOf(entry)))) {
      throw invalidInput(
        'the commit provenance contains a branch which the branch is not provenant on',
      );
    }
  }
}

export function branchOf(entry: ProvenanceEntry): BranchName {
  return { repo: entry.repo, name: entry.branch };
}

/** By repo, branch, then id: parents before children, as ids grow with time. */
export function sortProvenance(entries: ProvenanceEntry[]): ProvenanceEntry[] {
  const text = (e: ProvenanceEntry): string => `${e.repo}\0${e.branch}\0${e.id}`;
  return entries.sort((a, b) => (text(a) < text(b) ? -1 : 1));
}
