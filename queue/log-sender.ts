/**
 * Sends live log lines, those of one job together: a datum of a few milliseconds writes six, and a
 * message each cost a worker more than the datum's own files (measured).
 */
import type { Clock } from '../core/clock.js';
import { NEVER } from '../core/signals.js';
import type { LogRow } from './log-text.js';
import { logSubject, type LogSource } from './messages.js';

/** How long a line may wait for others; a person who follows does not see it. */
const HOLD_MS = 100;
/** Text of one message; a line that is longer goes alone. */
const MESSAGE_CHARS_MAX = 128 * 1024;

export interface LogSenderDeps {
  readonly clock: Clock;
  readonly send: (subject: string, text: string) => void;
}

interface Held {
  readonly rows: LogRow[];
  chars: number;
  /** The newest beginning in `rows`. */
  shared: LogRow;
}

export class LogSender {
  readonly #held = new Map<string, Held>();
  #waiting = false;

  constructor(readonly deps: LogSenderDeps) {}

  /** Sends a line soon: a whole one, or the rest of one that begins with `shared`. */
  add({ pipeline, job, task }: LogSource, row: LogRow, shared: LogRow = ''): void {
    const subject = logSubject(pipeline, job);
    let held = this.#held.get(subject);
    if (!held || held.chars + row.length + shared.length > MESSAGE_CHARS_MAX) {
      if (held) this.deps.send(subject, held.rows.join('\n'));
      held = { rows: [], chars: 0, shared: '' };
      this.#held.set(subject, held);
    }
    if (shared !== '' && shared !== held.shared) {
      held.shared = shared;
      held.rows.push(shared);
      held.chars += shared.length;
    }
    held.rows.push(row);
    held.chars += row.length;
    // The coordinator's own lines are few, and the last one comes just before the end of its job.
    if (task < 0) return this.flush();
    if (this.#waiting) return;
    this.#waiting = true;
    void this.#flushSoon();
  }

  /** Sends what waits. */
  flush(): void {
    for (const [subject, { rows }] of this.#held) this.deps.send(subject, rows.join('\n'));
    this.#held.clear();
  }

  async #flushSoon(): Promise<void> {
    await this.deps.clock.sleep(HOLD_MS, { signal: NEVER });
    this.#waiting = false;
    this.flush();
  }
}
