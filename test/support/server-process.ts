/**
 * A server as a child process that can be killed, stopped, frozen and started again with the same
 * arguments. It never outlives this process: the kernel kills it with its parent, and the exit of
 * this process kills what is left.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

export interface ServerOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
  /** Standard output and error go here. */
  readonly logFile: string;
  /** Resolves when it answers; called again after each start. */
  readonly ready: () => Promise<void>;
  /** Debian package that brings the program. */
  readonly package: string;
}

const living = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of living) child.kill('SIGKILL');
});

let wrapper: readonly string[] | undefined;

/** `setpriv` makes the kernel kill the child when we die; without it only the exit hook does. */
function withParent(command: string, args: readonly string[]): [string, string[]] {
  wrapper ??=
    spawnSync('setpriv', ['--pdeathsig', 'KILL', 'true']).status === 0
      ? ['setpriv', '--pdeathsig', 'KILL']
      : [];
  const [first, ...rest] = [...wrapper, command, ...args];
  return [first as string, rest];
}

/** Throws an error that names the package when the program is not installed. */
export function needProgram(program: string, packageName: string): string {
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  const found = spawnSync('sh', ['-c', `command -v ${program}`], {
    env: { ...process.env, PATH: path },
    encoding: 'utf8',
  });
  const file = found.stdout.trim();
  if (file === '') {
    throw new Error(`${program} is not installed; try: apt-get install -y ${packageName}`);
  }
  return file;
}

export class ServerProcess implements AsyncDisposable {
  readonly #options: ServerOptions;
  #child: ChildProcess | undefined;
  #exited: Promise<void> = Promise.resolve();

  constructor(options: ServerOptions) {
    this.#options = options;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error(`${this.#options.command} is not running`);
    return this.#child.pid;
  }

  get running(): boolean {
    return this.#child !== undefined;
  }

  /** Everything it has written so far. */
  get output(): string {
    return readFileSync(this.#options.logFile, 'utf8');
  }

  async start(): Promise<void> {
    await this.spawn();
    await this.waitReady();
  }

  /** Starts it without waiting until it answers. */
  async spawn(): Promise<void> {
    const { logFile } = this.#options;
    mkdirSync(dirname(logFile), { recursive: true });
    const log = openSync(logFile, 'a');
    const command = needProgram(this.#options.command, this.#options.package);
    const [file, args] = withParent(command, this.#options.args);
    const child = spawn(file, args, {
      stdio: ['ignore', log, log],
      cwd: this.#options.cwd,
      env: { ...process.env, ...this.#options.env },
    });
    closeSync(log);
    living.add(child);
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.once('error', () => resolve());
      child.once('exit', () => {
        living.delete(child);
        if (this.#child === child) this.#child = undefined;
        resolve();
      });
    });
  }

  async waitReady(): Promise<void> {
    const died = this.#exited.then(() => {
      throw new Error(`${this.#options.command} ended at once:\n${this.output.slice(-2_000)}`);
    });
    await Promise.race([this.#options.ready(), died]);
    died.catch(() => undefined);
  }

  /** Resolves when the process has ended by itself. */
  async ended(): Promise<void> {
    await this.#exited;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  /** kill -9 and wait until it is gone. */
  async kill9(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  /** Ends it in an orderly way; kills it after 10 s. */
  async stop(): Promise<void> {
    const child = this.#child;
    if (!child) return;
    const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    await this.#exited;
    clearTimeout(late);
  }

  /** Starts it again where it was; stops it first if it runs. */
  async restart(): Promise<void> {
    await this.stop();
    await this.start();
  }

  /** Returns when every thread has really stopped: on another core one may run on for a moment. */
  pause(): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    this.#child?.kill('SIGSTOP');
    const clock = new Int32Array(new SharedArrayBuffer(4));
    while (!isStopped(pid)) Atomics.wait(clock, 0, 0, 1);
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
  }
}

/** True when all threads of a process are stopped (or it is gone). */
function isStopped(pid: number): boolean {
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) => {
      const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
      return 'TtZX'.includes(stat.slice(stat.lastIndexOf(')') + 2)[0] ?? '');
    });
  } catch {
    return true;
  }
}
