/** The plan of one job as its owner makes it: the first part, the rest, and what they are made of. */
import type { Log } from '../../core/log.js';
import { abortable, cancelledBy } from '../../core/signals.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { OwnerDeps } from './deps.js';
import { enumerate, type DatumList } from './enumerate.js';
import { JobFailed } from './job-watch.js';
import type { RunInput } from './kinds.js';
import type { MasterLog } from './master-log.js';
import {
  historyKey,
  type JobPlan,
  type ManifestHeader,
  type ManifestHistory,
  type SegmentRef,
} from './model.js';
import { placesOf, type MadePlan, type PlanInput } from './plan.js';
import { plansOf } from './plan-pool.js';
import { slotsWanted } from './shares.js';
import { commitSource } from './source.js';

export class JobPlanning {
  #list: DatumList | undefined;
  /** Goes on making the plan of which the first part runs. */
  #plans: AsyncGenerator<MadePlan> | undefined;
  readonly #stop = new AbortController();

  constructor(
    readonly deps: OwnerDeps,
    readonly input: Pick<RunInput, 'job' | 'record'>,
    readonly tell: { readonly log: Log; readonly master: MasterLog },
  ) {}

  /**
   * The first plan: the whole one, or a part to begin with. With `beside`, the datums of earlier jobs
   * that still run: undefined when nothing can be planned before those have ended.
   */
  async first(
    info: PipelineInfo,
    beside: readonly SegmentRef[] | undefined,
    wait: Wait,
  ): Promise<MadePlan | undefined> {
    const { clock } = this.deps;
    const startMs = clock.monotonicMs();
    const plans = await this.#begin(info, wait, beside ? { beside } : {});
    const first = await abortable(plans.next(), wait.signal);
    if (first.done && beside) return undefined;
    if (first.done) throw new JobFailed('the job has no plan', undefined);
    const made = first.value;
    if (made.plan.partial !== undefined && !beside) this.#plans = plans;
    else await plans.return(undefined);
    this.#list = made.list;
    const { total, skipped, tasks, partial, withheld } = made.plan;
    const durationMs = Math.round(clock.monotonicMs() - startMs);
    const { how } = made;
    this.tell.log.info({ how, total, skipped, tasks: tasks.length, durationMs }, 'job planned');
    const parts = partial !== undefined && !withheld;
    const cut = parts ? 'tasks that are being cut' : `${tasks.length} tasks`;
    const later = (withheld ?? []).reduce((sum, { count }) => sum + count, 0);
    const open = total - skipped - later;
    this.tell.master.write(
      `${total} datums: ${skipped} were done before, ${open} to run in ${cut}` +
        (later > 0 ? `, ${later} are with earlier jobs` : ''),
    );
    return made;
  }

  /** The whole plan after a partial one; an earlier owner's is worked out anew up to there. */
  async rest(info: PipelineInfo, before: JobPlan, wait: Wait): Promise<JobPlan> {
    const { clock } = this.deps;
    const startMs = clock.monotonicMs();
    const plans = this.#plans ?? (await this.#begin(info, wait, { before }));
    this.#plans = undefined;
    let last: MadePlan | undefined;
    for (;;) {
      const made = await abortable(plans.next(), wait.signal);
      if (made.done) break;
      last = made.value;
    }
    if (!last) throw new JobFailed('the job has no plan', undefined);
    this.#list ??= last.list;
    const { total, skipped, tasks } = last.plan;
    const { length } = tasks;
    const durationMs = Math.round(clock.monotonicMs() - startMs);
    const fields = { total, skipped, tasks: length, durationMs };
    this.tell.log.info(fields, 'rest of the job planned');
    this.tell.master.write(
      before.withheld
        ? `earlier jobs have ended: ${skipped} datums were done before, ` +
            `${length - before.tasks.length} more tasks to run`
        : `all ${length} tasks are cut`,
    );
    return last.plan;
  }

  /** Manifests that datums of this job may come from. */
  async reusable(wait: Wait): Promise<ManifestHeader[]> {
    const history = await this.#history(wait);
    const refs = history?.salt === this.input.record.salt ? history.manifests : [];
    const load = ({ ref }: { ref: string }): Promise<ManifestHeader> =>
      this.deps.storage.getJson<ManifestHeader>(ref, wait);
    return Promise.all(refs.map(load));
  }

  /** Place of each datum in the enumeration, by manifest key (latin1). */
  async indexes(info: PipelineInfo, wait: Wait): Promise<ReadonlyMap<string, number>> {
    const { inputs } = this.input.job;
    const list = this.#list ?? (await enumerate(info.input, commitSource(this.deps, inputs), wait));
    return placesOf(list, wait);
  }

  /** The run ends: nobody waits for what is still being planned. */
  end(): void {
    this.#stop.abort(cancelledBy('the end of the job'));
    // Where it stands still nobody asks it for more: it has to tidy up after itself now.
    void this.#plans?.return(undefined).catch(() => undefined);
  }

  /** Plans that go on until the run ends, whoever waits for them. */
  async #begin(
    info: PipelineInfo,
    wait: Wait,
    { before, beside }: { before?: JobPlan; beside?: readonly SegmentRef[] },
  ): Promise<AsyncGenerator<MadePlan>> {
    const { job, record } = this.input;
    const { earlyFrom, besideMax, views } = this.deps;
    const input: PlanInput = {
      job,
      info,
      salt: record.salt,
      source: commitSource(this.deps, job.inputs),
      history: await this.#history(wait),
      slots: slotsWanted(record.parallelism, views.hosts()),
      ...(earlyFrom === undefined ? {} : { earlyFrom }),
      ...(beside ? { beside } : {}),
      ...(besideMax === undefined ? {} : { besideMax }),
    };
    return plansOf(this.deps, input, { signal: this.#stop.signal }, before);
  }

  async #history(wait: Wait): Promise<ManifestHistory | undefined> {
    const kv = await this.deps.meta.get(historyKey(this.input.job.pipeline), wait);
    return kv ? (JSON.parse(kv.value.toString()) as ManifestHistory) : undefined;
  }
}
