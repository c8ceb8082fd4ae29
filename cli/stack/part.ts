/**
 * One program of the stack, kept running: started, watched, started again when it dies (with a
 * backoff that resets after a healthy time), stopped in order.
 *
 * S1  The program has its own process group, so that Ctrl-C on a terminal reaches the supervisor
 *     alone, which stops the parts in order.
 * S2  A part that dies before it was ever ready is not started again: the start fails with the last
 *     thing it said.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import type { Clock } from '../../core/clock.js';
import { unavailable } from '../../core/errors.js';
import { birthOf, type PartRecord } from './stack-file.js';

export interface PartSpec {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly port: number | undefined;
  /** Everything the program prints is appended here. */
  readonly output: string;
  /** The log to point people at. */
  readonly log: string;
  /** Resolves when the program answers. */
  readonly ready: (signal: AbortSignal) => Promise<void>;
  readonly graceMs: number;
}

export interface PartDeps {
  readonly clock: Clock;
  readonly report: (line: string) => void;
  /** The part has a new process, or none. */
  readonly changed: () => void;
}

const READY_MS = 60_000;
const BACKOFF_MIN_MS = 300;
const BACKOFF_MAX_MS = 15_000;
const HEALTHY_MS = 30_000;

export class Part {
  readonly spec: PartSpec;
  readonly #deps: PartDeps;
  readonly #stopping = new AbortController();
  #child: ChildProcess | undefined;
  #exited: Promise<string> | undefined;
  #outputFrom = 0;
  #watcher: Promise<void> | undefined;

  constructor(spec: PartSpec, deps: PartDeps) {
    this.spec = spec;
    this.#deps = deps;
  }

  record(): PartRecord | undefined {
    const pid = this.#child?.pid;
    if (pid === undefined || !this.#runs()) return undefined;
    const { name, port, log } = this.spec;
    return { name, pid, birth: birthOf(pid), port, log };
  }

  #runs(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null;
  }

  /** Starts the program and waits until it answers. Throws UNAVAILABLE with its last words (S2). */
  async start(): Promise<void> {
    await this.#launch();
    this.#watcher = this.#watch();
  }

  /** SIGTERM, and SIGKILL after the grace period. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    if (this.#runs()) {
      this.#child?.kill('SIGTERM');
      const late = new AbortController();
      const killer = this.#deps.clock
        .sleep(this.spec.graceMs, { signal: late.signal })
        .then(() => {
          this.#deps.report(`${this.spec.name} did not stop in time; killing it`);
          this.#child?.kill('SIGKILL');
        })
        .catch(() => undefined);
      await this.#exited;
      late.abort();
      await killer;
    }
    await this.#watcher;
  }

  async #launch(): Promise<void> {
    const { spec } = this;
    const fd = openSync(spec.output, 'a');
    this.#outputFrom = statSync(spec.output).size;
    const child = spawn(spec.command, spec.args, {
      cwd: spec.cwd,
      env: spec.env,
      stdio: ['ignore', fd, fd],
      detached: true,
    });
    closeSync(fd);
    this.#child = child;
    this.#exited = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      child.once('exit', (code, signal) => {
        resolve(signal ? `killed by ${signal}` : `exit code ${code ?? 0}`);
      });
    });
    this.#deps.changed();
    await this.#untilReady();
  }

  async #untilReady(): Promise<void> {
    const { name } = this.spec;
    const enough = new AbortController();
    const signal = AbortSignal.any([
      enough.signal,
      this.#stopping.signal,
      AbortSignal.timeout(READY_MS),
    ]);
    try {
      const died = (this.#exited ?? Promise.resolve('')).then((how) => {
        const { text, portTaken } = this.#lastWords();
        throw unavailable(`${name} could not start (${how})${text}`, { fields: { portTaken } });
      });
      await Promise.race([this.spec.ready(signal), died]);
    } catch (error) {
      if (signal.aborted && !this.#stopping.signal.aborted) {
        throw unavailable(
          `${name} did not answer within ${READY_MS / 1000} seconds; its log: ${this.spec.log}`,
        );
      }
      throw error;
    } finally {
      enough.abort();
    }
  }

  /** The last line the program printed since its start, with a next step when we know one. */
  #lastWords(): { text: string; portTaken: boolean } {
    let text = '';
    try {
      text = readFileSync(this.spec.output).subarray(this.#outputFrom).toString('utf8');
    } catch {
      // No output to quote.
    }
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    const cause = CAUSES.find(({ pattern }) => pattern.test(text));
    const telling = lines.filter((line) => /error|fatal|fail|panic|cannot|could not/i.test(line));
    const line =
      lines.find((candidate) => cause?.pattern.test(candidate)) ?? telling.at(-1) ?? lines.at(-1);
    const said = line === undefined ? '' : `: ${plain(line)}`;
    return {
      text: `${said}\n${cause?.step ?? 'Its log says more.'} Log: ${this.spec.log}`,
      portTaken: cause === PORT_TAKEN,
    };
  }

  async #watch(): Promise<void> {
    const { clock, report, changed } = this.#deps;
    const { name } = this.spec;
    const { signal } = this.#stopping;
    let backoff = BACKOFF_MIN_MS;
    let since = clock.monotonicMs();
    for (;;) {
      const how = await this.#exited;
      changed();
      if (signal.aborted) return;
      if (clock.monotonicMs() - since > HEALTHY_MS) backoff = BACKOFF_MIN_MS;
      report(
        `${name} ended (${how ?? 'unknown'}); starting it again in ${(backoff / 1000).toFixed(1)} s`,
      );
      await clock.sleep(backoff, { signal }).catch(() => undefined);
      backoff = Math.min(backoff * 2, BACKOFF_MAX_MS);
      if (signal.aborted) return;
      since = clock.monotonicMs();
      try {
        await this.#launch();
        report(`${name} is back`);
      } catch (error) {
        if (!signal.aborted) report((error as Error).message);
        // Not answering is as bad as dead.
        this.#child?.kill('SIGKILL');
      }
    }
  }
}

/** Programs that log JSON: the message inside. */
function plain(line: string): string {
  try {
    const { msg, error, err } = JSON.parse(line) as {
      msg?: string;
      error?: unknown;
      err?: { message?: string };
    };
    const why = err?.message ?? (typeof error === 'string' ? error : undefined);
    return [msg, why].filter((text) => text !== undefined).join(': ');
  } catch {
    return line.slice(0, 400);
  }
}

interface Cause {
  readonly pattern: RegExp;
  readonly step: string;
}

const PORT_TAKEN: Cause = {
  pattern: /address already in use|EADDRINUSE/i,
  step: 'A port it needs was taken meanwhile: run this again.',
};

/** Failures with a known way out. */
const CAUSES: readonly Cause[] = [
  PORT_TAKEN,
  {
    pattern: /no space left|ENOSPC|disk quota/i,
    step: 'The disk is full: free some space, then run this again.',
  },
  {
    pattern: /permission denied|EACCES/i,
    step: 'It may not write there: check the owner of the data directory.',
  },
  {
    pattern: /Cannot find module/,
    step: "Tusk is not built whole: run 'npm install' in its folder.",
  },
];
