/**
 * What a worker has for datums beside slots: processors, memory, disk and GPUs. A datum that asks
 * for some of it holds it while it runs; GPUs are handed out by name.
 */
export interface Needs {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly gpus: number;
}

export interface RoomSize {
  readonly cpus: number;
  readonly memoryBytes: number;
  /** 0 = unknown, not counted. */
  readonly diskBytes: number;
  /** Ids as CUDA_VISIBLE_DEVICES takes them. */
  readonly gpus: readonly string[];
  /** Datums that may use one GPU at once. */
  readonly gpuShare: number;
}

/** What a running datum holds. */
export interface Grant {
  readonly gpus: readonly string[];
  readonly release: () => void;
}

/** Floats add up to a little more than they should. */
const EPSILON = 1e-6;

export class Room {
  readonly #users: Map<string, number>;

  constructor(readonly size: RoomSize) {
    this.#users = new Map(size.gpus.map((id) => [id, 0]));
  }

  /** Whether one more datum with these needs fits beside the others. */
  fits(
    needs: Needs | undefined,
    held: readonly (readonly [needs: Needs | undefined, count: number])[],
  ): boolean {
    if (!needs) return true;
    const { size } = this;
    if (needs.gpus > size.gpus.length) return false;
    const all = [...held, [needs, 1] as const];
    const sum = (of: (needs: Needs) => number): number =>
      all.reduce((total, [one, count]) => total + (one ? of(one) * count : 0), 0);
    const room = (asked: number, used: number, there: number): boolean =>
      asked === 0 || used <= there + EPSILON;
    return (
      room(
        needs.cpus,
        sum((one) => one.cpus),
        size.cpus,
      ) &&
      room(
        needs.memoryBytes,
        sum((one) => one.memoryBytes),
        size.memoryBytes,
      ) &&
      (size.diskBytes === 0 ||
        room(
          needs.diskBytes,
          sum((one) => one.diskBytes),
          size.diskBytes,
        )) &&
      room(
        needs.gpus,
        sum((one) => one.gpus),
        size.gpus.length * size.gpuShare,
      )
    );
  }

  /** Takes the GPUs with the fewest users, each at most once; undefined when there are not enough. */
  take(needs: Needs | undefined): Grant | undefined {
    const open = [...this.#users]
      .filter(([, users]) => users < this.size.gpuShare)
      .sort((a, b) => a[1] - b[1])
      .slice(0, needs?.gpus ?? 0)
      .map(([id]) => id);
    if (open.length < (needs?.gpus ?? 0)) return undefined;
    for (const id of open) this.#add(id, 1);
    let held = true;
    const release = (): void => {
      if (held) for (const id of open) this.#add(id, -1);
      held = false;
    };
    return { gpus: open, release };
  }

  #add(id: string, count: number): void {
    this.#users.set(id, (this.#users.get(id) ?? 0) + count);
  }
}
