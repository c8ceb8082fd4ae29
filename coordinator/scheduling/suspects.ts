/**
 * Tasks that workers were lost over. One datum that kills its worker must not take the cluster down
 * with it, and must not take its neighbours with it either:
 *
 * P1  A task that was lost with two workers is suspect: it is cut into single datums.
 * P2  Suspects run one at a time, so that the next loss accuses one datum only.
 * P3  A single datum that was lost five times fails. Five workers is what it can cost.
 */

/** Losses that make a task suspect. */
export const SUSPECT_AT = 2;
/** Losses after which a single datum has failed. */
export const FAILED_AT = 5;

export interface Verdict {
  /** To be published again as they are. */
  readonly again: readonly number[];
  /** To be cut into single datums. */
  readonly cut: readonly number[];
  /** Single datums that are given up. */
  readonly failed: readonly number[];
}

export class Suspects {
  readonly #strikes = new Map<number, number>();
  /** Suspects that wait for their turn, in order. */
  #waiting: number[] = [];
  #running: number | undefined;

  /** What an earlier owner knew. */
  restore(
    strikes: readonly (readonly [number, number])[],
    isDone: (task: number) => boolean,
  ): void {
    for (const [task, count] of strikes) {
      this.#strikes.set(task, count);
      if (count >= SUSPECT_AT && !isDone(task)) this.#waiting.push(task);
    }
  }

  strikes(): [number, number][] {
    return [...this.#strikes];
  }

  countOf(task: number): number {
    return this.#strikes.get(task) ?? 0;
  }

  /** Tasks that nobody may run now. */
  get withheld(): ReadonlySet<number> {
    return new Set(this.#waiting);
  }

  /** Judges tasks that were lost with a worker; `datumsOf` tells how many datums a task has. */
  strike(tasks: readonly number[], datumsOf: (task: number) => number): Verdict {
    const verdict = { again: [] as number[], cut: [] as number[], failed: [] as number[] };
    for (const task of tasks) {
      if (this.#waiting.includes(task)) continue;
      const count = this.countOf(task) + 1;
      this.#strikes.set(task, count);
      if (this.#running === task) this.#running = undefined;
      if (count < SUSPECT_AT) verdict.again.push(task);
      else if (datumsOf(task) > 1) verdict.cut.push(task);
      else if (count < FAILED_AT) this.#waiting.push(task);
      else verdict.failed.push(task);
    }
    return verdict;
  }

  /** The single datums that a suspect was cut into. */
  suspect(tasks: readonly number[]): void {
    for (const task of tasks) {
      this.#strikes.set(task, SUSPECT_AT);
      this.#waiting.push(task);
    }
  }

  /** The suspect to publish next; none while one runs. */
  next(isDone: (task: number) => boolean): number | undefined {
    if (this.#running !== undefined && !isDone(this.#running)) return undefined;
    this.#waiting = this.#waiting.filter((task) => !isDone(task));
    this.#running = this.#waiting.shift();
    return this.#running;
  }
}
