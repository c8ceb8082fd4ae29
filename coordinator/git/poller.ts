/**
 * Looks at the git repos of one pipeline now and then, kept by its owner; webhooks only make it
 * quicker. What it can not read becomes the pipeline's reason.
 */
import type { Clock } from '../../core/clock.js';
import { messageOf } from '../../core/errors.js';
import type { Log } from '../../core/log.js';
import type { GitInput, PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import { gitInputs } from '../pipelines/inputs.js';
import { pipelineKey, setPipelineStateIn, type PipelineRecord } from '../pipelines/model.js';
import type { Beside } from '../scheduling/index.js';
import { Wakeup } from '../scheduling/wakeup.js';
import { isBusy, pushedHead, storePush, type PushDeps } from './pushes.js';
import { branchHead, PrivateRepo, type RemoteDeps } from './remote.js';

export interface PollerDeps extends PushDeps, RemoteDeps {
  readonly meta: Meta;
  readonly clock: Clock;
  readonly log: Log;
  /** Between two looks where the input says nothing; 0 = only at the start and by webhooks. */
  readonly pollMs: number;
  /** Why a pipeline's sources can not be read, by pipeline. */
  readonly troubles: Map<string, string>;
  readonly loadSpec: (
    spec: { readonly pipeline: string; readonly specCommit: string },
    wait: Wait,
  ) => Promise<PipelineInfo>;
}

const NEVER_MS = 24 * 3_600_000;
/** After looks that failed, at first and at last, however long the interval is. */
const RETRY_MS = 1_000;
const RETRY_MS_MAX = 10_000;
const POLL_MS_MIN = 1_000;

/** What the owner of a pipeline runs beside its jobs. */
export function polling(deps: PollerDeps): Beside {
  return (owned, signal) => new Poller(deps, owned).run({ signal });
}

class Poller {
  readonly #changed = new Wakeup();
  /** Looks in a row that failed. */
  #failed = 0;

  constructor(
    readonly deps: PollerDeps,
    readonly owned: Parameters<Beside>[0],
  ) {}

  get #pipeline(): string {
    return this.owned.fence.pipeline;
  }

  async run(wait: Wait): Promise<void> {
    const { views } = this.owned;
    const key = pipelineKey(this.#pipeline);
    let specCommit = '';
    const stop = views.pipelines.subscribe((changes) => {
      const now = views.pipelines.get(key)?.specCommit;
      if (changes.length === 0 || now !== specCommit) this.#changed.raise();
    });
    try {
      for (;;) {
        wait.signal.throwIfAborted();
        const record = views.pipelines.get(key);
        specCommit = record?.specCommit ?? '';
        const timeoutMs = record ? await this.#look(record, wait) : NEVER_MS;
        await this.#changed.wait({ ...wait, timeoutMs, clock: this.deps.clock });
      }
    } finally {
      stop();
      this.deps.troubles.delete(this.#pipeline);
    }
  }

  /** Looks at every git input; answers how long to wait. */
  async #look(record: PipelineRecord, wait: Wait): Promise<number> {
    if (record.stopped || record.state === 'FAILURE') return NEVER_MS;
    const { name: pipeline, specCommit } = record;
    const info = await this.deps.loadSpec({ pipeline, specCommit }, wait);
    let waitMs = NEVER_MS;
    let trouble: string | undefined;
    let failed = false;
    for (const git of gitInputs(info.input)) {
      try {
        await this.#read(git, wait);
        waitMs = Math.min(waitMs, this.#intervalMs(git));
      } catch (error) {
        wait.signal.throwIfAborted();
        if (error instanceof PrivateRepo) return this.#fail(specCommit, error.message, wait);
        if (!isBusy(error)) trouble = `git input "${git.name}": ${messageOf(error)}`;
        this.deps.log.info({ pipeline, input: git.name, err: error }, 'git input can not be read');
        waitMs = Math.min(waitMs, RETRY_MS_MAX, RETRY_MS * 2 ** this.#failed);
        failed = true;
      }
    }
    this.#failed = failed ? Math.min(this.#failed + 1, 10) : 0;
    if (trouble === undefined) this.deps.troubles.delete(pipeline);
    else this.deps.troubles.set(pipeline, trouble);
    return waitMs;
  }

  #intervalMs({ pollInterval }: GitInput): number {
    if (!pollInterval) return this.deps.pollMs > 0 ? this.deps.pollMs : NEVER_MS;
    return Math.max(POLL_MS_MIN, pollInterval.seconds * 1000 + pollInterval.nanos / 1e6);
  }

  async #read(git: GitInput, wait: Wait): Promise<void> {
    const after = await branchHead(this.deps, git.url, git.branch, wait);
    const before = await pushedHead(this.deps, git, wait);
    if (after === undefined || after === before) return;
    const { fence } = this.owned;
    const payload = {
      ref: `refs/heads/${git.branch}`,
      before: before ?? '0'.repeat(after.length),
      after,
      repository: { name: git.name, clone_url: git.url },
    };
    const commit = await storePush(this.deps, git, payload, {
      ...wait,
      guardIn: (t) => t.requireUnchanged(fence.key, fence.revision),
    });
    if (commit) {
      const fields = { pipeline: this.#pipeline, repo: git.name, commit: commit.id, after };
      this.deps.log.info(fields, 'git input has a new commit');
    }
  }

  async #fail(specCommit: string, reason: string, wait: Wait): Promise<number> {
    const { fence } = this.owned;
    await this.deps.meta.transact(
      async (t) => {
        t.requireUnchanged(fence.key, fence.revision);
        const now = await t.getJson<PipelineRecord>(pipelineKey(this.#pipeline));
        if (now?.specCommit !== specCommit) return;
        await setPipelineStateIn(t, this.#pipeline, { state: 'FAILURE', reason });
      },
      { ...wait, label: `git of ${this.#pipeline}` },
    );
    return NEVER_MS;
  }
}
