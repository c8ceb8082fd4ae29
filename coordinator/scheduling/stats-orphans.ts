/**
 * Stats commits whose output commit was finished by somebody else before there was a job for it.
 * Nobody will fill them, so they are finished empty: whoever flushes must not wait for ever.
 */
import type { Wait } from '../../storage/types.js';
import { STATS_BRANCH } from '../pipelines/stats-commit.js';
import { openKey, type OpenRecord } from '../versioning/model.js';
import { fenced, type Fence, type OwnerDeps } from './deps.js';

/** Closes them; answers how many there were. */
export async function closeOrphanedStats(
  deps: OwnerDeps,
  fence: Fence,
  wait: Wait,
): Promise<number> {
  let closed = 0;
  for (const commit of [...deps.views.hints.openOf(fence.pipeline).values()]) {
    if (commit.branch !== STATS_BRANCH) continue;
    const output = outputOf(commit);
    if (!output || deps.views.open.get(openKey(output))) continue;
    const done = await fenced(
      deps.meta,
      fence,
      async (t) => {
        if (!(await t.getJson(openKey(commit))) || (await t.getJson(openKey(output)))) return false;
        await deps.versioning.finishOutputIn(t, commit, {});
        return true;
      },
      { ...wait, label: 'orphaned stats' },
    );
    if (done) closed += 1;
  }
  return closed;
}

function outputOf(commit: OpenRecord): { repo: string; id: string } | undefined {
  return commit.provenance.find((entry) => entry.repo === commit.repo);
}
