/** A stack of its own for a benchmark, started and stopped through the CLI like a person would. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, TUSK, type Ran, type RunOptions } from './run.js';

export interface Stack extends AsyncDisposable {
  readonly dir: string;
  readonly port: number;
  /** Process id of the coordinator. */
  readonly coordinatorPid: number;
  /** Runs `tusk …` against this stack. */
  tusk(args: readonly string[], options?: RunOptions): Promise<Ran>;
}

export async function openStack(
  options: { workers?: number; s3?: string; env?: Record<string, string> } = {},
): Promise<Stack> {
  const dir = mkdtempSync(join(tmpdir(), 'tusk-bench-'));
  const args = ['up', '--data-dir', dir, '--port', '0', '--detach'];
  args.push('--workers', String(options.workers ?? 2));
  if (options.s3 !== undefined) args.push('--s3', options.s3);
  const env = { TUSK_CONTAINER_ENGINE: 'none', ...options.env, HOME: dir };
  await run(TUSK, args, { env });
  const stack = JSON.parse(readFileSync(join(dir, 'stack.json'), 'utf8')) as {
    address: string;
    ports: { grpc: number };
    parts: { name: string; pid: number }[];
  };
  const { address } = stack;
  const coordinator = stack.parts.find((part) => part.name === 'coordinator');
  if (!coordinator) throw new Error(`no coordinator in ${dir}/stack.json`);
  return {
    dir,
    port: stack.ports.grpc,
    coordinatorPid: coordinator.pid,
    tusk: (words, more = {}) =>
      run(TUSK, words, { ...more, env: { ...env, PACHD_ADDRESS: address, ...more.env } }),
    [Symbol.asyncDispose]: async () => {
      await run(TUSK, ['down', '--data-dir', dir], { env });
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Resident memory of a process in MiB; `peak` is its high-water mark. */
export function memoryMiB(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const read = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024;
  return { now: Math.round(read('VmRSS')), peak: Math.round(read('VmHWM')) };
}
