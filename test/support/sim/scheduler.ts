/**
 * Decides in which order things happen. Everything that waits for a server waits for its turn here;
 * one turn is given at a time, to whom is up to the seed. Between turns all code runs until it waits
 * again, so one seed is one interleaving.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';

/** A process: its turns stop for good when it dies, and for a while when it is paused. */
export interface Process {
  readonly name: string;
  dead: boolean;
  paused: boolean;
}

interface Turn {
  readonly process: Process;
  readonly go: () => void;
  readonly fail: (error: Error) => void;
}

/** Work of the file system that is under way outside of JavaScript. */
const BUSY = new Set(['FSReqPromise', 'FSReqCallback', 'CloseReq']);
/** Each at least a millisecond: a busy machine may take long to close a file. */
const LATE_TRIES = 20_000;

export class Scheduler {
  #state: number;
  #turns: Turn[] = [];
  /** Of the dead. */
  #lost: Turn[] = [];
  readonly #buried = new Set<Process>();
  turnsGiven = 0;

  constructor(seed: number) {
    this.#state = (seed * 2654435761 + 12345) >>> 0;
  }

  /** 0 ≤ n < limit. */
  below(limit: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % limit;
  }

  chance(oneIn: number): boolean {
    return this.below(oneIn) === 0;
  }

  pick<T>(list: readonly T[]): T | undefined {
    return list[this.below(Math.max(list.length, 1))];
  }

  /** Waits for a turn of this process. */
  turn(process: Process): Promise<void> {
    if (this.#buried.has(process)) return Promise.reject(new Error(`${process.name} is dead`));
    return new Promise((resolve, reject) => {
      this.#turns.push({ process, go: resolve, fail: reject });
    });
  }

  /** What a dead process left standing gives up, so that its files are closed. */
  bury(process: Process): void {
    this.#buried.add(process);
    for (const turn of [...this.#lost, ...this.#turns]) {
      if (turn.process === process) turn.fail(new Error(`${process.name} is dead`));
    }
    this.#lost = this.#lost.filter((turn) => turn.process !== process);
    this.#turns = this.#turns.filter((turn) => turn.process !== process);
  }

  /** Nobody asks for a turn: something that can not be seen, a file being closed, is under way. */
  async #late(done: () => boolean): Promise<void> {
    for (let tries = 0; tries < LATE_TRIES; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      await settled();
      if (done() || this.#turns.length > 0) return;
    }
    throw new Error('everybody waits for something that does not come');
  }

  /** Gives turns until `done`; `between` runs before each. Throws when nobody can go on. */
  async run(done: () => boolean, between: () => void = () => undefined): Promise<void> {
    for (;;) {
      await settled();
      if (done()) return;
      between();
      this.#lost.push(...this.#turns.filter(({ process }) => process.dead));
      this.#turns = this.#turns.filter(({ process }) => !process.dead);
      let ready = this.#turns.filter(({ process }) => !process.paused);
      if (ready.length === 0) {
        for (const { process } of this.#turns) process.paused = false;
        ready = this.#turns;
      }
      const turn = this.pick(ready);
      if (!turn) {
        await this.#late(done);
        continue;
      }
      this.#turns.splice(this.#turns.indexOf(turn), 1);
      this.turnsGiven += 1;
      if (this.turnsGiven > 50_000) throw new Error('this does not come to an end');
      turn.go();
    }
  }
}

/** Everything that could run has run. */
async function settled(): Promise<void> {
  do await nextTurn();
  while (process.getActiveResourcesInfo().some((name) => BUSY.has(name)));
}
