/**
 * The last rung of the ladder: no namespaces. /pfs on the host is a link to the slot's directory
 * (so there is one slot), inputs are copies, and a run is a process group of its own that is killed
 * whole. Children that leave the group can survive; hosts should install bubblewrap.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import type { Sandbox } from './sandbox.js';
import type { SlotPipes } from './slot-pipes.js';
import type { RunCommand, RunEnd } from './spawner-protocol.js';

export class PlainSandbox implements Sandbox {
  readonly root = '';
  #child: ChildProcess | undefined;
  #killed = false;

  constructor(readonly pipes: SlotPipes) {}

  async run(command: RunCommand): Promise<RunEnd> {
    this.#killed = false;
    const end = await this.#run(command);
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
  }

  close(): void {
    this.kill();
  }

  #run(command: RunCommand): Promise<RunEnd> {
    const [stdout, stderr] = this.pipes.childFds;
    const [program, ...args] = command.argv;
    return new Promise((resolve) => {
      const child = spawn(program ?? '', args, {
        cwd: command.cwd,
        env: { ...command.env },
        detached: true,
        stdio: ['pipe', stdout, stderr],
        ...(command.user ? { uid: command.user.uid, gid: command.user.gid } : {}),
      });
      this.#child = child;
      child.on('error', (error: NodeJS.ErrnoException) => {
        // The same numbers a shell answers with.
        if (error.code === 'ENOENT') resolve({ why: 'exit', code: 127 });
        else if (error.code === 'EACCES') resolve({ why: 'exit', code: 126 });
        else resolve({ why: 'broken', message: error.message });
      });
      child.on('exit', (code, signal) => {
        resolve({ why: 'exit', code: code ?? 128 + (SIGNALS[signal ?? ''] ?? 0) });
      });
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
