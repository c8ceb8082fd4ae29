/** Finds the output commits of a pipeline that want a job, and makes it; closes those that can not get one. */
import { newId } from '../../core/ids.js';
import type { Wait } from '../../storage/types.js';
import { statsCommitIn } from '../pipelines/stats-commit.js';
import {
  createJobIn,
  jobByCommitKey,
  jobKey,
  pipelineKey,
  setJobStateIn,
  type JobPointer,
  type JobRecord,
  type PipelineRecord,
} from '../pipelines/model.js';
import { openKey, SPEC_REPO, type CommitRecord, type OpenRecord } from '../versioning/model.js';
import { fenced, type Fence, type OwnerDeps } from './deps.js';
import { finishStatsIn } from './outcome.js';
import { nextCommit, type Candidate, type Next } from './ready.js';

const SEEN_MS = 2_000;

export class JobMaker {
  /**
   * Parents of open commits by id, each read once: there may be thousands that wait. That of a commit
   * changes only when its parent is deleted; then the earliest commit is still the first one.
   */
  #parents = new Map<string, string | undefined>();

  constructor(
    readonly deps: OwnerDeps,
    readonly fence: Fence,
  ) {}

  get #pipeline(): string {
    return this.fence.pipeline;
  }

  /** The next commit to do something about; `hasJob` tells which (by id) have a job that runs. */
  async next(
    record: PipelineRecord,
    hasJob: (commit: string) => boolean,
    wait: Wait,
  ): Promise<Next> {
    const candidates = await this.#candidates(hasJob, wait);
    return nextCommit(record, candidates, (commit) =>
      Boolean(this.deps.views.open.get(`open/${commit}`)),
    );
  }

  /** Open commits of the output repo without a job, with their parents. */
  async #candidates(hasJob: (commit: string) => boolean, wait: Wait): Promise<Candidate[]> {
    const candidates: Candidate[] = [];
    const parents = new Map<string, string | undefined>();
    for (const open of [...this.deps.views.hints.openOf(this.#pipeline).values()]) {
      if (open.provenance.length === 0 || hasJob(open.id)) continue;
      if (!this.#parents.has(open.id)) {
        const commit = await this.#commit(open, wait);
        if (!commit || commit.finished !== undefined) continue;
        this.#parents.set(open.id, commit.parent);
      }
      const parent = this.#parents.get(open.id);
      parents.set(open.id, parent);
      candidates.push({ open, parent });
    }
    this.#parents = parents;
    return candidates;
  }

  async #commit(open: OpenRecord, wait: Wait): Promise<CommitRecord | undefined> {
    const kv = await this.deps.meta.get(`cm/${open.repo}/${open.id}`, wait);
    return kv ? (JSON.parse(kv.value.toString()) as CommitRecord) : undefined;
  }

  /** The job that was made (or was there); undefined when the world moved on meanwhile. */
  async create(commit: OpenRecord, wait: Wait): Promise<JobRecord | undefined> {
    const now = this.deps.clock.wallMs();
    const id = newId(now);
    const created = await fenced(
      this.deps.meta,
      this.fence,
      async (t) => {
        t.warm([
          ...[pipelineKey(this.#pipeline), openKey(commit)],
          ...commit.provenance.filter(({ repo }) => repo !== SPEC_REPO).map(openKey),
          jobByCommitKey(commit.repo, commit.id),
        ]);
        const record = await t.getJson<PipelineRecord>(pipelineKey(this.#pipeline));
        const open = await t.getJson<OpenRecord>(openKey(commit));
        const spec = commit.provenance.find(
          (p) => p.repo === SPEC_REPO && p.id === record?.specCommit,
        );
        if (!record || record.stopped || !open || !spec) return undefined;
        for (const entry of commit.provenance) {
          if (entry.repo !== SPEC_REPO && (await t.getJson(openKey(entry)))) return undefined;
        }
        const stats = await statsCommitIn(t, commit);
        return createJobIn(t, {
          ...(stats ? { statsCommit: stats.id } : {}),
          id,
          pipeline: record.name,
          version: record.version,
          specCommit: record.specCommit,
          outputBranch: record.outputBranch,
          outputCommit: commit.id,
          inputs: commit.provenance
            .filter((entry) => entry.repo !== SPEC_REPO)
            .map((entry) => ({ repo: entry.repo, branch: entry.branch, commit: entry.id })),
          startedMs: now,
        });
      },
      { ...wait, label: 'new job' },
    );
    if (!created) return undefined;
    const fields = { pipeline: this.#pipeline, job: created.id, commit: commit.id };
    this.deps.log.info(fields, 'job created');
    await this.deps.views.running
      .waitFor(() => this.deps.views.running.get(`jrun/${created.id}`) !== undefined, {
        signal: AbortSignal.any([wait.signal, AbortSignal.timeout(SEEN_MS)]),
      })
      .catch(() => undefined);
    wait.signal.throwIfAborted();
    return created;
  }

  /** Closes a commit that was made for an older spec; its job, if any, is killed. */
  async closeStale(commit: OpenRecord, wait: Wait): Promise<boolean> {
    const now = this.deps.clock.wallMs();
    const { meta, versioning } = this.deps;
    return fenced(
      meta,
      this.fence,
      async (t) => {
        const record = await t.getJson<PipelineRecord>(pipelineKey(this.#pipeline));
        const spec = commit.provenance.some(
          (p) => p.repo === SPEC_REPO && p.id === record?.specCommit,
        );
        if (!record || spec || !(await t.getJson(openKey(commit)))) return false;
        await versioning.finishOutputIn(t, commit, {});
        const output = { outputRepo: commit.repo, outputCommit: commit.id };
        await finishStatsIn(this.deps, t, output, undefined);
        const pointer = await t.getJson<JobPointer>(jobByCommitKey(commit.repo, commit.id));
        const job = pointer && (await t.getJson<JobRecord>(jobKey(pointer.pipeline, pointer.job)));
        if (pointer && job && !job.finishedMs) {
          const reason = 'pipeline has been updated';
          await setJobStateIn(t, pointer, { state: 'KILLED', reason, nowMs: now });
        }
        return true;
      },
      { ...wait, label: 'stale commit' },
    );
  }

  /** Closes every open output commit of a pipeline that has failed; jobs on them are killed. */
  async closeAll(reason: string, wait: Wait): Promise<void> {
    const open = [...this.deps.views.hints.openOf(this.#pipeline).values()].filter((one) =>
      one.provenance.some(({ repo }) => repo === SPEC_REPO),
    );
    const { meta, versioning, clock } = this.deps;
    for (const commit of open) {
      await fenced(
        meta,
        this.fence,
        async (t) => {
          const record = await t.getJson<PipelineRecord>(pipelineKey(this.#pipeline));
          if (record?.state !== 'FAILURE' || !(await t.getJson(openKey(commit)))) return;
          const pointer = await t.getJson<JobPointer>(jobByCommitKey(commit.repo, commit.id));
          const key = pointer && jobKey(pointer.pipeline, pointer.job);
          const job = key === undefined ? undefined : await t.getJson<JobRecord>(key);
          if (pointer && job && !job.finishedMs) {
            await setJobStateIn(t, pointer, { state: 'KILLED', reason, nowMs: clock.wallMs() });
          }
          await versioning.finishOutputIn(t, commit, {});
          const output = { outputRepo: commit.repo, outputCommit: commit.id };
          await finishStatsIn(this.deps, t, output, undefined);
        },
        { ...wait, label: 'commit of a failed pipeline' },
      );
    }
  }
}
