/**
 * What workers say that they hold, asked once for all running jobs of a pipeline: so the number of
 * questions does not grow with the number of jobs.
 */
import type { WorkerStatus } from '../../queue/index.js';
import type { OwnerDeps } from './deps.js';

const ASK_TIMEOUT_MS = 1_500;

export class WorkerStatuses {
  #asked:
    | { readonly atMs: number; readonly answers: Promise<ReadonlyMap<string, WorkerStatus>> }
    | undefined;

  constructor(readonly deps: Pick<OwnerDeps, 'queue' | 'views' | 'clock'>) {}

  /** By worker; those that do not answer are left out. Answers may be `ageMs` old. */
  async get(ageMs: number): Promise<ReadonlyMap<string, WorkerStatus>> {
    const now = this.deps.clock.monotonicMs();
    if (!this.#asked || now - this.#asked.atMs > ageMs) {
      this.#asked = { atMs: now, answers: this.#ask() };
    }
    return this.#asked.answers;
  }

  async #ask(): Promise<ReadonlyMap<string, WorkerStatus>> {
    const { views, queue } = this.deps;
    const wait = { signal: AbortSignal.timeout(ASK_TIMEOUT_MS) };
    const answers = new Map<string, WorkerStatus>();
    await Promise.all(
      [...views.workers.values()].map(async ({ worker }) => {
        const status = await queue.askStatus(worker, wait).catch(() => undefined);
        if (status) answers.set(worker, status);
      }),
    );
    return answers;
  }
}
