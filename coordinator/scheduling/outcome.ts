/**
 * The transactions that end a job. Each makes everything visible at once or nothing: output commit,
 * job state, manifest and history, under the owner's fence.
 */
import type { Wait } from '../../storage/types.js';
import type { DirNode } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import { openStatsCommitIn } from '../pipelines/stats-commit.js';
import {
  jobKey,
  pipelineKey,
  setJobStateIn,
  setPipelineStateIn,
  type JobPatch,
  type JobPointer,
  type JobRecord,
  type PipelineRecord,
} from '../pipelines/model.js';
import { branchKey, commitKey, openKey, repoKey } from '../versioning/model.js';
import { fenced, type Fence, type OwnerDeps } from './deps.js';
import { JobEnded } from './job-watch.js';
import { historyKey, MANIFESTS_KEPT, type ManifestHistory } from './model.js';

export interface Ending {
  readonly job: JobRecord;
  readonly fence: Fence;
  readonly salt: string;
  readonly patch: JobPatch;
}

/**
 * Output and SUCCESS in one transaction; EGRESSING instead when something is to be done with the
 * output before the job has succeeded. Throws JobEnded when the commit was closed meanwhile.
 */
export async function endWithSuccess(
  deps: OwnerDeps,
  ending: Ending,
  output: {
    readonly root: DirNode;
    readonly stats?: DirNode;
    readonly state?: 'SUCCESS' | 'EGRESSING';
  },
  wait: Wait,
): Promise<void> {
  const { job } = ending;
  const { state = 'SUCCESS' } = output;
  await fenced(
    deps.meta,
    ending.fence,
    async (t) => {
      t.warm(keysOfEnd(job));
      await requireOpen(t, job);
      await deps.versioning.finishOutputIn(
        t,
        { repo: job.outputRepo, id: job.outputCommit },
        { root: output.root, ...(ending.patch.manifest ? { datums: ending.patch.manifest } : {}) },
      );
      await finishStatsIn(deps, t, job, output.stats);
      await setJobStateIn(t, pointerOf(job), {
        state,
        reason: '',
        nowMs: deps.clock.wallMs(),
        patch: ending.patch,
      });
      await remember(t, ending);
    },
    { ...wait, label: 'job success' },
  );
}

/** The end of a job whose output commit is finished already. */
export async function endEgressed(
  deps: OwnerDeps,
  of: Pick<Ending, 'job' | 'fence'>,
  end: { readonly state: 'SUCCESS' | 'FAILURE'; readonly reason: string },
  wait: Wait,
): Promise<void> {
  await fenced(
    deps.meta,
    of.fence,
    (t) => setJobStateIn(t, pointerOf(of.job), { ...end, nowMs: deps.clock.wallMs() }),
    { ...wait, label: 'end of egress' },
  );
}

/**
 * FAILURE with a reason; the output commit is finished empty, so what depends on it fails too. The
 * stats commit keeps what is known about the datums.
 */
export async function endWithFailure(
  deps: OwnerDeps,
  ending: Ending,
  { reason, stats }: { readonly reason: string; readonly stats?: DirNode },
  wait: Wait,
): Promise<void> {
  const { job } = ending;
  await fenced(
    deps.meta,
    ending.fence,
    async (t) => {
      t.warm(keysOfEnd(job));
      await requireOpen(t, job);
      await setJobStateIn(t, pointerOf(job), {
        state: 'FAILURE',
        reason,
        nowMs: deps.clock.wallMs(),
        patch: ending.patch,
      });
      await deps.versioning.finishOutputIn(t, { repo: job.outputRepo, id: job.outputCommit }, {});
      await finishStatsIn(deps, t, job, stats);
      await remember(t, ending);
    },
    { ...wait, label: 'job failure' },
  );
}

/**
 * After somebody else ended the job, or its time is up: makes it KILLED and its commit empty where
 * that was not done yet, and keeps what its datums achieved for later jobs.
 */
export async function endKilled(
  deps: OwnerDeps,
  ending: Ending,
  reason: string,
  wait: Wait,
): Promise<void> {
  const { job } = ending;
  await fenced(
    deps.meta,
    ending.fence,
    async (t) => {
      const current = await t.getJson<JobRecord>(jobKey(job.pipeline, job.id));
      if (current && !current.finishedMs) {
        await setJobStateIn(t, pointerOf(job), {
          state: 'KILLED',
          reason,
          nowMs: deps.clock.wallMs(),
          patch: ending.patch,
        });
      }
      const commit = { repo: job.outputRepo, id: job.outputCommit };
      if (await t.getJson(openKey(commit))) await deps.versioning.finishOutputIn(t, commit, {});
      await finishStatsIn(deps, t, job, undefined);
      await remember(t, ending);
    },
    { ...wait, label: 'job kill' },
  );
}

/** What the end of a job reads, all but what hangs below its commit. */
function keysOfEnd(job: JobRecord): string[] {
  const { pipeline, outputRepo: repo, outputCommit: id } = job;
  return [
    ...[openKey({ repo, id }), commitKey({ repo, id }), repoKey(repo)],
    branchKey({ repo, name: job.outputBranch }),
    ...[jobKey(pipeline, job.id), pipelineKey(pipeline), historyKey(pipeline)],
  ];
}

export function pointerOf(job: JobRecord): JobPointer {
  return { pipeline: job.pipeline, job: job.id };
}

/** Finishes the stats commit of a job, without content when there is no tree. */
export async function finishStatsIn(
  deps: Pick<OwnerDeps, 'versioning'>,
  t: MetaTxn,
  job: Pick<JobRecord, 'outputRepo' | 'outputCommit'>,
  root: DirNode | undefined,
): Promise<void> {
  const output = { repo: job.outputRepo, id: job.outputCommit };
  const commit = await openStatsCommitIn(t, output);
  if (commit) await deps.versioning.finishOutputIn(t, commit, root ? { root } : {});
}

async function requireOpen(t: MetaTxn, job: JobRecord): Promise<void> {
  const commit = { repo: job.outputRepo, id: job.outputCommit };
  if (!(await t.getJson(openKey(commit)))) throw new JobEnded('output commit closed');
}

/** Puts the manifest in front of the pipeline's history. */
async function remember(t: MetaTxn, ending: Ending): Promise<void> {
  const ref = ending.patch.manifest;
  if (ref === undefined) return;
  const key = historyKey(ending.job.pipeline);
  const before = await t.getJson<ManifestHistory>(key);
  const kept = before?.salt === ending.salt ? before.manifests : [];
  const manifests = [
    { ref, job: ending.job.id },
    ...kept.filter((entry) => entry.job !== ending.job.id && entry.ref !== ref),
  ].slice(0, MANIFESTS_KEPT);
  t.putJson(key, { salt: ending.salt, manifests } satisfies ManifestHistory);
}

/** The pipeline stays in FAILURE until it is updated; unless that has happened already. */
export async function failPipeline(
  deps: Pick<OwnerDeps, 'meta'>,
  fence: Fence,
  what: {
    readonly job: Pick<JobRecord, 'pipeline' | 'specCommit'>;
    readonly reason: string;
  },
  wait: Wait,
): Promise<void> {
  const { reason, job } = what;
  const { pipeline, specCommit } = job;
  await fenced(
    deps.meta,
    fence,
    async (t) => {
      const now = await t.getJson<PipelineRecord>(pipelineKey(pipeline));
      if (now?.specCommit !== specCommit || now.stopped) return;
      await setPipelineStateIn(t, pipeline, { state: 'FAILURE', reason });
    },
    { ...wait, label: 'failure of the pipeline' },
  );
}
