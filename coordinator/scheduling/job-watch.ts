/**
 * Notices from outside that end a running job early: somebody stopped or deleted it, closed its
 * output commit, or its time is up. Informers only give the hint; the answer is read from etcd.
 */
import { cancelled } from '../../core/errors.js';
import { openKey } from '../versioning/model.js';
import { runningJobKey, type JobRecord } from '../pipelines/model.js';
import type { OwnerDeps } from './deps.js';

/** The reason with which a job's signal aborts. */
export class JobEnded extends Error {
  override readonly name = 'JobEnded';
  constructor(readonly why: 'stopped' | 'output commit closed' | 'job timed out') {
    super(why, { cause: cancelled(why) });
  }
}

/** The job can not succeed, whatever is tried; the message becomes its reason. */
export class JobFailed extends Error {
  override readonly name = 'JobFailed';
  constructor(reason: string, cause: unknown) {
    super(reason, { cause });
  }
}

/** No job of the pipeline can succeed as long as its spec is what it is. */
export class Unrunnable extends JobFailed {
  constructor(reason: string) {
    super(reason, undefined);
  }
}

export class JobWatch implements Disposable {
  readonly #controller = new AbortController();
  readonly #stop: () => void;
  #checking = false;
  #again = false;
  #commitDone: boolean;

  constructor(
    readonly deps: OwnerDeps,
    readonly job: JobRecord,
    readonly scope: AbortSignal,
  ) {
    this.#commitDone = job.state === 'EGRESSING';
    this.#stop = deps.views.subscribe(() => this.#hint());
  }

  /**
   * The owner finishes the output commit itself now. With SUCCESS the job goes, too: nobody else's
   * doing is looked for any more. A job that is EGRESSING may still be ended from outside.
   */
  ending(state: 'SUCCESS' | 'EGRESSING'): void {
    if (state === 'SUCCESS') this.#stop();
    else this.#commitDone = true;
  }

  /** Aborts with JobEnded. */
  get ended(): AbortSignal {
    return this.#controller.signal;
  }

  /** Ends the job when it still runs `ms` after `fromMs`, which is when it was created or later. */
  limit(ms: number, fromMs = this.job.startedMs): void {
    if (ms <= 0) return;
    const { clock } = this.deps;
    const leftMs = Math.max(0, fromMs + ms - clock.wallMs());
    clock.sleep(leftMs, { signal: AbortSignal.any([this.scope, this.ended]) }).then(
      () => this.#end(new JobEnded('job timed out')),
      () => undefined,
    );
  }

  /** Reads once whether the job may still run. */
  async check(): Promise<void> {
    const wait = { signal: this.scope };
    const { meta } = this.deps;
    const commit = { repo: this.job.outputRepo, id: this.job.outputCommit };
    const [running, open] = await Promise.all([
      meta.get(runningJobKey(this.job.id), wait),
      this.#commitDone || meta.get(openKey(commit), wait),
    ]);
    if (!running) return this.#end(new JobEnded('stopped'));
    if (!open && !this.#commitDone) this.#end(new JobEnded('output commit closed'));
  }

  [Symbol.dispose](): void {
    this.#stop();
    this.#end(new JobEnded('stopped'));
  }

  #hint(): void {
    const { views } = this.deps;
    const commit = `open/${this.job.outputRepo}/${this.job.outputCommit}`;
    const open = this.#commitDone || views.open.get(commit) !== undefined;
    if (views.running.get(runningJobKey(this.job.id)) && open) return;
    if (this.#checking) {
      this.#again = true;
      return;
    }
    this.#checking = true;
    this.check()
      .catch(() => undefined)
      .finally(() => {
        this.#checking = false;
        if (!this.#again || this.ended.aborted) return;
        this.#again = false;
        this.#hint();
      });
  }

  #end(reason: JobEnded): void {
    if (!this.#controller.signal.aborted) this.#controller.abort(reason);
  }
}

/** How the job ended, when that is what made something throw. */
export function endedBy(error: unknown, signal: AbortSignal): JobEnded | undefined {
  if (error instanceof JobEnded) return error;
  const reason: unknown = signal.aborted ? signal.reason : undefined;
  return reason instanceof JobEnded ? reason : undefined;
}
