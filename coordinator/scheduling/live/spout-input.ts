/**
 * What a spout with a service reads. Its commits come from nothing, so no commit of an input ever
 * makes one; but like a service it is given its input as one datum, and started again with the next.
 */
import type { PipelineInfo } from '../../../proto/generated/pps.js';
import { EMPTY_DATUM, type WorkDatum } from '../../../queue/messages.js';
import type { Wait } from '../../../storage/types.js';
import { inputBranches } from '../../pipelines/inputs.js';
import type { InputCommit, PipelineRecord } from '../../pipelines/model.js';
import { branchKey, type BranchRecord } from '../../versioning/model.js';
import type { OwnerDeps } from '../deps.js';
import { singleDatum } from './service-run.js';

const LOOK_MS = 1_000;

/** Newest whole commit of every branch that the spout reads; empty where there is none yet. */
export async function readable(
  deps: Pick<OwnerDeps, 'meta' | 'versioning'>,
  { input }: Pick<PipelineInfo, 'input'>,
  wait: Wait,
): Promise<InputCommit[]> {
  const commits: InputCommit[] = [];
  for (const { repo, branch } of inputBranches(input)) {
    const at = await deps.meta.getJson<BranchRecord>(branchKey({ repo, name: branch }), wait);
    let id = at?.head;
    while (id !== undefined) {
      const commit = await deps.versioning.commit({ repo, id }, wait);
      // Open ones change, and those of failed jobs hold nothing.
      if (commit?.finished !== undefined && commit.root !== undefined) break;
      id = commit?.parent;
    }
    commits.push({ repo, branch, commit: id ?? '' });
  }
  return commits;
}

/** Returns once there is something newer than `known` to read. */
export async function newerThan(
  known: readonly InputCommit[],
  deps: Pick<OwnerDeps, 'meta' | 'versioning' | 'clock'>,
  info: PipelineInfo,
  wait: Wait,
): Promise<void> {
  const before = JSON.stringify(known);
  for (;;) {
    await deps.clock.sleep(LOOK_MS, wait);
    if (JSON.stringify(await readable(deps, info, wait)) !== before) return;
  }
}

/** The spout's datum; a text says why it can not run. */
export async function spoutDatum(
  deps: OwnerDeps,
  info: PipelineInfo,
  { salt, commits }: Pick<PipelineRecord, 'salt'> & { readonly commits: readonly InputCommit[] },
  wait: Wait,
): Promise<WorkDatum | string> {
  if (!info.input) return EMPTY_DATUM;
  const empty = commits.find(({ commit }) => commit === '');
  if (empty) return `waiting for the first finished commit on ${empty.repo}@${empty.branch}`;
  return singleDatum(deps, info, { salt, commits }, wait);
}
