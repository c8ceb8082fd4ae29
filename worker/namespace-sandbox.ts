/**
 * A sandbox made of Linux namespaces, kept warm between runs.
 *
 * N1 One agent shell per namespace runs one command at a time; after each, everything left alive in
 *    the namespace is killed before the run is reported.
 * N2 A kill takes the whole namespace (its pid 1), so nothing can survive or ignore it; the next
 *    run makes a new one.
 * N3 A process that stays alive for several runs holds the agent; any other command, and any
 *    failure, ends its namespace.
 * N4 A run is over only when the namespace said so with the run's own random token, or is gone.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import type { Readable, Writable } from 'node:stream';
import { WarmChannel } from './warm-channel.js';
import type { Sandbox } from './sandbox.js';
import type { SandboxLimits } from './sandbox-limits.js';
import { bwrapLine, PRIVATE_DIRS, unshareLine } from './sandbox-args.js';
import { agentPrelude, runScript } from './shell.js';
import type { SlotPipes } from './slot-pipes.js';
import type { RunCommand, RunEnd, SlotPlace } from './spawner-protocol.js';

interface Agent {
  readonly child: ChildProcess;
  readonly ready: Promise<boolean>;
  initPid?: number;
  /** Descriptors of its private directories: the way there through /proc took 20 µs each. */
  dirs?: readonly number[];
  /** The shared variables that it was told. */
  env?: RunCommand['env'];
  /** The command that stays alive in it. */
  token?: string;
  stays?: { readonly key: string; readonly channel: WarmChannel };
}

interface Current {
  readonly token: string;
  readonly end: (end: RunEnd) => void;
}

/** What bwrap or unshare said when a namespace could not be made. */
const STARTUP_BYTES = 4096;
/** Size of an empty directory on a tmpfs, which private ones are; every entry adds 20. */
const EMPTY_TMPFS_BYTES = 40;
/** The agent could not get rid of what a run left behind. */
const EXIT_LEFTOVERS = 99;
/** As shells count: 128 and SIGKILL. */
const EXIT_KILLED = 137;

export class NamespaceSandbox implements Sandbox {
  #agent: Agent | undefined;
  #current: Current | undefined;
  #closed = false;
  #lastWords = '';

  constructor(
    readonly place: SlotPlace,
    readonly pipes: SlotPipes,
    readonly asRoot: boolean,
    readonly limits: SandboxLimits,
  ) {}

  get pid(): number | undefined {
    return this.#agent?.child.pid;
  }

  get root(): string {
    const agent = this.#agent;
    const pid = agent && (agent.initPid ??= onlyChild(agent.child.pid ?? 0));
    return pid === undefined ? '' : `/proc/${pid}/root`;
  }

