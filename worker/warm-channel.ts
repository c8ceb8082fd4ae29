/**
 * The spawner's end of a process that stays alive: one request line at a time, one answer line
 * (docs/warm-mode.md).
 */
import type { Readable, Writable } from 'node:stream';
import { LineFramer } from './line-framer.js';

export interface WarmAnswer {
  /** The datum failed, and why; absent = done. */
  readonly error?: string;
  /** The process can not be trusted with another datum. */
  readonly fatal?: boolean;
}

/** Longer answers are no answers. */
const ANSWER_CHARS_MAX = 64 * 1024;

export class WarmChannel {
  #take: ((answer: WarmAnswer) => void) | undefined;

  constructor(
    readonly requests: Writable,
    readonly answers: Readable,
  ) {
    const framer = new LineFramer(ANSWER_CHARS_MAX, (line) => this.#answer(line));
    answers.on('data', (bytes: Buffer) => framer.push(bytes));
  }

  /** Sends a request; `take` is called with its answer, never when the process ends before. */
  ask(request: string, take: (answer: WarmAnswer) => void): void {
    this.#take = take;
    this.requests.write(`${request}\n`);
  }

  #answer(line: string): void {
    if (line.trim() === '') return;
    const take = this.#take;
    this.#take = undefined;
    // Nobody asked: the process lost count, and its next answer may be about this datum.
    take?.(parseAnswer(line));
  }
}

/** Reads `{"done":true}` or `{"error":"why"}`. */
export function parseAnswer(line: string): WarmAnswer {
  const no = (why: string): WarmAnswer => ({
    fatal: true,
    error: `its answer ${JSON.stringify(line.slice(0, 100))} is ${why}; see docs/warm-mode.md`,
  });
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return no('no JSON');
  }
  if (typeof value !== 'object' || value === null) return no('no object');
  const { done, error } = value as { done?: unknown; error?: unknown };
  if (error !== undefined) return { error: typeof error === 'string' ? error : String(error) };
  return done === true ? {} : no('neither {"done":true} nor {"error":"…"}');
}
