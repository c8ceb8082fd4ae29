/** tusk up: starts a stack here, or in the background with --detach. */
import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, messageOf, unavailable } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import { addAbortListener } from '../../core/signals.js';
import type { Call } from '../grammar/command.js';
import {
  dataDirError,
  planStack,
  rememberStore,
  settingsOf,
  type StackPlan,
  type StackSettings,
} from './plan.js';
import { localDirFlags } from './local-dirs.js';
import { doorFlags, doorsText } from './side-doors.js';
import { stopLeftovers } from './stop.js';
import { lockDataDir, Supervisor } from './supervisor.js';

/** Set for the process that supervises in the background; it talks to its starter over IPC. */
const CHILD_MARK = 'TUSK_STACK_CHILD';

type ChildMessage = { line: string } | { ready: string } | { failed: string };

export async function up(call: Call): Promise<void> {
  const { session, flags } = call;
  const settings = settingsOf(call);
  if (flags.bool('detach') && session.env[CHILD_MARK] === undefined) {
    await inBackground(call, settings);
    return;
  }
  const send = (message: ChildMessage): void => {
    if (process.connected) process.send?.(message);
  };
  const report = (line: string): void => {
    session.out(`${line}\n`);
    send({ line });
  };
  try {
    await supervise(call, settings, { report, ready: (text) => send({ ready: text }) });
  } catch (error) {
    send({ failed: messageOf(error) });
    throw error;
  }
}

async function supervise(
  call: Call,
  settings: StackSettings,
  tell: { report: (line: string) => void; ready: (text: string) => void },
): Promise<void> {
  const { session } = call;
  const { dataDir } = settings;
  const unlock = lockDataDir(dataDir, session.program);
  try {
    await stopLeftovers(dataDir, session.clock, tell.report);
    tell.report(`Starting Tusk in ${dataDir}`);
    const started = await start(call, settings, tell.report);
    const { plan } = started;
    await using supervisor = started.supervisor;
    rememberStore(settings);
    const text = summary(call, plan);
    session.out(`${text}\n`);
    tell.ready(text);
    await new Promise<void>((resolve) => addAbortListener(session.signal, resolve));
    tell.report('Stopping …');
    await supervisor[Symbol.asyncDispose]();
    tell.report(`Stopped. The data stays in ${dataDir}.`);
  } catch (error) {
    if (!session.signal.aborted) throw error;
  } finally {
    unlock();
  }
}

/** Ports that were found free may be taken a moment later, so a clash of those starts anew. */
const START_TRIES = 4;

async function start(
  call: Call,
  settings: StackSettings,
  report: (line: string) => void,
): Promise<{ plan: StackPlan; supervisor: Supervisor }> {
  const { session } = call;
  for (let left = START_TRIES - 1; ; left -= 1) {
    const plan = await planStack(call, settings);
    const supervisor = new Supervisor(plan, { clock: session.clock, report });
    try {
      await supervisor.start(session.signal);
      return { plan, supervisor };
    } catch (error) {
      await supervisor[Symbol.asyncDispose]();
      const clash = error instanceof AppError && error.fields['portTaken'] === true;
      if (!clash || left === 0 || session.signal.aborted) throw error;
      report('A port was taken meanwhile; starting again with another one');
    }
  }
}

function summary(call: Call, { settings, address, local, openDoors }: StackPlan): string {
  const { program, env } = call.session;
  const usual = settings.dataDir === join(env['HOME'] ?? '', '.tusk');
  const first = usual ? '' : `  export PACHD_ADDRESS=${address}\n`;
  const stop = call.flags.bool('detach')
    ? `Stop it with '${program} down${usual ? '' : ` --data-dir ${settings.dataDir}`}'.`
    : 'Ctrl-C stops it.';
  return (
    `Tusk serves at ${address} with ${settings.slots} slots; bytes go to ${settings.store}\n` +
    `${doorsText(local, openDoors())}\n` +
    `Try:\n${first}  ${program} create repo data\n${stop}`
  );
}

/** Starts the supervisor in the background and returns when the stack answers. */
async function inBackground(call: Call, settings: StackSettings): Promise<void> {
  const { session, flags } = call;
  const log = join(settings.dataDir, 'logs', 'stack.log');
  const fd = openLog(settings, log);
  const s3 = flags.text('s3');
  const child = spawn(
    process.execPath,
    [
      process.argv[1] ?? '',
      ...['up', '--detach', '--data-dir', settings.dataDir, '--port', String(settings.port)],
      ...['--host', settings.host, '--workers', String(settings.slots)],
      ...(s3 === '' ? [] : ['--s3', s3]),
      ...(settings.images === '' ? [] : ['--images', settings.images]),
      ...doorFlags(settings.doors),
      ...localDirFlags(settings.dirs),
    ],
    {
      detached: true,
      stdio: ['ignore', fd, fd, 'ipc'],
      env: { ...session.env, [CHILD_MARK]: '1' },
      cwd: '/',
    },
  );
  closeSync(fd);
  const stop = addAbortListener(session.signal, () => child.kill('SIGTERM'));
  try {
    await new Promise<void>((resolve, reject) => {
      child.on('message', (message: ChildMessage) => {
        if ('line' in message) session.out(`${message.line}\n`);
        else if ('ready' in message) {
          session.out(`${message.ready}\n`);
          resolve();
        } else reject(new AppError('UNAVAILABLE', message.failed));
      });
      child.once('exit', (code) => {
        reject(
          unavailable(`the stack ended before it was ready (exit code ${code ?? 0}); see ${log}`),
        );
      });
    });
  } finally {
    stop();
    if (child.connected) child.disconnect();
    child.unref();
  }
}

function openLog({ dataDir }: StackSettings, log: string): number {
  try {
    makeDir(join(dataDir, 'logs'), 0o700);
    return openSync(log, 'a');
  } catch (error) {
    throw dataDirError(dataDir, error);
  }
}
