/**
 * One job from its record to its end. Every phase leaves its result in the job record (plan,
 * results, manifest) before the next begins, and every phase may be repeated by another owner: it
 * then finds what is there and goes on.
 */
import { codeOf, invariant, messageOf } from '../../core/errors.js';
import { ordinalOf } from '../../core/ids.js';
import type { Log } from '../../core/log.js';
import { addAbortListener, childController } from '../../core/signals.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import { encodeNode, held } from '../../storage/index.js';
import type { DirNode, Wait } from '../../storage/types.js';
import {
  jobKey,
  patchJobIn,
  pipelineKey,
  setJobStateIn,
  type JobPatch,
  type JobRecord,
} from '../pipelines/model.js';
import { Collector } from './collector.js';
import { fenced, type OwnerDeps } from './deps.js';
import { failedInputs, failureReason } from './failure.js';
import { JobPlanning } from './job-planning.js';
import { durationMs } from './job-spec.js';
import type { RunInput } from './kinds.js';
import { endedBy, JobEnded, JobFailed, JobWatch, Unrunnable } from './job-watch.js';
import { Late } from './late.js';
import { buildManifest } from './manifest.js';
import { MasterLog } from './master-log.js';
import { mergeDeps, rootOf } from './merge-deps.js';
import { mergeOutputs, type Merged } from './merge.js';
import type { JobPlan, ManifestHeader, SegmentRef } from './model.js';
import {
  endEgressed,
  endKilled,
  endWithFailure,
  endWithSuccess,
  failPipeline,
  pointerOf,
  type Ending,
} from './outcome.js';
import { buildStatsTree, statsRoot } from './stats-tree.js';

export type JobPhase =
  'starting' | 'planning' | 'collecting' | 'merging' | 'finishing' | 'egressing' | 'ended';

const CLEANUP_MS = 15_000;
/** A job that is done sooner after its last result shows and saves nothing in between. */
const SAVE_AFTER_MS = 300;

type Watched = Wait & { readonly watch: JobWatch };

export class JobRun {
  readonly log: Log;
  readonly master: MasterLog;
  #phase: JobPhase = 'starting';
  #job: JobRecord;
  #collector: Collector | undefined;
  #plan: JobPlan | undefined;
  #saving: Late | undefined;
  readonly #planning: JobPlanning;
  /** When the last job before this one had ended. */
  #turnMs: number | undefined;

  constructor(
    readonly deps: OwnerDeps,
    readonly input: RunInput,
  ) {
    this.#job = input.job;
    const { pipeline, id, plan } = input.job;
    const restart = plan === undefined ? input.job.restart : input.job.restart + 1;
    this.log = deps.log.child({ pipeline, job: id });
    this.master = new MasterLog(
      { pipeline, job: id, restart },
      { clock: deps.clock, worker: 'coordinator', publish: (line) => deps.queue.publishLog(line) },
    );
    this.#planning = new JobPlanning(deps, input, this);
  }

  get job(): JobRecord {
    return this.#job;
  }

  get plan(): JobPlan | undefined {
    return this.#collector?.plan ?? this.#plan;
  }

  get collector(): Collector | undefined {
    return this.#collector;
  }

  status(): { job: string; phase: JobPhase; done: number; tasks: number } {
    const board = this.#collector?.board;
    return {
      job: this.#job.id,
      phase: this.#phase,
      done: board?.done ?? 0,
      tasks: board?.size ?? 0,
    };
  }

