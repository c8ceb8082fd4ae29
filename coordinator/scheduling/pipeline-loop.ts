/**
 * The loop of one owned pipeline: keep its state true, make jobs for ready output commits, see to it
 * that everything that should run does. Ends when the pipeline is gone or the signal aborts; every
 * write goes through the fence.
 */
import { codeOf } from '../../core/errors.js';
import { cancelledBy, childController } from '../../core/signals.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import {
  jobKey,
  pipelineKey,
  setPipelineStateIn,
  type JobRecord,
  type PipelineRecord,
  type PipelineStateName,
} from '../pipelines/model.js';
import { fenced, type Fence, type OwnerDeps } from './deps.js';
import { endLive } from './live/placement.js';
import { JobMaker } from './job-maker.js';
import { JobRun } from './job-run.js';
import { runsAll } from './job-spec.js';
import { impossible, kindOf, makeDuty, type Duty } from './kinds.js';
import { whyNowhere } from './placement.js';
import { Runs } from './runs.js';
import { slotsWanted } from './shares.js';
import { closeOrphanedStats } from './stats-orphans.js';
import { supervised } from './supervised.js';
import { Wakeup } from './wakeup.js';

export type LoopState = 'idle' | 'waiting' | 'running' | 'paused' | 'failed';

/** The duty that runs, for the version of the pipeline it was started for. */
interface RunningDuty {
  readonly specCommit: string;
  readonly duty: Duty;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

const LOOK_MS = 5_000;
const CLEANUP_MS = 5_000;
/** How long an answer about what a pipeline lacks is good for. */
const TROUBLE_MS = 1_000;

export class PipelineLoop {
  #state: LoopState = 'idle';
  #waitsFor = '';
  #duty: RunningDuty | undefined;
  #known: { specCommit: string; atMs: number; why: string | undefined } | undefined;
  /** When to look again, whatever happens. */
  #lookMs = LOOK_MS;
  readonly #changed = new Wakeup();
  readonly #runs: Runs;
  readonly #maker: JobMaker;

  constructor(
    readonly deps: OwnerDeps,
    readonly fence: Fence,
  ) {
    this.#runs = new Runs(deps, fence, () => this.#changed.raise());
    this.#maker = new JobMaker(deps, fence);
  }

  get pipeline(): string {
    return this.fence.pipeline;
  }

