/** The jobs of one pipeline that have not ended, in the order of their commits. */
import { cancelledBy, childController } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';
import { jobKey, type JobRecord, type PipelineRecord } from '../pipelines/model.js';
import type { Fence, OwnerDeps } from './deps.js';
import { kindOf, makeRun, type EarlierRun, type Run, type RunInput } from './kinds.js';
import { InFlight } from './in-flight.js';
import { Overlap } from './overlap.js';
import { supervised } from './supervised.js';
import { WorkerStatuses } from './worker-statuses.js';

interface Entry extends EarlierRun {
  run: Run;
  readonly stop: AbortController;
}

export class Runs {
  readonly #entries = new Map<string, Entry>();
  readonly overlap: Overlap;
  readonly inFlight: InFlight;
  readonly statuses: WorkerStatuses;

  constructor(
    readonly deps: OwnerDeps,
    readonly fence: Fence,
    /** Called when a job has ended, or another may begin beside those that run. */
    readonly onChange: () => void,
  ) {
    this.overlap = new Overlap(onChange, () => deps.clock.monotonicMs());
    this.inFlight = new InFlight(deps);
    this.statuses = new WorkerStatuses(deps);
  }

  get size(): number {
    return this.#entries.size;
  }

  has(job: string): boolean {
    return this.#entries.has(job);
  }

  get(job: string): Run | undefined {
    return this.#entries.get(job)?.run;
  }

  list(): readonly Run[] {
    return [...this.#entries.values()].map(({ run }) => run);
  }

  /** Runs a job after (and beside) the ones that are there, which are told that it came. */
  async start(record: PipelineRecord, job: JobRecord, wait: Wait): Promise<void> {
    const spec = { pipeline: job.pipeline, specCommit: job.specCommit };
    const kind = kindOf(await this.deps.loadSpec(spec, wait));
    const earlier = [...this.#entries.values()];
    const stop = childController(wait.signal);
    const make = (now: JobRecord): Run => {
      const { fence, overlap, inFlight, statuses } = this;
      const input: RunInput = { fence, record, job: now, earlier, overlap, inFlight, statuses };
      return makeRun(this.deps, kind, input);
    };
    const run = make(job);
    let first = true;
    const attempt = async (inner: Wait): Promise<void> => {
      if (!first) {
        const now = await this.#read(job, inner);
        if (!now || now.finishedMs !== undefined) return;
        entry.run = make(now);
        if (this.#isSuperseded(entry)) entry.run.supersede?.();
      }
      first = false;
      await entry.run.run(inner);
    };
    let begin = (): void => undefined;
    const ready = new Promise<void>((resolve) => (begin = resolve));
    const ended = ready
      .then(() => supervised(this.deps, `job ${job.id}`, attempt, { signal: stop.signal }))
      .finally(() => {
        stop[Symbol.dispose]();
        this.#entries.delete(job.id);
        this.overlap.end(job.id);
        this.onChange();
      });
    const entry: Entry = { job, run, stop, ended };
    this.#entries.set(job.id, entry);
    this.overlap.start(job.id);
    begin();
    for (const before of earlier) (before as Entry).run.supersede?.();
  }

  /** Breaks all of them off; they can be taken up again from their records. */
  async stop(why: string): Promise<void> {
    const entries = [...this.#entries.values()];
    for (const { stop } of entries) stop.abort(cancelledBy(why));
    await Promise.all(entries.map(({ ended }) => ended));
  }

  #isSuperseded(entry: Entry): boolean {
    return [...this.#entries.values()].at(-1) !== entry;
  }

  async #read(job: JobRecord, wait: Wait): Promise<JobRecord | undefined> {
    const kv = await this.deps.meta.get(jobKey(job.pipeline, job.id), wait);
    return kv && (JSON.parse(kv.value.toString()) as JobRecord);
  }
}
