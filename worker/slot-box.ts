/** Gives a slot the sandbox that a task needs, and leaves it alone when it has it already. */
import type { Slot } from './datum.js';
import type { SpawnerClient } from './spawner-client.js';
import type { CgroupHome, Isolation, Limits, Mount, SlotPlace } from './spawner-protocol.js';

export interface BoxWishes {
  readonly rootfs?: string;
  readonly limits?: Limits;
  /** User code uses GPUs. */
  readonly gpu?: boolean;
  readonly warm?: boolean;
  readonly mounts?: readonly Mount[];
  /** There is no /pfs/out. */
  readonly noOut?: boolean;
}

export interface SlotBoxDeps {
  readonly spawner: Pick<SpawnerClient, 'openSlot'>;
  readonly isolation: Isolation;
  readonly cgroups: CgroupHome | undefined;
  readonly gpuDevices: readonly string[];
}

export class SlotBoxes {
  readonly #now = new Map<number, string>();

  constructor(readonly deps: SlotBoxDeps) {}

  /** Makes the slot's sandbox as wished; the slot must be free. */
  prepare(slot: Pick<Slot, 'index' | 'files'>, wishes: BoxWishes = {}): void {
    const { spawner, isolation, cgroups, gpuDevices } = this.deps;
    const { rootfs, limits, gpu, warm, mounts = [], noOut } = wishes;
    const limited = limits && Object.values(limits).some((one) => one !== undefined);
    const place: SlotPlace = {
      slot: slot.index,
      isolation,
      dir: slot.files.dir,
      ...(rootfs === undefined ? {} : { rootfs }),
      ...(limited ? { limits, ...(cgroups ? { cgroups } : {}) } : {}),
      ...(gpu && gpuDevices.length > 0 ? { devices: gpuDevices } : {}),
      ...(warm ? { warm } : {}),
      ...(mounts.length > 0 ? { mounts } : {}),
      ...(noOut ? { noOut } : {}),
    };
    const key = JSON.stringify(place);
    if (this.#now.get(slot.index) === key) return;
    this.#now.set(slot.index, key);
    slot.files.setOut(!noOut);
    spawner.openSlot(place);
  }
}
