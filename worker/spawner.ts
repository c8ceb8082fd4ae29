/**
 * The process that starts user code. It stays small on purpose: a fork copies the page tables of
 * the parent, 41 ms of a worker with 2 GiB in use against 0.7 ms here (measured). It ends, and all
 * sandboxes with it, when the worker does.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../core/clock.js';
import { invariant } from '../core/errors.js';
import { NamespaceSandbox } from './namespace-sandbox.js';
import { PlainSandbox } from './plain-sandbox.js';
import { RunOutput } from './run-output.js';
import type { Sandbox } from './sandbox.js';
import { SandboxLimits } from './sandbox-limits.js';
import { SlotPipes } from './slot-pipes.js';
import type {
  FromSpawner,
  RunCommand,
  RunEnd,
  RunOwn,
  SlotPlace,
  ToSpawner,
} from './spawner-protocol.js';

const LIVE_MS = 250;
/** A process that stays alive without anything to do ends after this long. */
const IDLE_MS = 60_000;
/** Per slot and LIVE_MS; about 1 MiB a second for followers. */
const LIVE_BYTES = 256 * 1024;

type RunMessage = Extract<ToSpawner, { kind: 'run' }>;

interface Running {
  readonly run: number;
  readonly output: RunOutput;
  killed?: 'timeout' | 'killed';
}

export interface SpawnerDeps {
  readonly clock: Clock;
  readonly root: boolean;
  readonly send: (message: FromSpawner) => void;
}

export class Spawner {
  readonly #slots = new Map<number, Slot>();

  constructor(readonly deps: SpawnerDeps) {}

  handle(message: ToSpawner): void {
    switch (message.kind) {
      case 'slot':
        this.#slots.get(message.place.slot)?.close();
        this.#slots.set(message.place.slot, new Slot(message.place, this.deps));
        return;
      case 'unslot':
        this.#slots.get(message.slot)?.close();
        this.#slots.delete(message.slot);
        return;
      case 'run':
        void this.#slots.get(message.slot)?.run(message);
        return;
      case 'kill':
        for (const slot of this.#slots.values()) slot.kill(message.run);
        return;
      case 'pipes':
        this.deps.send({ kind: 'pipes', id: message.id, error: makePipes(message.paths) });
        return;
      case 'close':
        this.close();
        return;
    }
  }

  /** Sends new lines of runs in progress; call every LIVE_MS. */
  tick(): void {
    for (const slot of this.#slots.values()) slot.tick();
  }

  get tickMs(): number {
    return LIVE_MS;
  }

  close(): void {
    for (const slot of this.#slots.values()) slot.close();
    this.#slots.clear();
  }
}

class Slot {
  readonly #sandbox: Sandbox;
  readonly #pipes: SlotPipes;
  readonly #limits: SandboxLimits;
  #running: Running | undefined;
  /** Of the newest run, without what was its own. */
  #command: RunCommand | undefined;
  #idleMs: number | undefined;

  constructor(
    readonly place: SlotPlace,
    readonly deps: SpawnerDeps,
  ) {
    if (!place.pipe && !place.noOut) mkdirSync(join(place.dir, 'pfs', 'out'), { recursive: true });
    mkdirSync(join(place.dir, 'out'), { recursive: true });
    this.#pipes = new SlotPipes(place.dir, (line) => this.#running?.output.add(line));
    this.#limits = new SandboxLimits(place, deps.clock);
    this.#sandbox =
      place.isolation === 'plain'
        ? new PlainSandbox(this.#pipes, this.#limits)
        : new NamespaceSandbox(place, this.#pipes, deps.root, this.#limits);
  }

  async run({ run, command: base, own }: RunMessage): Promise<void> {
    const { clock, send } = this.deps;
    const command = this.#commandOf(base, own);
    const file = join(this.place.dir, 'output.jsonl');
    const output = new RunOutput(file, () => clock.wallMs(), command.endless);
    const running: Running = { run, output };
    this.#running = running;
    const timer = command.timeoutMs > 0 ? this.#timer(running, command.timeoutMs) : undefined;
    const start = clock.monotonicMs();
    const sandbox = this.#sandbox;
    const watched = () => ({
      pid: sandbox.pid,
      root: sandbox.root,
      kill: () => sandbox.kill(),
    });
    const ended = await this.#limits.hold(watched, () => sandbox.run(command));
    timer?.abort();
    this.#running = undefined;
    this.#idleMs = command.request === undefined ? undefined : clock.monotonicMs();
    // A run that ended by itself just before the kill reached it has its own result.
    const its = ended.why === 'exit' || ended.why === 'limit';
    const why: RunEnd = running.killed && !its ? { why: running.killed } : ended;
    send({
      kind: 'done',
      run,
      end: why,
      ms: clock.monotonicMs() - start,
      root: this.#sandbox.root,
      ...output.finish(),
    });
  }

  /** Stops a run that takes too long; abort it when the run is over. */
  #timer(running: Running, timeoutMs: number): AbortController {
    const over = new AbortController();
    this.deps.clock.sleep(timeoutMs, over).then(
      () => this.#stop(running, 'timeout'),
      () => undefined,
    );
    return over;
  }

  /** The command with what is the run's own. */
  #commandOf(base: RunCommand | undefined, own: RunOwn | undefined): RunCommand {
    this.#command = base ?? this.#command;
    invariant(this.#command, 'the first run of a slot brings its command');
    if (!own) return this.#command;
    const { env, request } = own;
    return {
      ...this.#command,
      ...(env ? { own: env } : {}),
      ...(request === undefined ? {} : { request }),
    };
  }

  kill(run: number): void {
    if (this.#running?.run === run) this.#stop(this.#running, 'killed');
  }

  tick(): void {
    const running = this.#running;
    const live = running?.output.takeLive(LIVE_BYTES);
    if (running && live) this.deps.send({ kind: 'lines', run: running.run, ...live });
    if (running || this.#idleMs === undefined) return;
    if (this.deps.clock.monotonicMs() - this.#idleMs < IDLE_MS) return;
    this.#idleMs = undefined;
    this.#sandbox.kill();
  }

  close(): void {
    this.#sandbox.close();
    this.#pipes.close();
    this.#limits.close();
  }

  #stop(running: Running, why: 'timeout' | 'killed'): void {
    if (this.#running !== running) return;
    running.killed ??= why;
    this.#sandbox.kill();
  }
}

/** Makes named pipes; answers what went wrong, or an empty text. */
function makePipes(paths: readonly string[]): string {
  const made = spawnSync('mkfifo', ['-m', '0666', '--', ...paths], { encoding: 'utf8' });
  return made.status === 0 ? '' : (made.error?.message ?? made.stderr.trim());
}
