/** Runs commands for benchmarks: wall time, output, and a failure that shows what was typed. */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = process.cwd();
export const TUSK = join(ROOT, 'cli/bin/tusk');

export interface Ran {
  readonly seconds: number;
  readonly stdout: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Standard output goes here instead of into the result. */
  readonly outFile?: string;
}

/** Runs a program to its end. Throws with its standard error when it fails. */
export async function run(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const out = options.outFile === undefined ? 'pipe' : openSync(options.outFile, 'w');
  const start = performance.now();
  const child = spawn(program, args, {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...options.env },
    stdio: ['ignore', out, 'pipe'],
  });
  const text: Buffer[] = [];
  const errors: Buffer[] = [];
  child.stdout?.on('data', (data: Buffer) => text.push(data));
  child.stderr?.on('data', (data: Buffer) => errors.push(data));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const seconds = (performance.now() - start) / 1000;
  if (typeof out === 'number') closeSync(out);
  if (code !== 0) {
    const said = Buffer.concat(errors).toString() || Buffer.concat(text).toString();
    throw new Error(`${program} ${args.join(' ')} exited with ${code}:\n${said.slice(-2000)}`);
  }
  return { seconds, stdout: Buffer.concat(text).toString() };
}

/** Runs a shell line. */
export function shell(line: string, options: RunOptions = {}): Promise<Ran> {
  return run('bash', ['-euc', line], options);
}

/** The best of several runs: on a shared machine the fastest is the least disturbed. */
export async function best(times: number, work: () => Promise<number>): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times; i += 1) least = Math.min(least, await work());
  return least;
}
