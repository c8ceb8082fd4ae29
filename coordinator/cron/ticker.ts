/**
 * The clock of one pipeline, kept by its owner.
 *
 * C1 A tick is due after the last file in its repo, and its transaction compares that file and the
 *    owner's fence: a restart, a second coordinator or another pipeline on the same repo never
 *    makes a tick twice.
 * C2 Ticks that are overdue are made one after the other, as their own commits.
 * C3 A stopped or failed pipeline does not tick.
 */
import { codeOf, messageOf } from '../../core/errors.js';
import type { CronInput, PipelineInfo } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import { cronInputs } from '../pipelines/inputs.js';
import { pipelineKey, type PipelineRecord } from '../pipelines/model.js';
import type { Beside } from '../scheduling/index.js';
import { Wakeup } from '../scheduling/wakeup.js';
import type { Clock } from '../../core/clock.js';
import type { Log } from '../../core/log.js';
import {
  dueAfter,
  LastTick,
  makeTick,
  TICK_BRANCH,
  TickIsThere,
  tickName,
  tickTree,
} from './ticks.js';
import type { TickDeps } from './ticks.js';

export interface TickerDeps extends TickDeps {
  readonly clock: Clock;
  readonly log: Log;
  readonly loadSpec: (
    spec: { readonly pipeline: string; readonly specCommit: string },
    wait: Wait,
  ) => Promise<PipelineInfo>;
}

/** Longest sleep: a clock that is set forward is noticed after this. */
const LOOK_MS = 60_000;
/** How soon a tick is tried again that something stands in the way of. */
const RETRY_MS = 1_000;

/** What the owner of a pipeline runs beside its jobs. */
export function ticking(deps: TickerDeps): Beside {
  return (owned, signal) => new Ticker(deps, owned).run({ signal });
}

class Ticker {
  readonly #changed = new Wakeup();
  readonly #last = new Map<string, LastTick>();

  constructor(
    readonly deps: TickerDeps,
    readonly owned: Parameters<Beside>[0],
  ) {}

  async run(wait: Wait): Promise<void> {
    const { views, fence } = this.owned;
    const key = pipelineKey(fence.pipeline);
    const stop = views.pipelines.subscribe((changes) => {
      if (changes.length === 0 || changes.some((change) => change.key === key))
        this.#changed.raise();
    });
    const stopBranches = this.deps.versioning.branches.subscribe((changes) => {
      const ours = (name: string): boolean =>
        [...this.#last.keys()].some((repo) => name === `br/${repo}/${TICK_BRANCH}`);
      if (changes.length === 0 || changes.some((change) => ours(change.key))) this.#changed.raise();
    });
    try {
      for (;;) {
        wait.signal.throwIfAborted();
        const record = views.pipelines.get(key);
        const waitMs = record ? await this.#step(record, wait) : undefined;
        await this.#changed.wait({ ...wait, timeoutMs: waitMs ?? LOOK_MS, clock: this.deps.clock });
      }
    } finally {
      stop();
      stopBranches();
    }
  }

  /** Makes the ticks that are due; answers how long to sleep, undefined = until something changes. */
  async #step(record: PipelineRecord, wait: Wait): Promise<number | undefined> {
    if (record.stopped || record.state === 'FAILURE') return undefined;
    const { name: pipeline, specCommit } = record;
    const info = await this.deps.loadSpec({ pipeline, specCommit }, wait);
    let sleepMs: number | undefined;
    for (const cron of cronInputs(info.input)) {
      const ms = await this.#tend(cron, specCommit, wait);
      if (ms !== undefined) sleepMs = Math.min(ms, sleepMs ?? LOOK_MS);
    }
    return sleepMs;
  }

  async #tend(cron: CronInput, specCommit: string, wait: Wait): Promise<number | undefined> {
    const { clock } = this.deps;
    let last = this.#last.get(cron.repo);
    if (!last) {
      await this.#dropUnfinished(cron, wait);
      last = new LastTick(this.deps);
      this.#last.set(cron.repo, last);
    }
    for (;;) {
      wait.signal.throwIfAborted();
      const current = this.owned.views.pipelines.get(pipelineKey(this.owned.fence.pipeline));
      if (current?.specCommit !== specCommit) return 0;
      const lastMs = await last.of(await tickTree(this.deps, cron.repo, wait), wait);
      const dueMs = dueAfter(cron, lastMs);
      if (dueMs === undefined) return undefined;
      const leftMs = dueMs - clock.wallMs();
      if (leftMs > 0) return leftMs;
      if (!(await this.#tick(cron, { dueMs, last }, wait))) return RETRY_MS;
    }
  }

  /** True when the tick is there now, whoever made it. */
  async #tick(
    cron: CronInput,
    tick: { readonly dueMs: number; readonly last: LastTick },
    wait: Wait,
  ): Promise<boolean> {
    const { fence } = this.owned;
    const { dueMs, last } = tick;
    const fields = { pipeline: fence.pipeline, repo: cron.repo, tick: tickName(dueMs) };
    try {
      const commit = await makeTick(this.deps, cron, dueMs, {
        ...wait,
        guardIn: async (t, base) => {
          t.requireUnchanged(fence.key, fence.revision);
          if (dueAfter(cron, await last.of(base, wait)) !== dueMs) throw new TickIsThere();
        },
      });
      this.deps.log.info({ ...fields, commit: commit.id }, 'cron tick');
      await this.#seen(cron.repo, commit.id, wait);
      return true;
    } catch (error) {
      if (error instanceof TickIsThere) return this.#behind(wait);
      // An open commit of a user on the branch: the tick waits for it.
      if (codeOf(error) !== 'STATE_CONFLICT') throw error;
      this.deps.log.warn({ ...fields, why: messageOf(error) }, 'cron tick has to wait');
      return false;
    }
  }

  /** Somebody else ticked and our view of the branch has yet to show it. */
  async #behind({ signal }: Wait): Promise<boolean> {
    await this.deps.clock.sleep(20, { signal });
    return true;
  }

  /** Waits until our own view shows the tick, so that the next look starts from it. */
  async #seen(repo: string, commit: string, { signal }: Wait): Promise<void> {
    const { branches } = this.deps.versioning;
    await branches
      .waitFor(() => (branches.get(`br/${repo}/${TICK_BRANCH}`)?.head ?? '') >= commit, {
        signal: AbortSignal.any([signal, AbortSignal.timeout(2_000)]),
      })
      .catch(() => undefined);
    signal.throwIfAborted();
  }

  /** An unfinished head would hold up every tick; ticks themselves are never left unfinished. */
  async #dropUnfinished(cron: CronInput, wait: Wait): Promise<void> {
    const { versioning, log } = this.deps;
    // Not our view of the branch: what it does not show yet would hold up ticks for ever.
    const branch = { repo: cron.repo, name: TICK_BRANCH };
    const { head } = await versioning.inspectBranch(branch, wait).catch((error: unknown) => {
      if (codeOf(error) === 'NOT_FOUND') return { head: undefined };
      throw error;
    });
    const commit = head && (await versioning.commit({ repo: cron.repo, id: head }, wait));
    if (!commit || commit.finished !== undefined) return;
    await versioning.deleteCommit({ repo: cron.repo, id: commit.id }, wait);
    log.warn(
      { repo: cron.repo, commit: commit.id },
      'unfinished commit at the head of a cron repo deleted',
    );
  }
}
