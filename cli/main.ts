/** Entry point of the command line: reads the process's surroundings, runs one command, exits. */
import { basename } from 'node:path';
import { cancelled } from '../core/errors.js';
import { systemClock } from '../core/clock.js';
import { dispatch, findCommand } from './grammar/dispatch.js';
import { paintWith } from './render/colour.js';
import type { Session, TextSink } from './session.js';

declare global {
  var __tuskBeforeExit: ((command: string) => void) | undefined;
}

function sink(stream: NodeJS.WriteStream): TextSink {
  return {
    write: (chunk) => stream.write(chunk),
    isTTY: stream.isTTY === true,
    columns: stream.columns ?? 80,
  };
}

function openSession(argv: readonly string[], signal: AbortSignal): Session {
  const env = process.env;
  const stdout = sink(process.stdout);
  const stderr = sink(process.stderr);
  const colour =
    stdout.isTTY && !env['NO_COLOR'] && env['TERM'] !== 'dumb' && !argv.includes('--no-color');
  let client: ReturnType<Session['client']> | undefined;
  const session: Session = {
    program: basename(process.argv[1] ?? 'tusk').replace(/\.c?js$/, ''),
    env,
    clock: systemClock,
    signal,
    stdin: process.stdin,
    stdout,
    stderr,
    verbose: argv.includes('-v') || argv.includes('--verbose'),
    paint: paintWith(colour),
    client: () => (client ??= connect(session)),
    out: (text) => void stdout.write(text),
    note: (line) => void stderr.write(`${line}\n`),
  };
  return session;
}

async function connect(session: Session): ReturnType<Session['client']> {
  const [{ Client }, { chooseTarget }] = await Promise.all([
    import('./client/client.js'),
    import('./client/address.js'),
  ]);
  return new Client(chooseTarget(session.env), session.env, session.signal);
}

/** A reader that went away (`| head`) ends the program quietly. */
function endQuietlyOnClosedPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      process.exit(error.code === 'EPIPE' ? 0 : 1);
    });
  }
}

async function main(): Promise<void> {
  endQuietlyOnClosedPipe();
  const interrupt = new AbortController();
  let asked = 0;
  for (const name of ['SIGINT', 'SIGTERM'] as const) {
    process.on(name, () => {
      asked += 1;
      interrupt.abort(cancelled(`interrupted (${name})`));
      // The second time the user means it, whatever is still running.
      if (asked > 1) process.exit(130);
    });
  }
  const argv = process.argv.slice(2);
  const session = openSession(argv, interrupt.signal);
  const code = await dispatch(session, argv);
  const exit = asked > 0 && code !== 0 ? 130 : code;
  process.exitCode = exit;
  // Written text first, then at once: waiting for idle sockets to close would cost time.
  process.stdout.write('', () =>
    process.stderr.write('', () => {
      globalThis.__tuskBeforeExit?.(findCommand(argv)?.command.words ?? 'help');
      process.exit(exit);
    }),
  );
}

void main();
