/**
 * What this worker's datums cost, as Prometheus reads it, under the names of Pachyderm 1.x: series by
 * pipeline and job, those of the newest jobs only.
 */
import type { DatumResult } from '../queue/messages.js';
import type { StoreCounts } from '../storage/object-store.js';

/** Jobs whose series are kept. */
const JOBS_MAX = 200;
/** Seconds: 2^-6 … 2^13. */
const SECONDS = Array.from({ length: 20 }, (_, index) => 2 ** (index - 6));
/** Bytes: 1 KiB … 1 TiB. */
const BYTES = Array.from({ length: 16 }, (_, index) => 4 ** (index + 5));

type TryState = 'started' | 'errored' | 'finished';

/** A histogram without labels of its own. */
class Histogram {
  readonly #counts: number[];
  #sum = 0;
  #count = 0;

  constructor(readonly bounds: readonly number[]) {
    this.#counts = bounds.map(() => 0);
  }

  add(value: number): void {
    const at = this.bounds.findIndex((bound) => value <= bound);
    if (at >= 0) this.#counts[at] = (this.#counts[at] ?? 0) + 1;
    this.#sum += value;
    this.#count += 1;
  }

  get sum(): number {
    return this.#sum;
  }

  lines(name: string, labels: string): string[] {
    let below = 0;
    const buckets = this.bounds.map((bound, index) => {
      below += this.#counts[index] ?? 0;
      return `${name}_bucket{${labels},le="${bound}"} ${below}`;
    });
    return [
      ...buckets,
      `${name}_bucket{${labels},le="+Inf"} ${this.#count}`,
      `${name}_sum{${labels}} ${this.#sum}`,
      `${name}_count{${labels}} ${this.#count}`,
    ];
  }
}

class JobSeries {
  readonly tries: Record<TryState, number> = { started: 0, errored: 0, finished: 0 };
  readonly download = { time: new Histogram(SECONDS), size: new Histogram(BYTES) };
  readonly proc = { time: new Histogram(SECONDS) };
  readonly upload = { time: new Histogram(SECONDS), size: new Histogram(BYTES) };

  constructor(readonly labels: string) {}
}

/** Name, what it counts, and where that is. */
const STORE: readonly (readonly [string, string, keyof StoreCounts])[] = [
  ['reads', 'Reads from the object store.', 'reads'],
  ['read_bytes', 'Bytes read from the object store.', 'readBytes'],
  ['reads_hedged', 'Reads asked again as the first request took too long.', 'readsHedged'],
  ['slow_downs', 'Answers of the object store that asked to slow down.', 'slowDowns'],
];

type Lines = (series: JobSeries) => readonly string[];

export class DatumMetrics {
  /** The job that was heard of longest ago first. */
  readonly #jobs = new Map<string, JobSeries>();
  #store: { readonly counts: StoreCounts } | undefined;

  /** The store that the worker reads from, once it is known. */
  useStore(store: { readonly counts: StoreCounts }): void {
    this.#store = store;
  }

  /** User code of a datum is about to run. */
  tried(of: JobName): void {
    this.#of(of).tries.started += 1;
  }

  /** The datum is done, after all of its tries. */
  done(of: JobName, { state, tries, stats }: Pick<DatumResult, 'state' | 'tries' | 'stats'>): void {
    const series = this.#of(of);
    const finished = state === 'success' ? 1 : 0;
    series.tries.finished += finished;
    series.tries.errored += tries - finished;
    series.download.time.add(stats.downloadMs / 1000);
    series.download.size.add(stats.downloadBytes);
    series.proc.time.add(stats.processMs / 1000);
    series.upload.time.add(stats.uploadMs / 1000);
    series.upload.size.add(stats.uploadBytes);
  }

  /** In the text format of Prometheus, version 0.0.4. */
  text(): string {
    const all = [...this.#jobs.values()];
    const out: string[] = [];
    const family = (name: string, kind: 'counter' | 'histogram', help: string, of: Lines): void => {
      out.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`);
      for (const series of all) for (const line of of(series)) out.push(line);
    };
    const at = 'pachyderm_worker_datum';
    family(`${at}_count`, 'counter', 'Tries of datums.', ({ tries, labels }) =>
      Object.entries(tries).map(
        ([state, count]) => `${at}_count{${labels},state="${state}"} ${count}`,
      ),
    );
    for (const part of ['download', 'proc', 'upload'] as const) {
      const time = `${at}_${part}_time`;
      family(time, 'histogram', `Seconds of the ${part} of a datum.`, (series) =>
        series[part].time.lines(time, series.labels),
      );
      const seconds = `${at}_${part}_seconds_count`;
      family(seconds, 'counter', `Seconds of the ${part} of all datums.`, (series) => [
        `${seconds}{${series.labels}} ${series[part].time.sum}`,
      ]);
    }
    for (const part of ['download', 'upload'] as const) {
      const size = `${at}_${part}_size`;
      family(size, 'histogram', `Bytes of the ${part} of a datum.`, (series) =>
        series[part].size.lines(size, series.labels),
      );
      const bytes = `${at}_${part}_bytes_count`;
      family(bytes, 'counter', `Bytes of the ${part} of all datums.`, (series) => [
        `${bytes}{${series.labels}} ${series[part].size.sum}`,
      ]);
    }
    const counts = this.#store?.counts;
    for (const [name, help, which] of counts ? STORE : []) {
      const total = `tusk_worker_store_${name}_total`;
      out.push(`# HELP ${total} ${help}`, `# TYPE ${total} counter`);
      out.push(`${total} ${counts?.[which] ?? 0}`);
    }
    return `${out.join('\n')}\n`;
  }

  #of({ pipeline, job }: JobName): JobSeries {
    const known = this.#jobs.get(job);
    // Names of pipelines and jobs need no escape.
    const series = known ?? new JobSeries(`pipeline="${pipeline}",job="${job}"`);
    this.#jobs.delete(job);
    this.#jobs.set(job, series);
    const [oldest] = this.#jobs.keys();
    if (this.#jobs.size > JOBS_MAX && oldest !== undefined) this.#jobs.delete(oldest);
    return series;
  }
}

export interface JobName {
  readonly pipeline: string;
  readonly job: string;
}
