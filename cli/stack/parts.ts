/** tusk coordinator, tusk worker: run one part in this terminal. */
import { spawn } from 'node:child_process';
import { availableParallelism, homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { entryPath } from '../../core/entry.js';
import { AppError, invalidInput } from '../../core/errors.js';
import { addAbortListener } from '../../core/signals.js';
import type { Call } from '../grammar/command.js';

export async function coordinator(call: Call): Promise<void> {
  const config = call.flags.text('config');
  if (config === '') {
    throw invalidInput(
      '--config is required: a JSON file with listen, etcd, nats, store and dataDir\n' +
        `'${call.session.program} up' writes one as coordinator.json in its data directory, to copy from.`,
    );
  }
  await run(call, 'coordinator', ['--config', config]);
}

export async function worker(call: Call): Promise<void> {
  const { flags, session } = call;
  const address = flags.text('join');
  if (address === '') {
    throw invalidInput('--join is required: the coordinator to work for, like host:30650');
  }
  const slots = flags.given('slots') ? flags.number('slots') : availableParallelism();
  if (slots < 1) throw invalidInput('--slots must be at least 1');
  const home = session.env['HOME'] ?? homedir();
  const dataDir = flags.text('data-dir') || join(home, '.tusk-worker');
  await run(call, 'worker', [
    ...['--join', address, '--slots', String(slots)],
    ...['--data-dir', resolve(dataDir)],
    ...workerFlags(call),
  ]);
}

/** Flags that the worker program has under the same names. */
function workerFlags({ flags }: Call): string[] {
  const args = ['log-file', 'images'].flatMap((name) =>
    flags.given(name) ? [`--${name}`, resolve(flags.text(name))] : [],
  );
  for (const name of [
    'log-level',
    'isolation',
    'cache-gib',
    'gpus',
    'gpu-share',
    'engine',
    'metrics',
  ]) {
    if (flags.given(name)) args.push(`--${name}`, flags.text(name));
  }
  for (const label of flags.list('label')) args.push('--label', label);
  return args;
}

/** Runs a bundle until it ends; signals are passed on. */
async function run({ session }: Call, name: string, args: readonly string[]): Promise<void> {
  const child = spawn(process.execPath, ['--enable-source-maps', entryPath(name), ...args], {
    stdio: 'inherit',
    env: session.env,
    // Own group: Ctrl-C comes through us, once.
    detached: true,
  });
  const stop = addAbortListener(session.signal, () => child.kill('SIGTERM'));
  const code = await new Promise<number>((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (exit, signal) => resolve(signal ? 1 : (exit ?? 0)));
  });
  stop();
  if (code !== 0 && !session.signal.aborted) {
    throw new AppError('UNAVAILABLE', `the ${name} ended with exit code ${code}`);
  }
}
