/**
 * Sends live log lines, those of one job together: a datum of a few milliseconds writes six, and a
 * message each cost a worker more than the datum's own files (measured).
 */
import type { Clock } from '../core/clock.js';
import { NEVER } from '../core/signals.js';
import { logSubject, type LogLine } from './messages.js';

/** How long a line may wait for others; a person who follows does not see it. */
const HOLD_MS = 100;
/** Text of one message; a line that is longer goes alone. */
const MESSAGE_CHARS_MAX = 128 * 1024;

export interface LogSenderDeps {
  readonly clock: Clock;
  readonly send: (subject: string, text: string) => void;
}

interface Held {
  readonly lines: string[];
  chars: number;
}

export class LogSender {
  readonly #held = new Map<string, Held>();
  #waiting = false;

  constructor(readonly deps: LogSenderDeps) {}

  /** Sends a line soon; `text` is the line as JSON. */
  add({ pipeline, job, task }: Pick<LogLine, 'pipeline' | 'job' | 'task'>, text: string): void {
    const subject = logSubject(pipeline, job);
    const held = this.#held.get(subject);
    if (held && held.chars + text.length <= MESSAGE_CHARS_MAX) {
      held.lines.push(text);
      held.chars += text.length;
    } else {
      if (held) this.deps.send(subject, held.lines.join('\n'));
      this.#held.set(subject, { lines: [text], chars: text.length });
    }
    // The coordinator's own lines are few, and the last one comes just before the end of its job.
    if (task < 0) return this.flush();
    if (this.#waiting) return;
    this.#waiting = true;
    void this.#flushSoon();
  }

  /** Sends what waits. */
  flush(): void {
    for (const [subject, { lines }] of this.#held) this.deps.send(subject, lines.join('\n'));
    this.#held.clear();
  }

  async #flushSoon(): Promise<void> {
    await this.deps.clock.sleep(HOLD_MS, { signal: NEVER });
    this.#waiting = false;
    this.flush();
  }
}

/** The lines of a message. */
export function* linesOf(text: string): Generator<LogLine> {
  for (const line of text.split('\n')) yield JSON.parse(line) as LogLine;
}
