/**
 * The worker's side of the spawner process: starts it, hands it runs, and starts it again should it
 * die (its sandboxes die with it; runs in progress end as broken and are tried again).
 */
import { fork, type ChildProcess } from 'node:child_process';
import { entryPath } from '../core/entry.js';
import type { Log } from '../core/log.js';
import { Outbox } from './outbox.js';
import type {
  FromSpawner,
  OutputLine,
  RunCommand,
  RunEnd,
  RunOwn,
  SlotPlace,
  ToSpawner,
} from './spawner-protocol.js';

export interface RunDone {
  readonly end: RunEnd;
  readonly ms: number;
  readonly lines: readonly OutputLine[];
  readonly file?: string;
  /** The newest few lines. */
  readonly last: readonly string[];
  readonly count: number;
  /** The sandbox's root from outside; empty without one. */
  readonly root: string;
}

export interface RunOptions {
  /** Kills the run. */
  readonly signal: AbortSignal;
  /** What this run has beside the command. */
  readonly own?: RunOwn;
  /** Output while the run goes on, for followers; lines may be left out. */
  readonly onLines?: (from: number, lines: readonly OutputLine[]) => void;
}

interface Waiting {
  readonly resolve: (done: RunDone) => void;
  readonly onLines: RunOptions['onLines'];
}

/** Named pipes made by one process. */
const PIPES_AT_ONCE = 500;
/** A process that cannot live this long is not started again at once. */
const RESTART_MS = 1000;

export class SpawnerClient implements AsyncDisposable {
  #child: ChildProcess;
  #closed = false;
  readonly #afterClose: (() => void)[] = [];
  #nextRun = 1;
  readonly #places = new Map<number, SlotPlace>();
  /** What each slot ran last; who runs it again need not send it again. */
  readonly #commands = new Map<number, RunCommand>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #pipes = new Map<number, (error: string) => void>();
  /** Leave together at the end of this turn of the event loop: each trip wakes a process. */
  readonly #outbox = new Outbox<ToSpawner>((messages) => this.#sendNow(messages));

  /** Forks the spawner: call this first thing, while the process is small. */
  constructor(readonly options: { readonly log: () => Log; readonly entry?: string }) {
    this.#child = this.#fork();
  }

  /** Makes (or makes again) a slot. */
  openSlot(place: SlotPlace): void {
    this.#places.set(place.slot, place);
    this.#commands.delete(place.slot);
    this.#send({ kind: 'slot', place });
  }

  /** Ends a slot for good; what runs in it is killed. */
  closeSlot(slot: number): void {
    this.#places.delete(slot);
    this.#commands.delete(slot);
    this.#send({ kind: 'unslot', slot });
  }

  /**
   * Runs one command in a slot; never rejects. The slot must be free. A command that is the same
   * object as the slot's last one does not travel again.
   */
  run(slot: number, command: RunCommand, options: RunOptions): Promise<RunDone> {
    const run = this.#nextRun++;
    return new Promise((resolve) => {
      const kill = (): void => this.#send({ kind: 'kill', run });
      const done = (result: RunDone): void => {
        options.signal.removeEventListener('abort', kill);
        resolve(result);
      };
      this.#waiting.set(run, { resolve: done, onLines: options.onLines });
      const { own } = options;
      const known = this.#commands.get(slot) === command;
      this.#commands.set(slot, command);
      this.#send({
        ...{ kind: 'run', run, slot },
        ...(known ? {} : { command }),
        ...(own ? { own } : {}),
      });
      if (options.signal.aborted) kill();
      else options.signal.addEventListener('abort', kill, { once: true });
    });
  }

  /** Process id of the spawner. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Makes named pipes; throws what the system says. */
  async makePipes(paths: readonly string[]): Promise<void> {
    for (let at = 0; at < paths.length; at += PIPES_AT_ONCE) {
      const id = this.#nextRun++;
      const error = await new Promise<string>((resolve) => {
        this.#pipes.set(id, resolve);
        this.#send({ kind: 'pipes', id, paths: paths.slice(at, at + PIPES_AT_ONCE) });
      });
      if (error !== '') throw new Error(`cannot make named pipes: ${error}`);
    }
  }

  /** Calls back when the spawner and its sandboxes are gone. */
  onClosed(work: () => void): void {
    this.#afterClose.push(work);
  }

  /** Kills everything that still runs. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    this.#send({ kind: 'close' });
    this.#outbox.flush();
    if (child.connected) child.disconnect();
    await gone;
    for (const work of this.#afterClose) work();
  }

  #fork(): ChildProcess {
    this.#commands.clear();
    this.#outbox.clear();
    const child = fork(this.options.entry ?? entryPath('spawner'), [], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      execArgv: ['--max-semi-space-size=4'],
      // Its group is its own, so that Ctrl-C reaches the worker alone.
      detached: true,
    });
    child.on('message', (messages) => {
      for (const message of messages as FromSpawner[]) this.#take(message);
    });
    child.on('error', () => undefined);
    const started = performance.now();
    child.on('exit', () => {
      if (this.#closed || this.#child !== child) return this.#failAll('the worker is closing');
      this.options.log().error('The spawner process ended; starting it again.');
      const wait = performance.now() - started < RESTART_MS ? RESTART_MS : 0;
      this.#restart(wait);
    });
    return child;
  }

  #restart(waitMs: number): void {
    const timer = AbortSignal.timeout(Math.max(1, waitMs));
    timer.addEventListener('abort', () => {
      if (this.#closed) return;
      this.#child = this.#fork();
      for (const place of this.#places.values()) this.#send({ kind: 'slot', place });
      this.#failAll('the process that starts user code ended');
    });
  }

  #failAll(message: string): void {
    for (const done of this.#pipes.values()) done(message);
    this.#pipes.clear();
    for (const [run, waiting] of [...this.#waiting]) {
      this.#waiting.delete(run);
      waiting.resolve({
        end: { why: 'broken', message },
        ms: 0,
        lines: [],
        last: [],
        count: 0,
        root: '',
      });
    }
  }

  #take(message: FromSpawner): void {
    if (message.kind === 'ready') return;
    if (message.kind === 'pipes') {
      this.#pipes.get(message.id)?.(message.error);
      this.#pipes.delete(message.id);
      return;
    }
    const waiting = this.#waiting.get(message.run);
    if (!waiting) return;
    if (message.kind === 'lines') return waiting.onLines?.(message.from, message.lines);
    this.#waiting.delete(message.run);
    const { end, ms, lines, file, count, root, last } = message;
    waiting.resolve({ end, ms, lines, file, count, root, last });
  }

  #send(message: ToSpawner): void {
    if (this.#child.connected) this.#outbox.add(message);
  }

  #sendNow(messages: readonly ToSpawner[]): void {
    if (this.#child.connected) this.#child.send(messages, () => undefined);
  }
}
