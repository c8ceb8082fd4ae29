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

/** `env` takes the place of the whole environment; `input` is what standard input holds. */
export async function runCli(
  argv: readonly string[],
  o: { readonly env: Readonly<Record<string, string>>; readonly input?: string },
): Promise<CliResult> {
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  const stdout = sink(out);
  const stderr = sink(err);
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

function sink(parts: Buffer[]): TextSink {
  return {
    write: (chunk) => parts.push(Buffer.from(chunk)) > 0,
    isTTY: false,
    columns: 80,
  };
}
