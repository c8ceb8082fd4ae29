/**
 * Finds the next output commit of a pipeline that wants a job. Commits are taken in the order of
 * the branch: a commit whose parent is still open waits for it. One that belongs to an older spec
 * can never get a job, so it is closed empty.
 */
import type { PipelineRecord } from '../pipelines/model.js';
import { SPEC_REPO, type OpenRecord } from '../versioning/model.js';

/** An open output commit with its parent. */
export interface Candidate {
  readonly open: OpenRecord;
  readonly parent: string | undefined;
}

export type Next =
  | { readonly kind: 'none' }
  /** Waits for upstream commits to be finished. */
  | { readonly kind: 'waiting'; readonly commit: OpenRecord; readonly on: readonly string[] }
  | { readonly kind: 'ready'; readonly commit: OpenRecord }
  | { readonly kind: 'stale'; readonly commit: OpenRecord };

/** On the output branch, or made to run on chosen commits: on no branch, with a spec. */
function isOutputOf(pipeline: Pick<PipelineRecord, 'name' | 'outputBranch'>, open: OpenRecord) {
  if (open.branch !== undefined) return open.branch === pipeline.outputBranch;
  return open.provenance.some((p) => p.repo === SPEC_REPO && p.branch === pipeline.name);
}

/** `isOpen` tells whether a commit, given as `repo/id`, is still open. */
export function nextCommit(
  pipeline: Pick<PipelineRecord, 'name' | 'specCommit' | 'outputBranch'>,
  candidates: readonly Candidate[],
  isOpen: (commit: string) => boolean,
): Next {
  const mine = candidates.filter(({ open }) => isOutputOf(pipeline, open));
  const ids = new Set(mine.map(({ open }) => open.id));
  const first = mine
    .filter(({ parent }) => parent === undefined || !ids.has(parent))
    .sort((a, b) => (a.open.id < b.open.id ? -1 : 1))[0];
  if (!first) return { kind: 'none' };
  const { open } = first;
  const spec = open.provenance.find(
    (entry) => entry.repo === SPEC_REPO && entry.branch === pipeline.name,
  );
  if (spec?.id !== pipeline.specCommit) return { kind: 'stale', commit: open };
  const on = open.provenance
    .map((entry) => `${entry.repo}/${entry.id}`)
    .filter((commit) => isOpen(commit));
  return on.length === 0 ? { kind: 'ready', commit: open } : { kind: 'waiting', commit: open, on };
}
