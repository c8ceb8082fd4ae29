/**
 * A job of a service: it runs while its output commit is the newest, on the one datum that its input
 * has to give, and ends with an empty output when the next one takes over. The process itself is not
 * ours to end: the next job, or whoever stops the pipeline, does.
 */
import { addAbortListener, childController } from '../../../core/signals.js';
import { messageOf } from '../../../core/errors.js';
import type { PipelineInfo } from '../../../proto/generated/pps.js';
import type { LivePorts, LiveSpec, WorkDatum } from '../../../queue/messages.js';
import type { Wait } from '../../../storage/types.js';
import {
  setJobStateIn,
  type InputCommit,
  type JobPatch,
  type JobRecord,
} from '../../pipelines/model.js';
import { fenced, type OwnerDeps } from '../deps.js';
import { enumerate } from '../enumerate.js';
import { failedInputs } from '../failure.js';
import { jobSpec } from '../job-spec.js';
import { JobEnded, JobWatch, Unrunnable } from '../job-watch.js';
import type { Run, RunInput } from '../kinds.js';
import {
  endKilled,
  endWithFailure,
  endWithSuccess,
  failPipeline,
  pointerOf,
  type Ending,
} from '../outcome.js';
import { oneDatum } from '../plan.js';
import { commitSource, type SourceDeps } from '../source.js';
import { endLive, Placement, specIdOf } from './placement.js';

/** Another job of the pipeline took over. */
class Superseded extends Error {
  override readonly name = 'Superseded';
}

export class ServiceRun implements Run {
  readonly #superseded = new AbortController();
  #job: JobRecord;
  #placement: Placement | undefined;
  #trouble = '';
  #specId: string | undefined;

  constructor(
    readonly deps: OwnerDeps,
    readonly input: RunInput,
  ) {
    this.#job = input.job;
  }

  get job(): JobRecord {
    return this.#job;
  }

  get trouble(): string {
    return this.#placement?.trouble ?? this.#trouble;
  }

