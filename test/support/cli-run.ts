/** Runs the command line inside the test's own process, against any server. */
import { Readable } from 'node:stream';
import { systemClock } from '../../core/clock.js';
import { NEVER } from '../../core/signals.js';
import { chooseTarget } from '../../cli/client/address.js';
import { Client } from '../../cli/client/client.js';
import { dispatch } from '../../cli/grammar/dispatch.js';
import { paintWith } from '../../cli/render/colour.js';
import type { Session, TextSink } from '../../cli/session.js';

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  /** Takes the place of the whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** What standard input holds. */
  readonly input?: string;
  /** Standard error is a terminal; it is called with what is drawn there. */
  readonly terminal?: (text: string) => void;
}

export async function runCli(argv: readonly string[], o: CliOptions): Promise<CliResult> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const stdout = sink(out);
  const stderr = sink(err, o.terminal);
  const session: Session = {
    ...{ program: 'tusk', env: o.env, clock: systemClock, signal: NEVER, verbose: false },
    stdin: Readable.from(o.input === undefined ? [] : [o.input]) as unknown as NodeJS.ReadStream,
    ...{ stdout, stderr, paint: paintWith(false) },
    client: async () => new Client(chooseTarget(o.env), o.env, NEVER),
    out: (text) => void stdout.write(text),
    note: (line) => void stderr.write(`${line}\n`),
  };
  const code = await dispatch(session, argv);
  return { code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() };
}

function sink(parts: Buffer[], terminal?: (text: string) => void): TextSink {
  return {
    write: (chunk) => {
      parts.push(Buffer.from(chunk));
      terminal?.(chunk.toString());
      return true;
    },
    isTTY: terminal !== undefined,
    columns: 80,
  };
}
