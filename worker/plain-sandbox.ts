/**
 * The last rung of the ladder: no namespaces. /pfs on the host is a link to the slot's directory
 * (so there is one slot), inputs are copies, and a run is a process group of its own that is killed
 * whole. Children that leave the group can survive; hosts should install bubblewrap.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Readable } from 'node:stream';
import { LineFramer } from './line-framer.js';
import type { Sandbox } from './sandbox.js';
import type { SandboxLimits } from './sandbox-limits.js';
import type { SlotPipes } from './slot-pipes.js';
import { LINE_BYTES_MAX, type RunCommand, type RunEnd } from './spawner-protocol.js';
import { parseAnswer, type WarmAnswer } from './warm-channel.js';

export class PlainSandbox implements Sandbox {
  readonly root = '';
  #child: ChildProcess | undefined;
  #killed = false;

  constructor(
    readonly pipes: SlotPipes,
    readonly limits: SandboxLimits,
  ) {}

  get pid(): number | undefined {
    return this.#child?.pid;
  }

  async run(command: RunCommand): Promise<RunEnd> {
    this.#killed = false;
    const end = await (command.request === undefined ? this.#run(command) : this.#ask(command));
    const killed = this.#killed;
    this.kill();
    this.#child = undefined;
    this.pipes.drain();
    return killed ? { why: 'killed' } : end;
  }

  kill(): void {
    const pid = this.#child?.pid;
    if (pid === undefined) return;
    this.#killed = true;
    try {
      process.kill(-pid, 'SIGKILL');
    } catch {
      // The group is gone already.
    }
    // Those that left the process group are still in the control group, where there is one.
    this.limits.killAll();
  }

  close(): void {
    this.kill();
  }

  /** Without namespaces nothing stays alive: a process that could is started for each datum. */
  async #ask(command: RunCommand): Promise<RunEnd> {
    let answer: WarmAnswer | undefined;
    const end = await this.#run({ ...command, stdin: `${command.request ?? ''}\n` }, (line) => {
      answer ??= parseAnswer(line);
    });
    if (answer?.error !== undefined) return { why: 'failed', message: answer.error };
    if (answer || end.why !== 'exit') return answer ? { why: 'exit', code: 0 } : end;
    const message = `the process ended with exit status ${end.code} and without an answer`;
    return { why: 'failed', message };
  }

  #run(command: RunCommand, onAnswer?: (line: string) => void): Promise<RunEnd> {
    const [stdout, stderr] = this.pipes.childFds;
    const [program, ...args] = command.argv;
    return new Promise((resolve) => {
      const child = spawn(program ?? '', args, {
        cwd: command.cwd,
        env: { ...command.env, ...command.own },
        detached: true,
        stdio: ['pipe', stdout, stderr, onAnswer ? 'pipe' : 'ignore'],
        ...(command.user ? { uid: command.user.uid, gid: command.user.gid } : {}),
      });
      this.#child = child;
      child.on('error', (error: NodeJS.ErrnoException) => {
        // The same numbers a shell answers with.
        if (error.code === 'ENOENT') resolve({ why: 'exit', code: 127 });
        else if (error.code === 'EACCES') resolve({ why: 'exit', code: 126 });
        else resolve({ why: 'broken', message: error.message });
      });
      child.on(onAnswer ? 'close' : 'exit', (code: number | null, signal: string | null) => {
        resolve({ why: 'exit', code: code ?? 128 + (SIGNALS[signal ?? ''] ?? 0) });
      });
      if (onAnswer) {
        const framer = new LineFramer(LINE_BYTES_MAX, onAnswer);
        (child.stdio[3] as Readable).on('data', (bytes: Buffer) => framer.push(bytes));
      }
      child.stdin?.on('error', () => undefined);
      child.stdin?.end(command.stdin);
    });
  }
}

const SIGNALS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
};
