/** Progress of jobs as bars, for terminals. */
import { JobState, type JobInfo } from '../../proto/generated/pps.js';
import { widthOf, type Paint } from './colour.js';
import { jobState } from './states.js';

const CELLS = 20;

/** Datums of one job, or of several together. */
export interface Done {
  /** Processed, skipped and recovered ones. */
  readonly good: number;
  readonly failed: number;
  readonly total: number;
}

export function doneOf(infos: readonly JobInfo[]): Done {
  let [good, failed, total] = [0, 0, 0];
  for (const info of infos) {
    good += info.dataProcessed + info.dataSkipped + info.dataRecovered;
    failed += info.dataFailed;
    total += info.dataTotal;
  }
  return { good, failed, total };
}

/** `████████░░░░`: what is done, what failed (at least one cell), what is left. */
export function bar({ good, failed, total }: Done, paint: Paint, cells = CELLS): string {
  const share = (count: number): number => Math.trunc((count / Math.max(1, total)) * cells);
  const bad = failed > 0 ? Math.max(1, share(failed)) : 0;
  const whole = total > 0 && good + failed >= total;
  const done = Math.max(0, whole ? cells - bad : Math.min(share(good), cells - bad));
  const left = Math.max(0, cells - bad - done);
  return paint('green', '█'.repeat(done)) + paint('red', '█'.repeat(bad)) + '░'.repeat(left);
}

/** Whether there is something to see in a bar. */
export function isUnderWay(info: JobInfo): boolean {
  const { JOB_SUCCESS, JOB_FAILURE, JOB_KILLED } = JobState;
  return ![JOB_SUCCESS, JOB_FAILURE, JOB_KILLED].includes(info.state);
}

/** One line per pipeline, in the order their first jobs began; no longer than `columns`. */
export function pipelineLines(jobs: readonly JobInfo[], columns: number, paint: Paint): string[] {
  const byPipeline = new Map<string, JobInfo[]>();
  for (const job of jobs) {
    const name = job.pipeline?.name ?? '';
    byPipeline.set(name, [...(byPipeline.get(name) ?? []), job]);
  }
  const width = Math.max(0, ...[...byPipeline.keys()].map((name) => widthOf(name)));
  return [...byPipeline].map(([name, infos]) => {
    const done = doneOf(infos);
    const at = infos.find(isUnderWay) ?? infos.at(-1);
    const many =
      infos.length > 1 ? `job ${infos.indexOf(at as JobInfo) + 1} of ${infos.length}` : '';
    const failed = done.failed > 0 ? `${done.failed} failed` : '';
    const reason = at?.reason ?? '';
    const words = [many, failed, reason].filter((word) => word !== '').join(', ');
    const counts = `${done.good + done.failed} / ${done.total}`;
    const head = `${name.padEnd(width)} ${bar(done, paint)} ${counts} ${jobState(at?.state ?? 0, paint)}`;
    const room = columns - 1 - widthOf(head) - 2;
    return words === '' || room < 8 ? head : `${head}  ${fit(words, room)}`;
  });
}

function fit(text: string, room: number): string {
  const line = text.replace(/\s+/g, ' ');
  return line.length <= room ? line : `${line.slice(0, room - 1)}…`;
}

/** Lines at the bottom of a terminal that are drawn again and again, and go in the end. */
export class LiveLines {
  #shown = 0;

  constructor(readonly write: (text: string) => void) {}

  show(lines: readonly string[]): void {
    this.write(this.#back() + lines.map((line) => `${line}\n`).join(''));
    this.#shown = lines.length;
  }

  end(): void {
    this.write(this.#back());
    this.#shown = 0;
  }

  #back(): string {
    return this.#shown === 0 ? '' : `\u001b[${this.#shown}A\u001b[J`;
  }
}
