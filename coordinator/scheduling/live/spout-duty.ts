/** The owner's side of a spout: its code runs on some worker for as long as this spec is in force. */
import { cancelledBy, childController } from '../../../core/signals.js';
import { SPOUT_JOB, type LiveSpec, type WorkDatum } from '../../../queue/messages.js';
import type { Wait } from '../../../storage/types.js';
import type { MetaTxn } from '../../meta/index.js';
import { openPrefix, type OpenRecord } from '../../versioning/model.js';
import type { OwnerDeps } from '../deps.js';
import { inputNames } from '../enumerate.js';
import { gitOf, transformOf } from '../job-spec.js';
import { Unrunnable } from '../job-watch.js';
import type { Duty, DutyInput } from '../kinds.js';
import { failPipeline } from '../outcome.js';
import { endLive, Placement } from './placement.js';
import { servicePorts } from './service-run.js';
import { newerThan, readable, spoutDatum } from './spout-input.js';

export class SpoutDuty implements Duty {
  #placement: Placement | undefined;
  #trouble = '';

  constructor(
    readonly deps: OwnerDeps,
    readonly input: DutyInput,
  ) {}

  get trouble(): string {
    return this.#placement?.trouble ?? this.#trouble;
  }

  status(): unknown {
    return { spout: true, trouble: this.trouble };
  }

  async run(wait: Wait): Promise<void> {
    try {
      for (;;) await this.#round(wait);
    } catch (error) {
      if (wait.signal.aborted || !(error instanceof Unrunnable)) throw error;
      const { fence, record } = this.input;
      const job = { pipeline: record.name, specCommit: record.specCommit };
      await failPipeline(this.deps, fence, { job, reason: error.message }, wait);
    }
  }

  /** Keeps the process running on what there is to read; returns when there is something newer. */
  async #round(wait: Wait): Promise<void> {
    const { deps, input } = this;
    const { info, record } = input;
    const commits = await readable(deps, info, wait);
    const datum = await spoutDatum(deps, info, { salt: record.salt, commits }, wait);
    this.#placement = undefined;
    this.#trouble = typeof datum === 'string' ? datum : '';
    input.onChange();
    using scope = childController(wait.signal);
    const inner: Wait = { signal: scope.signal };
    const newer = info.input ? newerThan(commits, deps, info, inner) : undefined;
    if (typeof datum === 'string') {
      await endLive(deps, input.fence, wait);
      return newer;
    }
    const keeping = this.#keep(datum, inner);
    try {
      await (newer ? Promise.race([keeping, newer]) : keeping);
    } finally {
      scope.abort(cancelledBy('a newer input of the spout'));
      await Promise.allSettled([keeping, newer]);
    }
  }

  async #keep(datum: WorkDatum, wait: Wait): Promise<void> {
    const { deps, input } = this;
    const { record, info } = input;
    const ports = servicePorts(info);
    const live: LiveSpec = {
      kind: 'spout',
      job: {
        pipeline: record.name,
        version: record.version,
        job: SPOUT_JOB,
        // What it writes carries the epoch that its reports are answered with.
        epoch: 0,
        transform: transformOf(info),
        inputNames: inputNames(info.input),
        ...gitOf(info),
        outputRepo: record.name,
        outputBranch: record.outputBranch,
        outputCommit: '',
        specCommit: record.specCommit,
        datumTries: 1,
        datumTimeoutMs: 0,
      },
      datum,
      spout: { overwrite: info.spout?.overwrite ?? false, marker: info.spout?.marker ?? '' },
      ...(ports ? { ports } : {}),
    };
    this.#placement = new Placement(deps, input.fence, {
      kind: 'spout',
      spec: live,
      ports,
      labels: info.schedulingSpec?.nodeSelector ?? {},
    });
    await this.#placement.keep(wait, {
      before: (t) => this.#deleteOpen(t),
      onChange: async () => input.onChange(),
    });
  }

  /** Commits that the former process left open hold only a part of something. */
  async #deleteOpen(t: MetaTxn): Promise<void> {
    const { versioning } = this.deps;
    const { name } = this.input.record;
    for (const open of await t.rangeJson<OpenRecord>(openPrefix(name))) {
      await versioning.deleteCommitIn(t, { repo: name, id: open.id });
    }
    await versioning.propagateIn(t);
  }
}