  async run(command: RunCommand): Promise<RunEnd> {
    const key = command.request === undefined ? undefined : stayKey(command);
    if (this.#agent?.stays && this.#agent.stays.key !== key) this.kill();
    const agent = (this.#agent ??= this.#start());
    if (!(await agent.ready)) {
      if (this.#agent === agent) this.#agent = undefined;
      return { why: 'broken', message: `cannot make a sandbox: ${this.#lastWords.trim()}` };
    }
    const end = await this.#runIn(agent, command, key);
    this.#current = undefined;
    this.pipes.drain();
    return end;
  }

  #runIn(agent: Agent, command: RunCommand, key: string | undefined): Promise<RunEnd> {
    const token = randomUUID();
    return new Promise<RunEnd>((resolve) => {
      if (key === undefined) {
        this.#current = { token, end: resolve };
        agent.child.stdin?.write(this.#script(agent, command, token));
        return;
      }
      const failed = (message: string): void => {
        this.kill();
        resolve({ why: 'failed', message });
      };
      if (!agent.stays) {
        const [, , , , , requests, answers] = agent.child.stdio as readonly unknown[];
        const channel = new WarmChannel(requests as Writable, answers as Readable);
        agent.stays = { key, channel };
        agent.child.stdin?.write(this.#script(agent, command, token));
        agent.token = token;
      }
      this.#current = {
        token: agent.token ?? token,
        end: (end) => {
          if (end.why !== 'exit') return resolve(end);
          failed(`the process ended with exit status ${end.code} and without an answer`);
        },
      };
      agent.stays.channel.ask(command.request ?? '', (answer) => {
        if (answer.fatal) failed(answer.error ?? '');
        else if (answer.error !== undefined) resolve({ why: 'failed', message: answer.error });
        else resolve({ why: 'exit', code: 0 });
      });
    });
  }

  #script(agent: Agent, command: RunCommand, token: string): string {
    const { limits, warm } = this.place;
    const known = agent.env === command.env;
    agent.env = command.env;
    const empty = this.#isTidy();
    const options = { token, known, empty, warm: warm === true };
    return runScript(command, limits ? { ...options, limits } : options);
  }

  /**
   * Whether the private directories are empty; nothing runs while this looks. The agent can do no
   * better than three patterns for each, which takes it four times as long.
   */
  #isTidy(): boolean {
    const agent = this.#agent;
    const { root } = this;
    if (!agent || root === '') return false;
    try {
      agent.dirs ??= openDirs(root);
      return agent.dirs.every((dir) => fstatSync(dir).size === EMPTY_TMPFS_BYTES);
    } catch {
      return false;
    }
  }

  kill(): void {
    const agent = this.#agent;
    if (!agent) return;
    this.#agent = undefined;
    killTree(agent);
  }

  close(): void {
    this.#closed = true;
    this.kill();
  }

  #start(): Agent {
    const { dir, rootfs, devices, isolation, warm, pipe, noOut, mounts } = this.place;
    const bare = pipe || noOut;
    const options = { dir, rootfs, devices, root: this.asRoot, infoFd: 4, bare, mounts };
    const plainLine = isolation === 'bwrap' ? bwrapLine(options) : unshareLine(options);
    const line = this.limits.wrap(plainLine);
    const [stdout, stderr] = this.pipes.childFds;
    this.#lastWords = '';
    const child = spawn(line.program, line.args, {
      stdio: ['pipe', stdout, stderr, 'pipe', 'pipe', ...(warm ? (['pipe', 'pipe'] as const) : [])],
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
      cwd: '/',
      // `kill 0` in user code must not reach this process.
      detached: true,
    });
    let settle: (ok: boolean) => void = () => undefined;
    const ready = new Promise<boolean>((resolve) => (settle = resolve));
    const agent: Agent = { child, ready };
    const gone = (text: string): void => {
      if (this.#agent === agent) this.#agent = undefined;
      closeDirs(agent);
      this.#lastWords ||= text;
      settle(false);
      this.#current?.end(this.#closed ? { why: 'killed' } : { why: 'broken', message: text });
    };
    child.on('error', (error) => gone(`${line.program} could not be started: ${error.message}`));
    child.on('exit', (code, signal) => gone(exitText(code, signal)));
    child.stdin?.on('error', () => undefined);
    (child.stdio[4] as Readable).on('data', (bytes: Buffer) => {
      const pid = /"child-pid":\s*(\d+)/.exec(bytes.toString());
      if (pid) agent.initPid = Number(pid[1]);
    });
    this.#listen(child.stdio[3] as Readable, settle);
    for (const stream of child.stdio.slice(5)) stream?.on('error', () => undefined);
    (child.stdin as Writable).write(agentPrelude({ privateDirs: PRIVATE_DIRS }));
    return agent;
  }

  #listen(control: Readable, ready: (ok: boolean) => void): void {
    let rest = '';
    control.on('error', () => undefined);
    control.on('data', (bytes: Buffer) => {
      const lines = (rest + bytes.toString('latin1')).split('\n');
      rest = (lines.pop() ?? '').slice(0, STARTUP_BYTES);
      for (const line of lines) {
        if (line === 'ready') ready(true);
        const [token, code] = line.split(' ');
        if (token === this.#current?.token) {
          this.#current?.end({ why: 'exit', code: Number(code) });
        }
      }
    });
  }
}

/** By the environment, which runs of one command share. */
const stayKeys = new WeakMap<RunCommand['env'], string>();

/** Processes that may take each other's datums. */
function stayKey({ argv, env, cwd, user }: RunCommand): string {
  const known = stayKeys.get(env);
  if (known !== undefined) return known;
  const key = JSON.stringify([argv, env, cwd, user]);
  stayKeys.set(env, key);
  return key;
}

function openDirs(root: string): number[] {
  const opened: number[] = [];
  try {
    for (const dir of PRIVATE_DIRS) opened.push(openSync(root + dir, constants.O_DIRECTORY));
    return opened;
  } catch (error) {
    opened.forEach((dir) => closeSync(dir));
    throw error;
  }
}

function closeDirs(agent: Agent): void {
  agent.dirs?.forEach((dir) => closeSync(dir));
  delete agent.dirs;
}

function exitText(code: number | null, signal: NodeJS.Signals | null): string {
  if (code === EXIT_LEFTOVERS) return 'processes that user code left behind could not be killed';
  if (signal === 'SIGKILL' || code === EXIT_KILLED) {
    return 'all its processes were killed: by the code itself, or by the system when memory ran out';
  }
  return `the sandbox ended with ${signal ? `signal ${signal}` : `exit status ${code}`}`;
}

/** The first process of the namespace takes all others with it and is waited for by its parent. */
function killTree(agent: Agent): void {
  const outer = agent.child.pid;
  const inner = agent.initPid ?? (outer === undefined ? undefined : onlyChild(outer));
  try {
    if (inner !== undefined) process.kill(inner, 'SIGKILL');
    else agent.child.kill('SIGKILL');
  } catch {
    agent.child.kill('SIGKILL');
  }
}

function onlyChild(pid: number): number | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1').trim();
    return text === '' ? undefined : Number(text.split(' ')[0]);
  } catch {
    return undefined;
  }
}
