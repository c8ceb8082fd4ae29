/** Finding the stats commit of an output commit, inside a transaction. */
import type { MetaTxn } from '../meta/index.js';
import {
  commitKey,
  openKey,
  subvenancePrefix,
  type CommitName,
  type CommitRecord,
} from '../versioning/model.js';

export const STATS_BRANCH = 'stats';

/** The stats commit that belongs to an output commit. */
export async function statsCommitIn(
  t: MetaTxn,
  output: CommitName,
): Promise<CommitRecord | undefined> {
  for (const key of await t.keys(`${subvenancePrefix(output)}${output.repo}/`)) {
    const id = key.slice(key.lastIndexOf('/') + 1);
    const record = await t.getJson<CommitRecord>(commitKey({ repo: output.repo, id }));
    if (record?.branch === STATS_BRANCH) return record;
  }
  return undefined;
}

/** As `statsCommitIn`, if it is still to be finished. */
export async function openStatsCommitIn(
  t: MetaTxn,
  output: CommitName,
): Promise<CommitRecord | undefined> {
  const commit = await statsCommitIn(t, output);
  return commit && (await t.getJson(openKey(commit))) ? commit : undefined;
}
