/**
 * RunPipeline: a job on chosen commits of the inputs. Its output commit is on no branch and has no
 * parent, so no head moves and nothing downstream runs; datums that are known are skipped.
 */
import { codeOf, invalidInput, stateConflict, wrap } from '../../core/errors.js';
import type { RunPipelineRequest } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import { branchOf, sortProvenance } from '../versioning/commits.js';
import {
  branchKey,
  sameBranch,
  SPEC_REPO,
  type BranchName,
  type BranchRecord,
  type CommitName,
  type CommitRecord,
  type ProvenanceEntry,
} from '../versioning/model.js';
import { resolveRef } from '../versioning/records.js';
import type { Scope } from '../versioning/scope.js';
import { getJob } from './jobs.js';
import { pipelineKey, pipelineNotFound, type PipelineRecord } from './model.js';
import { STATS_BRANCH } from './stats-commit.js';
import type { PipelineDeps } from './steps.js';

type Wanted = RunPipelineRequest['provenance'][number];

/** Starts the output commit of such a job; answers its name. */
export async function runPipeline(
  deps: PipelineDeps,
  request: RunPipelineRequest,
  wait: Wait,
): Promise<CommitName> {
  const name = request.pipeline?.name ?? '';
  const again = request.jobId === '' ? undefined : await getJob(deps, request.jobId, wait);
  const made = await deps.meta.transact(
    async (t) => {
      const scope = deps.versioning.scope(t);
      const record = name === '' ? undefined : await t.getJson<PipelineRecord>(pipelineKey(name));
      if (!record) throw pipelineNotFound(name);
      if (record.live === 'spout') {
        throw invalidInput(`pipeline ${name} is a spout: its code runs on and on, without jobs`);
      }
      const { branch, head } = await outputHead(scope, record);
      const explicit = new Map<string, ProvenanceEntry>();
      if (again) {
        const output = { repo: again.outputRepo, id: again.outputCommit };
        for (const entry of await scope.provenanceOf(output)) add(explicit, branch, entry);
      }
      for (const wanted of request.provenance) {
        const entry = await resolve(scope, wanted);
        if (!isUpstream(branch, entry)) {
          throw invalidInput(
            "the commit provenance contains a branch which the pipeline's branch is not provenant on",
          );
        }
        explicit.set(branchKey(branchOf(entry)), entry);
      }
      const provenance = await closure(scope, head, explicit, spec(record));
      const { enableStats } = await deps.specs.load(
        { pipeline: name, specCommit: record.specCommit },
        wait,
      );
      return startIn(scope, record, provenance, enableStats);
    },
    { ...wait, label: 'run a pipeline' },
  );
  deps.log.info({ pipeline: name, commit: made.id }, 'pipeline run on request');
  return { repo: made.repo, id: made.id };
}

async function outputHead(
  scope: Scope,
  record: PipelineRecord,
): Promise<{ branch: BranchRecord; head: CommitRecord }> {
  const { name } = record;
  const branch = await scope.branch({ repo: name, name: record.outputBranch });
  const head =
    branch?.head === undefined ? undefined : await scope.commit({ repo: name, id: branch.head });
  if (!branch || !head) {
    throw stateConflict(
      `run pipeline needs a pipeline with existing data to run: branch ${name}@` +
        `${record.outputBranch} has no commit yet; put data into every input first`,
      { fields: { pipeline: name } },
    );
  }
  if (record.stopped) {
    throw stateConflict(`pipeline ${name} is stopped; start it with 'start pipeline ${name}'`, {
      fields: { pipeline: name },
    });
  }
  return { branch, head };
}

async function resolve(scope: Scope, { commit, branch }: Wanted): Promise<ProvenanceEntry> {
  if (!commit && !branch) {
    throw invalidInput('request provenance cannot have both a nil commit and nil branch');
  }
  if (branch && !branch.repo) {
    throw invalidInput('request provenance branch must have a non nil repo');
  }
  const repo = commit?.repo?.name || branch?.repo?.name || '';
  try {
    const found = await resolveRef(scope, { repo, id: commit?.id || branch?.name || '' });
    await scope.needCommit(found.commit);
    const named = commit?.id ? branch?.name : undefined;
    const on = named || found.viaBranch || found.commit.branch || '';
    return { repo, id: found.commit.id, branch: on };
  } catch (error) {
    throw codeOf(error) === 'NOT_FOUND' ? wrap('unable to find a commit to run on', error) : error;
  }
}

function add(into: Map<string, ProvenanceEntry>, of: BranchRecord, entry: ProvenanceEntry): void {
  if (entry.repo !== SPEC_REPO && isUpstream(of, entry))
    into.set(branchKey(branchOf(entry)), entry);
}

function isUpstream(branch: BranchRecord, entry: ProvenanceEntry): boolean {
  return branch.provenance.some((up: BranchName) => sameBranch(up, branchOf(entry)));
}

function spec({ name, specCommit }: PipelineRecord): ProvenanceEntry {
  return { repo: SPEC_REPO, id: specCommit, branch: name };
}

/** What was asked for with all above it; for the other branches what the head was made from. */
async function closure(
  scope: Scope,
  head: CommitRecord,
  explicit: ReadonlyMap<string, ProvenanceEntry>,
  current: ProvenanceEntry,
): Promise<ProvenanceEntry[]> {
  const all = new Map<string, ProvenanceEntry>();
  for (const entry of head.provenance) all.set(branchKey(branchOf(entry)), entry);
  for (const entry of explicit.values()) {
    for (const up of await scope.provenanceOf(entry)) all.set(branchKey(branchOf(up)), up);
  }
  for (const entry of [...explicit.values(), current]) all.set(branchKey(branchOf(entry)), entry);
  return sortProvenance([...all.values()]);
}

async function startIn(
  scope: Scope,
  record: PipelineRecord,
  provenance: readonly ProvenanceEntry[],
  withStats: boolean,
): Promise<CommitRecord> {
  const base = { repo: record.name, origin: 'USER', started: scope.deps.clock.wallMs() } as const;
  const commit: CommitRecord = { ...base, id: scope.freshId(), provenance };
  await scope.addCommit(commit);
  if (withStats) {
    const output = { repo: commit.repo, id: commit.id, branch: record.outputBranch };
    const above = sortProvenance([...provenance, output]);
    const id = scope.freshId();
    await scope.addCommit({ ...base, id, branch: STATS_BRANCH, provenance: above });
  }
  return commit;
}
