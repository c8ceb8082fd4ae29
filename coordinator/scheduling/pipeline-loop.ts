/**
 * The loop of one owned pipeline: keep its state true, make jobs for ready output commits, run them
 * one after the other in commit order. Ends when the pipeline is gone or the signal aborts; every
 * write goes through the fence.
 */
import { codeOf } from '../../core/errors.js';
import { newId } from '../../core/ids.js';
import type { Wait } from '../../storage/types.js';
import {
  createJobIn,
  jobByCommitKey,
  jobKey,
  pipelineKey,
  setJobStateIn,
  setPipelineStateIn,
  type JobPointer,
  type JobRecord,
  type PipelineRecord,
  type PipelineStateName,
  type RunningJobRecord,
} from '../pipelines/model.js';
import { openKey, SPEC_REPO, type CommitRecord, type OpenRecord } from '../versioning/model.js';
import { fenced, type Fence, type OwnerDeps } from './deps.js';
import { ensureConsumer } from './collector.js';
import { JobRun } from './job-run.js';
import { nextCommit, type Candidate } from './ready.js';
import { Wakeup } from './wakeup.js';

export type LoopState = 'idle' | 'waiting' | 'running' | 'paused' | 'failed';

const LOOK_MS = 5_000;
const CLEANUP_MS = 5_000;

export class PipelineLoop {
  #state: LoopState = 'idle';
  #waitsFor = '';
  #run: JobRun | undefined;
  readonly #changed = new Wakeup();

  constructor(
    readonly deps: OwnerDeps,
    readonly fence: Fence,
  ) {}

  get pipeline(): string {
    return this.fence.pipeline;
  }

  status(): { pipeline: string; state: LoopState; waitsFor: string; job?: unknown } {
    const job = this.#run?.status();
    return {
      pipeline: this.pipeline,
      state: this.#state,
      waitsFor: this.#waitsFor,
      ...(job === undefined ? {} : { job }),
    };
  }

  /** The running job's collected results, for readers in this process. */
  get run(): JobRun | undefined {
    return this.#run;
  }

  async tend(signal: AbortSignal): Promise<void> {
    const stop = this.deps.views.subscribe(() => this.#changed.raise());
    try {
      for (;;) {
        signal.throwIfAborted();
        const step = await this.#step({ signal });
        if (step === 'gone') {
          // Nobody else does it; what is left over is harmless, so failing to is no failure.
          const options = { signal: AbortSignal.any([signal, AbortSignal.timeout(CLEANUP_MS)]) };
          await this.deps.queue.deletePipeline(this.pipeline, options).catch(() => undefined);
          return;
        }
        if (step === 'again') continue;
        await this.#changed.wait({ signal, timeoutMs: LOOK_MS, clock: this.deps.clock });
      }
    } finally {
      stop();
    }
  }

  async #step(wait: Wait): Promise<'gone' | 'again' | 'rest'> {
    const record = this.deps.views.pipelines.get(pipelineKey(this.pipeline));
    if (!record) return 'gone';
    const job = await this.#unfinished(wait);
    if (job) {
      await this.#runJob(record, job, wait);
      return 'again';
    }
    if (record.stopped) {
      this.#state = 'paused';
      await this.#show(record, 'PAUSED', wait);
      return 'rest';
    }
    if (record.state === 'FAILURE') {
      this.#state = 'failed';
      return 'rest';
    }
    return this.#nextJob(record, wait);
  }

  async #nextJob(record: PipelineRecord, wait: Wait): Promise<'again' | 'rest'> {
    const next = nextCommit(record, await this.#candidates(wait), (commit) =>
      Boolean(this.deps.views.open.get(`open/${commit}`)),
    );
    switch (next.kind) {
      case 'none':
        this.#rest('idle', '');
        await this.#show(
          record,
          (await this.#isStandby(record, wait)) ? 'STANDBY' : 'RUNNING',
          wait,
        );
        return 'rest';
      case 'waiting':
        this.#rest('waiting', `commits ${next.on.join(', ')} to be finished`);
        await this.#show(
          record,
          (await this.#isStandby(record, wait)) ? 'STANDBY' : 'RUNNING',
          wait,
        );
        return 'rest';
      case 'stale':
        return (await this.#closeStale(next.commit, wait)) ? 'again' : 'rest';
      case 'ready':
        await this.#show(record, 'RUNNING', wait);
        // Workers begin to pull as soon as they see the job: the consumer has to be there by then.
        await ensureConsumer(this.deps, record, wait);
        return (await this.#createJob(next.commit, wait)) ? 'again' : 'rest';
    }
  }

  #rest(state: LoopState, waitsFor: string): void {
    this.#state = state;
    this.#waitsFor = waitsFor;
  }

