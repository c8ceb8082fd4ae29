/** Mean, deviation and percentiles of many numbers, in little memory. */

export interface Summary {
  readonly count: number;
  readonly mean: number;
  readonly stddev: number;
  readonly p5: number;
  readonly p95: number;
}

/** Neighbouring buckets are so far apart; the error of a percentile is at most half of it. */
const STEP = Math.log(1.02);

export class Aggregate {
  #count = 0;
  #mean = 0;
  /** Sum of squared differences from the mean (Welford). */
  #squares = 0;
  #zeros = 0;
  readonly #buckets = new Map<number, number>();

  /** A number ≥ 0. */
  add(value: number): void {
    this.#count += 1;
    const before = value - this.#mean;
    this.#mean += before / this.#count;
    this.#squares += before * (value - this.#mean);
    if (value <= 0) {
      this.#zeros += 1;
      return;
    }
    const bucket = Math.round(Math.log(value) / STEP);
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + 1);
  }

  summary(): Summary {
    const stddev = this.#count === 0 ? 0 : Math.sqrt(this.#squares / this.#count);
    const [p5 = 0, p95 = 0] = this.#percentiles([0.05, 0.95]);
    return { count: this.#count, mean: this.#mean, stddev, p5, p95 };
  }

  #percentiles(wanted: readonly number[]): number[] {
    const buckets = [...this.#buckets].sort(([a], [b]) => a - b);
    return wanted.map((share) => {
      let left = Math.max(1, Math.ceil(this.#count * share)) - this.#zeros;
      if (left <= 0) return 0;
      for (const [bucket, count] of buckets) {
        left -= count;
        if (left <= 0) return Math.exp(bucket * STEP);
      }
      return 0;
    });
  }
}
