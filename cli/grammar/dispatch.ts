/** From typed words to a run command, and from errors to what the person sees and the exit code. */
import { codeOf, messageOf } from '../../core/errors.js';
import type { Session } from '../session.js';
import { commands } from '../commands/catalog.js';
import { flag, type Command, type Flag, type OldForm } from './command.js';
import { parseFlags, UsageError } from './flags.js';

export const GLOBAL_FLAGS: readonly Flag[] = [
  flag.bool('help|h', 'show this help'),
  flag.bool('verbose|v', 'say more about what happens, and why things fail'),
  flag.bool('no-color', 'print no colours, also on a terminal'),
  flag.bool('no-metrics', 'accepted and ignored', { hidden: true }),
  flag.bool('no-port-forwarding', 'accepted and ignored', { hidden: true }),
];

export interface Match {
  readonly command: Command;
  /** Set when an old hyphenated name was typed. */
  readonly old: OldForm | undefined;
  /** The words as typed. */
  readonly typed: string;
  readonly rest: readonly string[];
}

/** Runs one command line and returns the exit code. Never throws. */
export async function dispatch(session: Session, argv: readonly string[]): Promise<number> {
  const words = argv.filter((token) => !token.startsWith('-'));
  if (words[0] === 'help' || (words.length === 0 && argv.some(isHelp))) {
    return (await import('./help.js')).printHelp(session, words.slice(words[0] === 'help' ? 1 : 0));
  }
  const match = findCommand(argv);
  if (!match) return (await import('./help.js')).printUnknown(session, words, argv.some(isHelp));
  return await runMatch(session, match);
}

function isHelp(token: string): boolean {
  return token === '--help' || token === '-h';
}

/** Finds the command by its longest run of words; old names are single words. */
export function findCommand(argv: readonly string[]): Match | undefined {
  const at = argv.flatMap((token, index) => (token.startsWith('-') ? [] : [index])).slice(0, 3);
  for (let count = at.length; count > 0; count -= 1) {
    const used = at.slice(0, count);
    const typed = used.map((index) => argv[index]).join(' ');
    const rest = argv.filter((_token, index) => !used.includes(index));
    for (const command of commands) {
      if (command.words === typed) return { command, old: undefined, typed, rest };
      const old = count === 1 ? oldFormOf(command, typed) : undefined;
      if (old) return { command, old, typed, rest };
    }
  }
  return undefined;
}

/** Every two-word command also answers to its words joined by a dash. */
function oldFormOf(command: Command, typed: string): OldForm | undefined {
  const listed = command.old?.find((form) => form.name === typed);
  if (listed) return listed;
  const joined = command.words.includes(' ') && command.words.replaceAll(' ', '-') === typed;
  return joined ? { name: typed } : undefined;
}

async function runMatch(session: Session, match: Match): Promise<number> {
  const { command, old } = match;
  try {
    const flags = [...command.flags, ...(old?.flags ?? []), ...GLOBAL_FLAGS];
    const { args: typed, values } = parseFlags(flags, match.rest);
    if (values.bool('help')) {
      return (await import('./help.js')).printCommandHelp(session, match);
    }
    checkCount(typed, old?.min ?? command.min, old?.max ?? command.max);
    const rewritten = old?.rewrite?.(typed);
    for (const [name, value] of Object.entries(rewritten?.flags ?? {})) values.set(name, value);
    const run = await command.load();
    const code = await run({
      session,
      args: rewritten?.args ?? typed,
      flags: values,
      hyphenated: old !== undefined,
    });
    return code ?? 0;
  } catch (error) {
    return await reportError(session, match, error);
  }
}

function checkCount(args: readonly string[], min: number, max: number): void {
  if (args.length >= min && args.length <= max) return;
  const expected =
    max === Infinity ? `at least ${min}` : min === max ? `${min}` : `${min} to ${max}`;
  throw new UsageError(`expected ${expected} arguments, got ${args.length}`);
}

async function reportError(session: Session, match: Match, error: unknown): Promise<number> {
  if (session.signal.aborted && codeOf(error) === 'CANCELLED') return 130;
  if (error instanceof UsageError) {
    const { usageOf } = await import('./help.js');
    session.note(`Error: ${error.message}`);
    session.note(usageOf(session, match).trimEnd());
    return 1;
  }
  session.note(messageOf(error));
  if (session.verbose) session.note(stackOf(error));
  return 1;
}

function stackOf(error: unknown): string {
  const parts: string[] = [];
  for (let current = error, depth = 0; current instanceof Error && depth < 8; depth += 1) {
    parts.push(current.stack ?? current.message);
    current = current.cause;
  }
  return parts.join('\ncaused by ');
}
