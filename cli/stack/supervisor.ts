/**
 * Starts the parts of a stack in order, keeps them running, and stops them in the opposite order.
 *
 * U1  stack.json always names the processes that run, so that whoever comes next can stop them.
 * U2  One supervisor per data directory: an exclusive lock file holds its pid.
 */
import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../core/clock.js';
import { stateConflict } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import { addAbortListener } from '../../core/signals.js';
import { Part } from './part.js';
import { dataDirError, type StackPlan } from './plan.js';
import { birthOf, isAlive, readStack, removeStack, writeStack } from './stack-file.js';

export interface SupervisorDeps {
  readonly clock: Clock;
  readonly report: (line: string) => void;
}

export class Supervisor implements AsyncDisposable {
  readonly #plan: StackPlan;
  readonly #deps: SupervisorDeps;
  readonly #parts: Part[] = [];
  readonly #startedMs: number;
  #state: 'starting' | 'ready' | 'stopped' = 'starting';
  #stopped: Promise<void> | undefined;

  constructor(plan: StackPlan, deps: SupervisorDeps) {
    this.#plan = plan;
    this.#deps = deps;
    this.#startedMs = deps.clock.wallMs();
  }

  /** Starts everything. On failure or abort what was started is stopped by the disposal. */
  async start(signal: AbortSignal): Promise<void> {
    const { etcd, nats, coordinator, worker } = this.#plan;
    const unhook = addAbortListener(signal, () => void this[Symbol.asyncDispose]());
    try {
      await Promise.all([this.#startPart(etcd, signal), this.#startPart(nats, signal)]);
      await this.#startPart(coordinator, signal);
      await this.#startPart(worker, signal);
    } finally {
      unhook();
    }
    signal.throwIfAborted();
    this.#state = 'ready';
    this.#write();
  }

  async #startPart(spec: Part['spec'], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { clock, report } = this.#deps;
    const part = new Part(spec, { clock, report, changed: () => this.#write() });
    this.#parts.push(part);
    const from = clock.monotonicMs();
    await part.start();
    const seconds = ((clock.monotonicMs() - from) / 1000).toFixed(1);
    const where = spec.port === undefined ? '' : ` on port ${spec.port}`;
    report(`  ${spec.name.padEnd(12)} started${where} in ${seconds} s (log ${spec.log})`);
  }

  #write(): void {
    if (this.#state === 'stopped') return;
    const { settings, ports, address, openDoors } = this.#plan;
    writeStack({
      version: 1,
      state: this.#state,
      pid: process.pid,
      birth: birthOf(process.pid),
      dataDir: settings.dataDir,
      address: this.#state === 'ready' ? address : undefined,
      store: settings.store,
      ports: { ...ports, ...openDoors() },
      parts: this.#parts.flatMap((part) => part.record() ?? []),
      startedMs: this.#startedMs,
    });
  }

  /** Worker first, etcd last; data stays. Idempotent. */
  [Symbol.asyncDispose](): Promise<void> {
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<void> {
    for (let part = this.#parts.at(-1); part; part = this.#parts.at(-1)) {
      await part.stop();
      this.#parts.splice(this.#parts.indexOf(part), 1);
    }
    this.#state = 'stopped';
    removeStack(this.#plan.settings.dataDir);
  }
}

/** Takes the data directory for this process (U2); returns how to let it go. */
export function lockDataDir(dataDir: string, program: string): () => void {
  const file = join(dataDir, 'stack.lock');
  for (let attempt = 0; ; attempt += 1) {
    try {
      makeDir(dataDir, 0o700);
      const fd = openSync(file, 'wx');
      writeSync(fd, `${process.pid} ${birthOf(process.pid)}\n`);
      closeSync(fd);
      return () => rmSync(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 0) {
        throw dataDirError(dataDir, error);
      }
      refuseLiveOwner(file, dataDir, program);
      // Its owner is gone without a goodbye.
      rmSync(file, { force: true });
    }
  }
}

function refuseLiveOwner(file: string, dataDir: string, program: string): void {
  const [pid = '0', birth = ''] = readFileSync(file, 'utf8').trim().split(' ');
  if (!isAlive({ pid: Number(pid), birth })) return;
  const address = readStack(dataDir)?.address;
  throw stateConflict(
    `a stack is already running on ${dataDir} (pid ${pid}${address ? `, at ${address}` : ''})\n` +
      `Use it as it is, or stop it with '${program} down --data-dir ${dataDir}'.`,
  );
}
