/** Which workers can run a datum, and in words why none can. */
import { formatBytes } from '../../core/quantity.js';
import type { Needs } from '../pipelines/model.js';

/** What a worker has for datums. */
export interface Room {
  readonly cpus: number;
  readonly memoryBytes: number;
  /** 0 = unknown. */
  readonly diskBytes: number;
  readonly gpus: number;
  /** Datums that may use one GPU at once. */
  readonly gpuShare: number;
  readonly labels: Readonly<Record<string, string>>;
}

export interface Place {
  readonly worker: string;
  readonly slots: number;
  readonly draining: boolean;
  readonly room?: Room;
}

/** Datums with these needs that the worker can run at once. */
export function slotsFor(needs: Needs | undefined, { slots, room }: Place): number {
  if (!needs || !room) return slots;
  if (!hasLabels(needs, room) || !hasGpus(needs, room)) return 0;
  const fit = (asked: number, there: number): number =>
    asked > 0 ? Math.floor(there / asked) : slots;
  return Math.min(
    slots,
    fit(needs.cpus, room.cpus),
    fit(needs.memoryBytes, room.memoryBytes),
    room.diskBytes > 0 ? fit(needs.diskBytes, room.diskBytes) : slots,
    fit(needs.gpus, room.gpus * room.gpuShare),
  );
}

/**
 * Why no worker can run the pipeline's datums, with what would have to change; undefined when one
 * can, or when there is no worker at all.
 */
export function whyNowhere(needs: Needs | undefined, places: readonly Place[]): string | undefined {
  const live = places.filter(({ draining }) => !draining);
  if (!needs || live.length === 0) return undefined;
  if (live.some((place) => slotsFor(needs, place) > 0)) return undefined;
  const rooms = live.flatMap(({ room }) => (room ? [room] : []));
  const labelled = rooms.filter((room) => hasLabels(needs, room));
  if (labelled.length === 0) {
    const labels = Object.entries(needs.nodeSelector).map(([key, value]) => `${key}=${value}`);
    return (
      `no worker has the labels ${labels.join(', ')} that scheduling_spec asks for; ` +
      `start one with 'tusk worker --label ${labels[0] ?? ''}'`
    );
  }
  const most = (of: (room: Room) => number): number => Math.max(0, ...labelled.map(of));
  if (!labelled.some((room) => hasGpus(needs, room))) {
    const type = needs.gpuType === '' ? '' : ` of type ${needs.gpuType}`;
    return `a datum asks for ${needs.gpus} GPUs${type}; the most any worker has is ${most((room) => room.gpus)}`;
  }
  if (needs.memoryBytes > most((room) => room.memoryBytes)) {
    return `a datum asks for ${formatBytes(needs.memoryBytes)} of memory; the most any worker has is ${formatBytes(most((room) => room.memoryBytes))}`;
  }
  if (needs.cpus > most((room) => room.cpus)) {
    return `a datum asks for ${needs.cpus} cpus; the most any worker has is ${most((room) => room.cpus)}`;
  }
  if (needs.diskBytes > most((room) => room.diskBytes)) {
    return `a datum asks for ${formatBytes(needs.diskBytes)} of disk; the most any worker has is ${formatBytes(most((room) => room.diskBytes))}`;
  }
  return 'no single worker has all that a datum asks for (cpu, memory, disk, GPUs, labels)';
}

const NO_WORKERS =
  'waiting for workers: none has joined; start one with `tusk worker --join HOST:PORT`';

/** Why nobody works on the pipeline's tasks; empty when somebody can. */
export function whyIdle(needs: Needs | undefined, places: readonly Place[]): string {
  if (places.every(({ draining }) => draining)) return NO_WORKERS;
  return whyNowhere(needs, places) ?? '';
}

function hasLabels({ nodeSelector }: Needs, { labels }: Room): boolean {
  return Object.entries(nodeSelector).every(([key, value]) => labels[key] === value);
}

/** Old specs name NVIDIA's devices in several ways; there are no others yet. */
function hasGpus({ gpus, gpuType }: Needs, room: Room): boolean {
  if (gpus === 0) return true;
  return gpus <= room.gpus && (gpuType === '' || /nvidia|^gpu$/i.test(gpuType));
}
