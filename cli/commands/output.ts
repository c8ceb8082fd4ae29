/** How commands print: tables of messages, single messages, raw JSON and YAML, pages. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { invalidInput } from '../../core/errors.js';
import type { Call } from '../grammar/command.js';
import type { TimeStyle } from '../render/duration.js';
import { Table, type TableOptions } from '../render/table.js';
import type { Session } from '../session.js';
import { CAMEL, jsonText, SNAKE, toJson } from '../wire/to-json.js';

export function timeStyle(call: Call): TimeStyle {
  return {
    nowMs: call.session.clock.wallMs(),
    full: call.flags.given('full-timestamps') && call.flags.bool('full-timestamps'),
  };
}

export type RawFormat = 'text' | 'json' | 'yaml';

/** Checks `--raw` and `-o` against each other. Throws INVALID_INPUT with the texts of old clients. */
export function rawFormat(call: Call, alsoWith?: 'spec'): RawFormat {
  const raw = call.flags.bool('raw');
  const asked = call.flags.text('output');
  const spec = alsoWith !== undefined && call.flags.bool('spec');
  if (raw && spec) throw invalidInput('cannot set both --raw and --spec');
  if (asked !== '' && !raw && !spec) {
    throw invalidInput(`cannot set --output (-o) without --raw${alsoWith ? ' or --spec' : ''}`);
  }
  return raw || spec ? formatName(asked) : 'text';
}

/** `json` (also when not given) or `yaml`. */
export function formatName(asked: string): 'json' | 'yaml' {
  if (asked === '' || asked === 'json') return 'json';
  if (asked === 'yaml') return 'yaml';
  throw invalidInput(`unrecognized encoding: "${asked}" (use json or yaml)`);
}

/** One message as JSON: pfs messages in camelCase, all others in snake_case. */
export function rawJson(message: object, type: string): string {
  const style = /^(pfs|transaction)\./.test(type) ? CAMEL : SNAKE;
  return jsonText(toJson(message, type, style));
}

/** Writes messages one after another in a raw format. */
export class RawWriter {
  #count = 0;
  constructor(
    readonly session: Session,
    readonly type: string,
    readonly format: 'json' | 'yaml' = 'json',
  ) {}

  async write(message: object): Promise<void> {
    if (this.format === 'json') {
      this.session.out(rawJson(message, this.type));
      return;
    }
    const { stringify } = await import('yaml');
    const json = toJson(message, this.type, SNAKE);
    this.session.out(
      `${this.#count > 0 ? '---\n' : ''}${stringify(json, { sortMapEntries: true })}`,
    );
    this.#count += 1;
  }
}

/** Prints messages as rows of a table, or raw. */
export async function printList<T extends object>(
  call: Call,
  items: AsyncIterable<T> | Iterable<T>,
  how: {
    readonly type: string;
    readonly header: readonly string[];
    readonly row: (item: T) => readonly string[];
    readonly format?: RawFormat;
    readonly options?: TableOptions;
    readonly write?: (text: string) => void;
  },
): Promise<void> {
  const { session, flags } = call;
  const format = how.format ?? (flags.bool('raw') ? 'json' : 'text');
  if (format !== 'text') {
    const writer = new RawWriter(session, how.type, format);
    for await (const item of items) await writer.write(item);
    return;
  }
  const table = new Table(how.header, how.write ?? ((text) => session.out(text)), how.options);
  for await (const item of items) table.row(how.row(item));
  table.end();
}

/** Runs `print` with a writer that goes through a pager on a terminal. */
export async function paged(
  call: Call,
  print: (write: (text: string) => void) => Promise<void>,
): Promise<void> {
  const { session, flags } = call;
  const command = flags.bool('no-pager') || call.hyphenated ? undefined : pagerOf(session);
  if (!command) return await print((text) => session.out(text));
  const [program = '', ...args] = command;
  const pager = spawn(program, args, { stdio: ['pipe', 'inherit', 'inherit'] });
  const closed = new Promise<void>((resolve) => {
    pager.once('close', () => resolve());
    pager.once('error', () => resolve());
  });
  pager.stdin.on('error', () => undefined);
  try {
    await print((text) => void pager.stdin.write(text));
  } finally {
    pager.stdin.end();
    await closed;
  }
}

/** The pager to use, when standard output is a terminal and the pager exists. */
function pagerOf(session: Session): string[] | undefined {
  if (!session.stdout.isTTY) return undefined;
  const words = (session.env['PAGER'] || 'less -RFX').split(' ').filter((word) => word !== '');
  const [program] = words;
  return program !== undefined && isProgram(session, program) ? words : undefined;
}

export function isProgram(session: Session, name: string): boolean {
  return findProgram(session, name) !== undefined;
}

/** Absolute path of a program on PATH, or in `$TUSK_PROGRAM_DIRS` (the system's folders). */
export function findProgram(session: Session, name: string): string | undefined {
  if (name.includes('/')) return isExecutable(name) ? name : undefined;
  // Debian puts daemons where the PATH of ordinary users does not reach.
  const daemons = session.env['TUSK_PROGRAM_DIRS'] ?? '/usr/local/sbin:/usr/sbin:/sbin';
  const dirs = [...(session.env['PATH'] ?? '').split(delimiter), ...daemons.split(delimiter)];
  return dirs.map((dir) => join(dir, name)).find(isExecutable);
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