  status(): unknown {
    return { job: this.#job.id, service: true, trouble: this.trouble };
  }

  supersede(): void {
    if (!this.#superseded.signal.aborted) this.#superseded.abort(new Superseded());
  }

  async run(wait: Wait): Promise<void> {
    using scope = childController(wait.signal);
    using watch = new JobWatch(this.deps, this.#job, scope.signal);
    const unhook = [watch.ended, this.#superseded.signal].map((signal) =>
      addAbortListener(signal, () => scope.abort(signal.reason)),
    );
    try {
      await watch.check();
      await this.#serve({ signal: scope.signal });
    } catch (error) {
      if (wait.signal.aborted) throw error;
      const why: unknown = scope.signal.aborted ? scope.signal.reason : error;
      if (why instanceof Superseded) await this.#succeed(wait);
      else if (why instanceof JobEnded) await this.#killed(why, wait);
      else if (why instanceof Unrunnable) await this.#impossible(why.message, wait);
      else throw error;
    } finally {
      for (const stop of unhook) stop();
    }
  }

  async #serve(wait: Wait): Promise<void> {
    const { deps } = this;
    const info = await deps.loadSpec(
      { pipeline: this.#job.pipeline, specCommit: this.#job.specCommit },
      wait,
    );
    const failed = await failedInputs(deps, this.#job, info.input, wait);
    if (failed.length > 0) {
      const reason = `inputs ${failed.join(', ')} failed`;
      return endWithFailure(deps, this.#ending(), { reason }, wait);
    }
    const datum = await this.#datum(info, wait);
    if (typeof datum === 'string') {
      await this.#show(datum, 0, wait);
      await endLive(deps, this.input.fence, wait);
      // The commit stays as it is: only the next one can be better.
      return forever(wait);
    }
    const ports = servicePorts(info);
    const live: LiveSpec = {
      kind: 'service',
      // What it writes carries the epoch that its reports are answered with.
      job: jobSpec(info, this.#job, 0),
      datum,
      ...(ports ? { ports } : {}),
    };
    this.#specId = specIdOf(live);
    await this.#show('', 1, wait);
    this.#placement = new Placement(deps, this.input.fence, {
      kind: 'service',
      spec: live,
      job: this.#job.id,
      ports,
      labels: info.schedulingSpec?.nodeSelector ?? {},
    });
    await this.#placement.keep(wait, { onChange: (trouble) => this.#show(trouble, 1, wait) });
  }

  /** The only datum; a text says why there is none. */
  async #datum(info: PipelineInfo, wait: Wait): Promise<WorkDatum | string> {
    try {
      return await singleDatum(
        this.deps,
        info,
        { ...this.input.record, commits: this.#job.inputs },
        wait,
      );
    } catch (error) {
      wait.signal.throwIfAborted();
      throw error;
    }
  }

  async #show(trouble: string, total: number, wait: Wait): Promise<void> {
    this.#trouble = trouble;
    const { reason, state } = this.#job;
    if (state === 'RUNNING' && reason === trouble && this.#job.total === total) return;
    const patch: JobPatch = { total };
    this.#job = await fenced(
      this.deps.meta,
      this.input.fence,
      (t) =>
        setJobStateIn(t, pointerOf(this.#job), {
          state: 'RUNNING',
          reason: trouble,
          nowMs: this.deps.clock.wallMs(),
          patch,
        }),
      { ...wait, label: 'service job' },
    );
  }

  /** The job fails first: the failure of the pipeline would kill it. */
  async #impossible(reason: string, wait: Wait): Promise<void> {
    await endWithFailure(this.deps, this.#ending(), { reason }, wait);
    await failPipeline(this.deps, this.input.fence, { job: this.#job, reason }, wait);
  }

  async #succeed(wait: Wait): Promise<void> {
    await Promise.all(this.input.earlier.map(({ ended }) => ended));
    const processed = this.#specId === undefined ? 0 : 1;
    const root = this.deps.storage.trees.empty;
    try {
      await endWithSuccess(this.deps, this.#ending({ processed }), { root }, wait);
    } catch (error) {
      if (!(error instanceof JobEnded)) throw error;
      await this.#killed(error, wait);
    }
  }

  async #killed(ended: JobEnded, wait: Wait): Promise<void> {
    if (this.#specId !== undefined) {
      await endLive(this.deps, this.input.fence, wait, this.#specId);
    }
    const reason = ended.why === 'stopped' ? '' : ended.why;
    await endKilled(this.deps, this.#ending(), reason, wait).catch((error: unknown) => {
      // Deleted together with its pipeline.
      this.deps.log.debug({ err: error, why: messageOf(error) }, 'a service job is gone');
    });
  }

  #ending(patch: JobPatch = {}): Ending {
    return { job: this.#job, fence: this.input.fence, salt: this.input.record.salt, patch };
  }
}

/** The one datum that a service can read; a text says why there is none. */
export async function singleDatum(
  deps: SourceDeps,
  { input, pipeline }: Pick<PipelineInfo, 'input' | 'pipeline'>,
  { salt, commits }: { readonly salt: string; readonly commits: readonly InputCommit[] },
  wait: Wait,
): Promise<WorkDatum | string> {
  const list = await enumerate(input, commitSource(deps, commits), wait);
  if (list.length === 1) return oneDatum(list.at(0), pipeline?.name ?? '', salt);
  return (
    `services must have a single datum: this input gives ${list.length}` +
    `${list.length > 1 ? '; use the glob / to get all of its files as one' : ''}`
  );
}

/** Ports of a service, or of a spout with one. */
export function servicePorts(info: PipelineInfo): LivePorts | undefined {
  const service = info.service ?? info.spout?.service;
  if (!service || service.internalPort === 0) return undefined;
  const internal = service.internalPort;
  return service.type === 'ClusterIP' ? { internal } : { internal, external: service.externalPort };
}

function forever({ signal }: Wait): Promise<never> {
  return new Promise((_resolve, reject) => {
    addAbortListener(signal, () => reject(signal.reason as Error));
  });
}
