/**
 * Lines by the owner of a job about the job as a whole: when it was cut up, what was published
 * again, how it ended. They are kept in the results index and also sent live; bounded.
 */
import type { Clock } from '../../core/clock.js';
import type { LogLine } from '../../queue/messages.js';
import { MASTER_TASK } from './model.js';

const LINES_MAX = 200;

export class MasterLog {
  #lines: LogLine[] = [];
  #next = 0;

  constructor(
    readonly of: { readonly pipeline: string; readonly job: string; readonly restart: number },
    readonly deps: {
      readonly clock: Clock;
      readonly worker: string;
      readonly publish: (line: LogLine) => void;
    },
  ) {}

  get lines(): readonly LogLine[] {
    return this.#lines;
  }

  /** Puts the lines of earlier owners in front. */
  restore(lines: readonly LogLine[]): void {
    const mine = this.#lines.filter((line) => line.attempt === this.of.restart);
    const earlier = lines.filter((line) => line.attempt !== this.of.restart);
    this.#lines = [...earlier, ...mine].slice(-LINES_MAX);
  }

  write(message: string): void {
    const line: LogLine = {
      ts: this.deps.clock.wallMs(),
      pipeline: this.of.pipeline,
      job: this.of.job,
      task: MASTER_TASK,
      attempt: this.of.restart,
      line: this.#next,
      worker: this.deps.worker,
      datum: '',
      user: false,
      message,
    };
    this.#next += 1;
    this.#lines = [...this.#lines, line].slice(-LINES_MAX);
    this.deps.publish(line);
  }
}
