/**
 * The stats branch of a pipeline with `enable_stats`: downstream of the output branch, so that
 * every output commit gets a stats commit in the transaction that makes it. Stats commits make no
 * jobs; the job of the output commit fills and finishes both together.
 */
import { invalidInput } from '../../core/errors.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { Scope } from '../versioning/scope.js';
import { STATS_BRANCH } from './stats-commit.js';
import { setOutputBranchIn } from './steps.js';

/** Makes the branch follow the output branch, or nothing while the pipeline is stopped. */
export async function setStatsBranchIn(scope: Scope, info: PipelineInfo): Promise<void> {
  if (!info.enableStats) return;
  const repo = info.pipeline?.name ?? '';
  if (info.outputBranch === STATS_BRANCH) {
    throw invalidInput(
      `the output branch of a pipeline with enable_stats cannot be "${STATS_BRANCH}": ` +
        'that is where its stats go',
    );
  }
  const provenance = info.stopped ? [] : [{ repo, name: info.outputBranch }];
  await setOutputBranchIn(scope, { repo, name: STATS_BRANCH }, { provenance, head: 'keep' });
}

/** Cuts an existing stats branch off from its output branch; its commits stay. */
export async function detachStatsBranchIn(scope: Scope, repo: string): Promise<void> {
  const branch = { repo, name: STATS_BRANCH };
  const record = await scope.branch(branch);
  if (!record || record.directProvenance.length === 0) return;
  await setOutputBranchIn(scope, branch, { provenance: [], head: 'keep' });
}