  status(): { pipeline: string; state: LoopState; waitsFor: string; [more: string]: unknown } {
    const jobs = this.#runs.list().map((run) => run.status());
    return {
      pipeline: this.pipeline,
      state: this.#state,
      waitsFor: this.#waitsFor,
      ...(jobs.length === 0 ? {} : { jobs }),
      ...(this.#duty ? { duty: this.#duty.duty.status() } : {}),
    };
  }

  /** A batch that runs here, for readers of its results in this process. */
  runOf(job: string): JobRun | undefined {
    const run = this.#runs.get(job);
    return run instanceof JobRun ? run : undefined;
  }

  async tend(signal: AbortSignal): Promise<void> {
    const { hints } = this.deps.views;
    using hint = hints.on(this.pipeline, () => this.#changed.raise());
    using scope = childController(signal);
    try {
      for (;;) {
        signal.throwIfAborted();
        this.#lookMs = LOOK_MS;
        const open = [...hints.openOf(this.pipeline).values()];
        hint.waitFor(open.flatMap(({ provenance }) => provenance.map(({ repo }) => repo)));
        const step = await this.#step({ signal: scope.signal });
        if (step === 'gone') {
          await this.#endAll('deletion of the pipeline');
          // Nobody else does it; what is left over is harmless, so failing to is no failure.
          const options = { signal: AbortSignal.any([signal, AbortSignal.timeout(CLEANUP_MS)]) };
          await this.deps.queue.deletePipeline(this.pipeline, options).catch(() => undefined);
          return;
        }
        if (step === 'again') continue;
        await this.#changed.wait({ signal, timeoutMs: this.#lookMs, clock: this.deps.clock });
      }
    } finally {
      await this.#endAll('the end of the pipeline loop');
    }
  }

  async #step(wait: Wait): Promise<'gone' | 'again' | 'rest'> {
    const record = this.deps.views.pipelines.get(pipelineKey(this.pipeline));
    if (!record) return 'gone';
    await this.#adopt(record, wait);
    await closeOrphanedStats(this.deps, this.fence, wait);
    if (record.stopped) {
      await this.#endDuty('the stop of the pipeline');
      await endLive(this.deps, this.fence, wait);
      this.#rest('paused', '');
      await this.#show(record, 'PAUSED', wait);
      return 'rest';
    }
    if (record.state === 'FAILURE') {
      await this.#endDuty('the failure of the pipeline');
      await endLive(this.deps, this.fence, wait);
      this.#rest('failed', record.reason);
      // What is downstream fails in its turn, instead of waiting for ever.
      await this.#maker.closeAll(record.reason, wait);
      return 'rest';
    }
    const spec = { pipeline: record.name, specCommit: record.specCommit };
    const info = await this.deps.loadSpec(spec, wait);
    const never = impossible(info);
    if (never !== undefined) {
      await this.#show(record, 'FAILURE', wait, never);
      return 'rest';
    }
    if (kindOf(info) === 'spout') return this.#keepDuty(record, info, wait);
    await this.#endDuty('a change of the pipeline');
    // A process of an earlier version that was a service or spout.
    if (kindOf(info) === 'batch') await endLive(this.deps, this.fence, wait);
    if (!this.#hasRoom(record, info)) {
      this.#rest('running', '');
      await this.#showRunning(record, wait);
      return 'rest';
    }
    return this.#nextJob(record, info, wait);
  }

  /**
   * Whether the next job may begin beside those that run. A service has to see the job that takes
   * over from it. Jobs in which every datum runs come one after the other: people who ask for that
   * have effects in mind that build on each other.
   */
  #hasRoom(record: PipelineRecord, info: PipelineInfo): boolean {
    const { size, overlap } = this.#runs;
    if (size === 0) return true;
    if (kindOf(info) === 'service') return size < 2;
    if (runsAll(info)) return false;
    if (this.#runs.list().some(({ job }) => job.specCommit !== record.specCommit)) return false;
    const notBeforeMs = overlap.notBeforeMs();
    if (notBeforeMs > 0) {
      this.#lookMs = notBeforeMs;
      return false;
    }
    return overlap.hasRoom(slotsWanted(record.parallelism, this.deps.views.hosts()));
  }

  async #nextJob(
    record: PipelineRecord,
    info: PipelineInfo,
    wait: Wait,
  ): Promise<'again' | 'rest'> {
    const taken = new Set(this.#runs.list().map(({ job }) => job.outputCommit));
    const next = await this.#maker.next(record, (commit) => taken.has(commit), wait);
    switch (next.kind) {
      case 'none':
      case 'waiting': {
        if (this.#runs.size > 0) this.#rest('running', '');
        else if (next.kind === 'none') this.#rest('idle', '');
        else this.#rest('waiting', `commits ${next.on.join(', ')} to be finished`);
        const idle = this.#runs.size === 0 && (info.standby || info.autoscaling);
        if (idle) await this.#show(record, 'STANDBY', wait);
        else await this.#showRunning(record, wait);
        return 'rest';
      }
      case 'stale':
        return (await this.#maker.closeStale(next.commit, wait)) ? 'again' : 'rest';
      case 'ready': {
        await this.#showRunning(record, wait);
        // Workers begin to pull as soon as they see the job: the consumer has to be there by then.
        if (kindOf(info) === 'batch') await this.#runs.inFlight.ensure(record, wait);
        const job = await this.#maker.create(next.commit, wait);
        if (!job || job.finishedMs !== undefined || this.#runs.has(job.id)) return 'rest';
        await this.#runs.start(record, job, wait);
        return 'again';
      }
    }
  }

  #rest(state: LoopState, waitsFor: string): void {
    this.#state = state;
    this.#waitsFor = waitsFor;
  }

  /** Takes up the jobs of this pipeline that have not ended and that nobody runs, oldest first. */
  async #adopt(record: PipelineRecord, wait: Wait): Promise<void> {
    const running = this.deps.views.hints.runningOf(this.pipeline);
    const mine = [...running.values()].filter((run) => !this.#runs.has(run.job));
    const found: { readonly job: JobRecord; readonly created: number }[] = [];
    for (const run of mine) {
      const kv = await this.deps.meta.get(jobKey(run.pipeline, run.job), wait);
      if (!kv) continue;
      const job = JSON.parse(kv.value.toString()) as JobRecord;
      if (job.finishedMs === undefined) found.push({ job, created: kv.createRevision });
    }
    // Ids are made from the clocks of their coordinators; jobs that ran at once end in this order.
    found.sort((a, b) => a.created - b.created || (a.job.id < b.job.id ? -1 : 1));
    for (const { job } of found) await this.#runs.start(record, job, wait);
  }

  async #keepDuty(record: PipelineRecord, info: PipelineInfo, wait: Wait): Promise<'rest'> {
    if (this.#duty?.specCommit !== record.specCommit) {
      await this.#endDuty('an update of the pipeline');
      const onChange = (): void => this.#changed.raise();
      const duty = makeDuty(this.deps, { fence: this.fence, record, info, onChange });
      const stop = childController(wait.signal);
      const what = `spout ${record.name}`;
      const run = (inner: Wait): Promise<void> => duty.run(inner);
      const ended = supervised(this.deps, what, run, { signal: stop.signal }).finally(() =>
        stop[Symbol.dispose](),
      );
      this.#duty = { specCommit: record.specCommit, duty, stop, ended };
    }
    this.#rest('running', '');
    await this.#showRunning(record, wait);
    return 'rest';
  }

  async #endDuty(why: string): Promise<void> {
    const duty = this.#duty;
    if (!duty) return;
    duty.stop.abort(cancelledBy(why));
    await duty.ended;
    this.#duty = undefined;
  }

  async #endAll(why: string): Promise<void> {
    await Promise.all([this.#endDuty(why), this.#runs.stop(why)]);
  }

  /** RUNNING, or CRASHING with the reason why what should run does not. */
  async #showRunning(record: PipelineRecord, wait: Wait): Promise<void> {
    const runs: readonly { readonly trouble?: string }[] = [
      ...this.#runs.list(),
      ...(this.#duty ? [this.#duty.duty] : []),
    ];
    const trouble =
      runs.map((run) => run.trouble ?? '').find((reason) => reason !== '') ??
      whyNowhere(record.needs, this.deps.views.offers());
    await this.#show(record, trouble === undefined ? 'RUNNING' : 'CRASHING', wait, trouble);
  }

  /** What the pipeline can not get at the moment; looked up again after a while. */
  async #trouble(record: PipelineRecord, wait: Wait): Promise<string | undefined> {
    const { troubleOf, clock, loadSpec } = this.deps;
    const { name: pipeline, specCommit } = record;
    const known = this.#known;
    const nowMs = clock.monotonicMs();
    if (known?.specCommit === specCommit && nowMs - known.atMs < TROUBLE_MS) return known.why;
    const info = await loadSpec({ pipeline, specCommit }, wait);
    const why = await troubleOf?.(record, info, wait);
    this.#known = { specCommit, atMs: nowMs, why };
    return why;
  }

  /** Writes the pipeline's state when it differs. FAILURE is left only by an update. */
  async #show(
    record: PipelineRecord,
    state: PipelineStateName,
    wait: Wait,
    reason = '',
  ): Promise<void> {
    if (state === 'RUNNING') {
      const trouble = await this.#trouble(record, wait);
      if (trouble !== undefined) return this.#show(record, 'CRASHING', wait, trouble);
    }
    if (record.state === state && record.reason === reason) return;
    if (record.state === 'FAILURE') return;
    try {
      await fenced(
        this.deps.meta,
        this.fence,
        async (t) => {
          const now = await t.getJson<PipelineRecord>(pipelineKey(this.pipeline));
          if (!now || now.stopped !== record.stopped || now.state === 'FAILURE') return;
          if (now.specCommit !== record.specCommit) return;
          await setPipelineStateIn(t, this.pipeline, { state, reason });
        },
        { ...wait, label: 'state' },
      );
    } catch (error) {
      if (codeOf(error) !== 'NOT_FOUND') throw error;
    }
  }
}