  /** Returns when the job has ended, in whatever state. Throws weather and bugs: run it again later. */
  async run(wait: Wait): Promise<void> {
    using scope = childController(wait.signal);
    using watch = new JobWatch(this.deps, this.#job, scope.signal);
    const unhook = addAbortListener(watch.ended, () => scope.abort(watch.ended.reason));
    const inner: Wait = { signal: scope.signal };
    try {
      await watch.check();
      const info = await this.deps.loadSpec(
        { pipeline: this.#job.pipeline, specCommit: this.#job.specCommit },
        inner,
      );
      this.#limit(durationMs(info.jobTimeout), watch, inner);
      if (this.#job.state !== 'EGRESSING') await this.#inOrder(info, watch, inner);
      if (this.#job.state === 'EGRESSING') await this.#egress(info, inner);
    } catch (error) {
      if (wait.signal.aborted) throw error;
      const failed = error instanceof JobFailed;
      const ended =
        endedBy(error, scope.signal) ?? (failed ? undefined : await this.#movedOn(error, wait));
      if (ended) await this.#killed(ended, wait);
      // Comes from the data or the spec: trying again gives the same.
      else if (failed || codeOf(error) === 'INVALID_INPUT')
        await this.#failed(messageOf(error), wait);
      else throw await this.#delayed(error, wait);
      // After the job, which the failure of the pipeline would kill.
      if (error instanceof Unrunnable)
        await failPipeline(
          this.deps,
          this.input.fence,
          { job: this.#job, reason: error.message },
          wait,
        );
    } finally {
      unhook();
      this.#planning.end();
      this.#phase = 'ended';
    }
    // Later jobs need not wait until the queue is tidy.
    this.input.overlap.end(this.#job.id);
    await this.#tidy(wait);
  }

  /** What ends a job by itself does so only when the jobs before it have ended. */
  async #inOrder(info: PipelineInfo, watch: JobWatch, wait: Wait): Promise<void> {
    try {
      await this.#phases(info, watch, wait);
    } catch (error) {
      const ends = error instanceof JobFailed || codeOf(error) === 'INVALID_INPUT';
      if (ends && !(error instanceof Unrunnable)) await this.#turn(wait);
      throw error;
    }
  }

  async #phases(info: PipelineInfo, watch: JobWatch, wait: Wait): Promise<void> {
    const failed = await failedInputs(this.deps, this.#job, info.input, wait);
    if (failed.length > 0) {
      await this.#turn(wait);
      return this.#failed(`inputs ${failed.join(', ')} failed`, wait);
    }
    // A plan refers to inputs and to earlier jobs' manifests; later on the job's record does.
    const { epochs } = this.deps.storage;
    const beside = await this.#besides(wait);
    let plan = await held(epochs, 'refs', () => this.#planned(info, beside, wait));
    if (!plan) {
      await this.#turn(wait);
      plan = await held(epochs, 'refs', () => this.#planned(info, undefined, wait));
    }
    invariant(plan, 'a job that waits for nobody has a plan');
    this.#plan = plan;
    const collector = new Collector(this.deps, {
      job: this.#job,
      plan,
      fence: this.input.fence,
      record: this.input.record,
      master: this.master,
      overlap: this.input.overlap,
      inFlight: this.input.inFlight,
      statuses: this.input.statuses,
      // What is put through S3 replaces what is there: the order of tasks counts then.
      mayJoin: !info.s3Out,
    });
    this.#collector = collector;
    this.#phase = 'collecting';
    await collector.run(wait, {
      ready: (inner) => this.input.overlap.turn(this.#job.id, inner),
      plan: (before, inner) => this.#planning.rest(info, before, inner),
    });
    await held(epochs, 'refs', () => this.#conclude(info, collector, { ...wait, watch }));
  }

  /** From the last result to the end. */
  async #conclude(info: PipelineInfo, collector: Collector, wait: Watched): Promise<void> {
    this.#phase = 'merging';
    await collector.gather(wait);
    const { clock } = this.deps;
    this.#saving = new Late(clock, SAVE_AFTER_MS, () => this.#merging(collector, wait), wait);
    try {
      await this.#finish(info, collector, wait);
    } finally {
      await this.#saving.settle().catch(() => undefined);
    }
  }

  async #finish(info: PipelineInfo, collector: Collector, wait: Watched): Promise<void> {
    const ending = await this.#ending(collector.plan, collector, wait);
    if (collector.board.counts.failed > 0) {
      const found = await failureReason(this.deps, collector.plan, collector.board, wait);
      const reason = info.s3Out ? `datum failed: ${found}` : found;
      this.master.write(`job failed: ${reason}`);
      return this.#end(ending, collector, (final) =>
        endWithFailure(this.deps, final, { reason, ...statsOf(ending.header) }, wait),
      );
    }
    await this.#succeed(info, ending, collector, wait);
  }

  /** What earlier jobs have in their plans, when this one has none and they still run. */
  async #besides(wait: Wait): Promise<readonly SegmentRef[] | undefined> {
    if (this.#job.plan !== undefined) return undefined;
    return this.input.overlap.datumsBefore(this.#job.id, wait);
  }

  /** Waits until no earlier job runs, and says so. */
  async #turn(wait: Wait): Promise<void> {
    const { overlap } = this.input;
    const { id } = this.#job;
    const reason = overlap.waitsFor(id);
    if (reason === '') return;
    await this.#say(reason, wait);
    await overlap.turn(id, wait);
    this.#turnMs = this.deps.clock.wallMs();
  }

  /** The time in which other jobs had to end first does not count. */
  #limit(limitMs: number, watch: JobWatch, wait: Wait): void {
    const { overlap } = this.input;
    const { id, turnMs, startedMs } = this.#job;
    if (overlap.before(id).length === 0) return watch.limit(limitMs, turnMs ?? startedMs);
    overlap.turn(id, wait).then(
      () => watch.limit(limitMs, this.deps.clock.wallMs()),
      () => undefined,
    );
  }

  /** The plan of an earlier owner, or a new one; beside earlier jobs perhaps none yet. */
  async #planned(
    info: PipelineInfo,
    beside: readonly SegmentRef[] | undefined,
    wait: Wait,
  ): Promise<JobPlan | undefined> {
    const { deps } = this;
    const { overlap } = this.input;
    if (this.#job.plan !== undefined) {
      const plan = await deps.storage.getJson<JobPlan>(this.#job.plan, wait);
      await this.#change('RUNNING', { restart: this.#job.restart + 1 }, wait);
      overlap.planned(this.#job.id, plan);
      return plan;
    }
    this.#phase = 'planning';
    const made = await this.#planning.first(info, beside, wait);
    if (!made) return undefined;
    const { total, skipped } = made.plan;
    const turnMs = this.#turnMs === undefined ? {} : { turnMs: this.#turnMs };
    await this.#change('RUNNING', { plan: made.ref, total, skipped, ...turnMs }, wait);
    overlap.planned(this.#job.id, made.plan);
    return made.plan;
  }

  /** Saves every result before the merge, so that a new owner goes straight to it. */
  async #merging(collector: Collector, wait: Wait): Promise<void> {
    const { processed, failed, recovered, stats } = collector.board.counts;
    const patch: JobPatch = { processed, failed, recovered, stats };
    if (collector.board.size === 0) return this.#change('MERGING', patch, wait);
    const results = await this.deps.storage.putJson(collector.index(), wait);
    await this.#change('MERGING', { ...patch, results }, wait);
  }

  async #succeed(
    info: PipelineInfo,
    ending: { header: ManifestHeader; base: ManifestHeader | undefined },
    collector: Collector,
    wait: Watched,
  ): Promise<void> {
    const { deps } = this;
    const startMs = deps.clock.monotonicMs();
    const { header, base } = ending;
    const renumbered = collector.plan.renumbered === true;
    const merged = await this.#merged(info, { header, base, renumbered }, wait);
    const durationMs = Math.round(deps.clock.monotonicMs() - startMs);
    this.log.info({ how: merged.how, durationMs, files: merged.root.files }, 'outputs merged');
    this.master.write(
      `outputs merged (${merged.how}): ${merged.root.files} files, ${merged.root.size} bytes`,
    );
    // Objects that replaced others can not be taken out again: no later output is made from it.
    const output = info.s3Out ? {} : { output: encodeNode(merged.root).toString('base64') };
    const state = deps.egress?.wanted(info) ? 'EGRESSING' : 'SUCCESS';
    await this.#end({ header: { ...header, ...output } }, collector, async (final) => {
      wait.watch.ending(state);
      await endWithSuccess(deps, final, { root: merged.root, ...statsOf(header), state }, wait);
    });
    this.#job = { ...this.#job, state };
  }

  /** What the pipeline wants done with the output; the output commit is finished whatever comes. */
  async #egress(info: PipelineInfo, wait: Wait): Promise<void> {
    const { egress, versioning } = this.deps;
    this.#phase = 'egressing';
    const ending = { job: this.#job, fence: this.input.fence };
    const name = { repo: this.#job.outputRepo, id: this.#job.outputCommit };
    const commit = await versioning.commit(name, wait);
    try {
      if (egress && commit?.root !== undefined) {
        const root = rootOf(commit.root);
        const say = (message: string): void => this.master.write(message);
        await egress.run({ info, job: this.#job, root, say }, wait);
      }
    } catch (error) {
      if (!(error instanceof JobFailed)) throw error;
      const reason = messageOf(error);
      this.master.write(`job failed: ${reason}`);
      return endEgressed(this.deps, ending, { state: 'FAILURE', reason }, wait);
    }
    await endEgressed(this.deps, ending, { state: 'SUCCESS', reason: '' }, wait);
  }

  async #merged(
    info: PipelineInfo,
    of: { header: ManifestHeader; base: ManifestHeader | undefined; renumbered: boolean },
    wait: Wait,
  ): Promise<Merged> {
    const { header, base, renumbered } = of;
    const from =
      base?.output === undefined ? {} : { base: { header: base, output: rootOf(base.output) } };
    try {
      return await mergeOutputs(
        mergeDeps(this.deps, ordinalOf(this.#job.outputCommit)),
        {
          job: this.#job.id,
          map: header.map,
          ...from,
          overwrite: info.s3Out,
          renumbered,
          indexes: (inner) => this.#planning.indexes(info, inner),
        },
        wait,
      );
    } catch (error) {
      // Outputs that do not fit together: merging again gives the same.
      if (codeOf(error) === 'STATE_CONFLICT') throw new JobFailed(messageOf(error), error);
      throw error;
    }
  }

  async #end(
    ending: { header: ManifestHeader },
    collector: Collector,
    finish: (final: Ending) => Promise<void>,
  ): Promise<void> {
    this.#phase = 'finishing';
    const wait = { signal: AbortSignal.timeout(CLEANUP_MS * 4) };
    const { processed, failed, recovered, stats } = collector.board.counts;
    const [manifest, results] = await Promise.all([
      this.deps.storage.putJson(ending.header, wait),
      this.deps.storage.putJson(collector.index(), wait),
    ]);
    const patch = { processed, failed, recovered, stats, manifest, results };
    await this.#saving?.settle();
    await finish({ job: this.#job, fence: this.input.fence, salt: ending.header.salt, patch });
    this.log.info({ ...collector.board.counts }, 'job finished');
  }

  async #ending(
    plan: JobPlan,
    collector: Collector,
    wait: Wait,
  ): Promise<{ header: ManifestHeader; base: ManifestHeader | undefined }> {
    const base =
      plan.base === undefined
        ? undefined
        : await this.deps.storage.getJson<ManifestHeader>(plan.base, wait);
    const { salt } = this.input.record;
    const { board } = collector;
    const job = this.#job;
    const header = await buildManifest(this.deps, { job, plan, salt, board, base }, wait);
    if (job.statsCommit === undefined) return { header, base };
    const others = await this.#planning.reusable(wait);
    const input = { job, plan, board, header, base, others };
    const stats = encodeNode(await buildStatsTree(this.deps, input, wait)).toString('base64');
    return { header: { ...header, stats }, base };
  }

  /** FAILURE without datums having failed: inputs, spec or merge are at fault. */
  async #failed(reason: string, wait: Wait): Promise<void> {
    const collector = this.#collector;
    this.master.write(`job failed: ${reason}`);
    this.log.warn({ reason }, 'job failed');
    try {
      await held(this.deps.storage.epochs, 'refs', async () => {
        const ending = await this.#partial(wait);
        await endWithFailure(this.deps, ending, { reason, ...ending.stats }, wait);
      });
    } catch (error) {
      const ended = error instanceof JobEnded ? error : await this.#movedOn(error, wait);
      if (!ended) throw error;
      await this.#killed(ended, wait);
    }
    if (collector) await this.deps.queue.publishCancel(this.#job.id);
  }

  async #killed(ended: JobEnded, wait: Wait): Promise<void> {
    this.log.info({ why: ended.why }, 'job ended from outside');
    await this.deps.queue.publishCancel(this.#job.id);
    const why = ended.why === 'stopped' ? '' : ended.why;
    await held(this.deps.storage.epochs, 'refs', async () =>
      endKilled(this.deps, await this.#partial(wait), why, wait),
    );
  }

  /** What can be kept of a job that ends early; nothing when even that can not be read. */
  async #partial(wait: Wait): Promise<Ending & { stats?: { stats?: DirNode } }> {
    const { salt } = this.input.record;
    const ending = { job: this.#job, fence: this.input.fence, salt };
    const collector = this.#collector;
    if (!collector || !this.#plan || this.#job.state === 'EGRESSING') {
      return { ...ending, patch: {} };
    }
    const { header } = await this.#ending(collector.plan, collector, wait);
    const { processed, failed, recovered, stats } = collector.board.counts;
    const manifest = await this.deps.storage.putJson(header, wait);
    const results = await this.deps.storage.putJson(collector.index(), wait);
    const patch = { processed, failed, recovered, stats, manifest, results };
    return { ...ending, patch, stats: statsOf(header) };
  }

  /** After a refused write: whether the job was ended by somebody else. */
  async #movedOn(error: unknown, wait: Wait): Promise<JobEnded | undefined> {
    const code = codeOf(error);
    if (code !== 'STATE_CONFLICT' && code !== 'NOT_FOUND') return undefined;
    using watch = new JobWatch(this.deps, this.#job, wait.signal);
    await watch.check();
    return watch.ended.aborted ? (watch.ended.reason as JobEnded) : undefined;
  }

  /** Notes in the job why it does not go on; returns the error to throw. */
  async #delayed(error: unknown, wait: Wait): Promise<unknown> {
    const reason = `trying again: ${messageOf(error)}`.slice(0, 500);
    const signal = AbortSignal.any([wait.signal, AbortSignal.timeout(3_000)]);
    await this.#say(reason, { signal }).catch(() => undefined);
    return error;
  }

  /** Notes in the job what it waits for. */
  async #say(reason: string, wait: Wait): Promise<void> {
    const nowMs = this.deps.clock.wallMs();
    const pointer = pointerOf(this.#job);
    await fenced(
      this.deps.meta,
      this.input.fence,
      async (t) => {
        const { state } = await patchJobIn(t, pointer, {});
        await setJobStateIn(t, pointer, { state, reason, nowMs });
      },
      { ...wait, label: 'reason' },
    );
  }

  /** Tasks that nobody needs any more. Lost messages are harmless, so failures are too. */
  async #tidy(wait: Wait): Promise<void> {
    if (!this.#collector) return;
    const signal = AbortSignal.any([wait.signal, AbortSignal.timeout(CLEANUP_MS)]);
    await this.deps.queue
      .purgeJob(this.#job.pipeline, this.#job.id, { signal })
      .catch((error: unknown) => this.log.warn({ err: error }, 'could not purge the queue'));
  }

  async #change(state: 'RUNNING' | 'MERGING', patch: JobPatch, wait: Wait): Promise<void> {
    this.#job = await fenced(
      this.deps.meta,
      this.input.fence,
      (t) => {
        const { pipeline, id } = this.#job;
        t.warm([jobKey(pipeline, id), pipelineKey(pipeline)]);
        const nowMs = this.deps.clock.wallMs();
        return setJobStateIn(t, pointerOf(this.#job), { state, reason: '', nowMs, patch });
      },
      { ...wait, label: `job to ${state}` },
    );
  }
}

/** The stats tree of a manifest, as endings want it. */
function statsOf(header: ManifestHeader): { stats?: DirNode } {
  const stats = statsRoot(header);
  return stats ? { stats } : {};
}
