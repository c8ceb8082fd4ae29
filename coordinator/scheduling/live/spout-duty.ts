/** The owner's side of a spout: its code runs on some worker for as long as this spec is in force. */
import { EMPTY_DATUM, SPOUT_JOB, type LiveSpec } from '../../../queue/messages.js';
import type { Wait } from '../../../storage/types.js';
import type { MetaTxn } from '../../meta/index.js';
import { openPrefix, type OpenRecord } from '../../versioning/model.js';
import type { OwnerDeps } from '../deps.js';
import { transformOf } from '../job-spec.js';
import type { Duty, DutyInput } from '../kinds.js';
import { Placement } from './placement.js';
import { servicePorts } from './service-run.js';

export class SpoutDuty implements Duty {
  #placement: Placement | undefined;

  constructor(
    readonly deps: OwnerDeps,
    readonly input: DutyInput,
  ) {}

  get trouble(): string {
    return this.#placement?.trouble ?? '';
  }

  status(): unknown {
    return { spout: true, trouble: this.trouble };
  }

  async run(wait: Wait): Promise<void> {
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
        inputNames: [],
        outputRepo: record.name,
        outputBranch: record.outputBranch,
        outputCommit: '',
        specCommit: record.specCommit,
        datumTries: 1,
        datumTimeoutMs: 0,
      },
      datum: EMPTY_DATUM,
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