  /** The job of this pipeline that is not terminal yet; the oldest when there are several. */
  async #unfinished(wait: Wait): Promise<JobRecord | undefined> {
    const mine: RunningJobRecord[] = [...this.deps.views.running.entries()]
      .map(([, run]) => run)
      .filter((run) => run.pipeline === this.pipeline)
      .sort((a, b) => (a.job < b.job ? -1 : 1));
    for (const run of mine) {
      const kv = await this.deps.meta.get(jobKey(run.pipeline, run.job), wait);
      if (!kv) continue;
      const job = JSON.parse(kv.value.toString()) as JobRecord;
      if (!job.finishedMs) return job;
    }
    return undefined;
  }

  async #runJob(record: PipelineRecord, job: JobRecord, wait: Wait): Promise<void> {
    this.#state = 'running';
    this.#waitsFor = '';
    if (!record.stopped) await this.#show(record, 'RUNNING', wait);
    const run = new JobRun(this.deps, { fence: this.fence, record, job });
    this.#run = run;
    try {
      await run.run(wait);
    } finally {
      this.#run = undefined;
      this.#state = 'idle';
    }
  }

  /** Open commits of the output repo, with their parents. */
  async #candidates(wait: Wait): Promise<Candidate[]> {
    const prefix = `open/${this.pipeline}/`;
    const candidates: Candidate[] = [];
    for (const [key, open] of this.deps.views.open.entries()) {
      if (!key.startsWith(prefix) || open.provenance.length === 0) continue;
      const commit = await this.#commit(open, wait);
      if (commit && commit.finished === undefined) {
        candidates.push({ open, parent: commit.parent });
      }
    }
    return candidates;
  }

  async #commit(open: OpenRecord, wait: Wait): Promise<CommitRecord | undefined> {
    const kv = await this.deps.meta.get(`cm/${open.repo}/${open.id}`, wait);
    return kv ? (JSON.parse(kv.value.toString()) as CommitRecord) : undefined;
  }

  /** True when a job was made (or one was there); false when the world moved on meanwhile. */
  async #createJob(commit: OpenRecord, wait: Wait): Promise<boolean> {
    const now = this.deps.clock.wallMs();
    const id = newId(now);
    const created = await fenced(
      this.deps.meta,
      this.fence,
      async (t) => {
        const record = await t.getJson<PipelineRecord>(pipelineKey(this.pipeline));
        const open = await t.getJson<OpenRecord>(openKey(commit));
        const spec = commit.provenance.find(
          (p) => p.repo === SPEC_REPO && p.id === record?.specCommit,
        );
        if (!record || record.stopped || !open || !spec) return undefined;
        for (const entry of commit.provenance) {
          if (entry.repo !== SPEC_REPO && (await t.getJson(openKey(entry)))) return undefined;
        }
        return createJobIn(t, {
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
    if (!created) return false;
    this.deps.log.info(
      { pipeline: this.pipeline, job: created.id, commit: commit.id },
      'job created',
    );
    await this.deps.views.running
      .waitFor(() => this.deps.views.running.get(`jrun/${created.id}`) !== undefined, {
        signal: AbortSignal.any([wait.signal, AbortSignal.timeout(2_000)]),
      })
      .catch(() => undefined);
    wait.signal.throwIfAborted();
    return true;
  }

  /** Closes a commit that was made for an older spec; its job, if any, is killed. */
  async #closeStale(commit: OpenRecord, wait: Wait): Promise<boolean> {
    const now = this.deps.clock.wallMs();
    const { meta, versioning } = this.deps;
    return fenced(
      meta,
      this.fence,
      async (t) => {
        const record = await t.getJson<PipelineRecord>(pipelineKey(this.pipeline));
        const spec = commit.provenance.some(
          (p) => p.repo === SPEC_REPO && p.id === record?.specCommit,
        );
        if (!record || spec || !(await t.getJson(openKey(commit)))) return false;
        await versioning.finishOutputIn(t, commit, {});
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

  async #isStandby(record: PipelineRecord, wait: Wait): Promise<boolean> {
    const spec = { pipeline: record.name, specCommit: record.specCommit };
    const info = await this.deps.loadSpec(spec, wait);
    return info.standby || info.autoscaling;
  }

  /** Writes the pipeline's state when it differs. FAILURE is left only by an update. */
  async #show(record: PipelineRecord, state: PipelineStateName, wait: Wait): Promise<void> {
    if (record.state === state || record.state === 'FAILURE') return;
    try {
      await fenced(
        this.deps.meta,
        this.fence,
        async (t) => {
          const now = await t.getJson<PipelineRecord>(pipelineKey(this.pipeline));
          if (!now || now.stopped !== record.stopped || now.state === 'FAILURE') return;
          await setPipelineStateIn(t, this.pipeline, { state });
        },
        { ...wait, label: 'state' },
      );
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
    }
  }
}
