/**
 * What a half-typed command line asks for next: command words, flags, or a name of some kind. Knows
 * nothing of the server; `candidates.ts` looks the names up.
 */
import { commands } from '../commands/catalog.js';
import type { Command, Flag, OldForm } from '../grammar/command.js';
import { findCommand, GLOBAL_FLAGS } from '../grammar/dispatch.js';

/** A kind of name that can be completed. `repo` and `commit` narrow it where they were typed. */
export type Wanted =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'repo' | 'pipeline' | 'job' | 'transaction' | 'context' | 'local-file' }
  | { readonly kind: 'datum'; readonly job: string }
  /** `repo@branch-or-commit`; with `file` also `:path`. */
  | { readonly kind: 'ref'; readonly file: boolean }
  /** A branch or commit by itself, its repo typed elsewhere. */
  | { readonly kind: 'branch-or-commit'; readonly repo: string }
  | { readonly kind: 'path'; readonly repo: string; readonly commit: string };

const NOTHING: Wanted = { kind: 'words', words: [] };

/** `typed` are the complete words after the program's name, `current` the one at the cursor. */
export function wanted(typed: readonly string[], current: string): Wanted {
  const match = findCommand(typed);
  if (!match) return { kind: 'words', words: nextWords(typed, current) };
  const flags = [...match.command.flags, ...(match.old?.flags ?? []), ...GLOBAL_FLAGS];
  const { args, open } = split(match.rest, flags);
  if (open) return ofFlag(open, match.command, args[0] ?? '');
  if (current.startsWith('-')) {
    return { kind: 'words', words: flags.filter((f) => !f.hidden).map((f) => `--${f.name}`) };
  }
  // `create` is no command but `create repo` is; a command may also go on, as `completion bash`.
  const longer = match.rest.length === 0 ? nextWords(typed, current) : [];
  if (longer.length > 0) return { kind: 'words', words: longer };
  return ofArgument(match.command, match.old, args);
}

/** Command words that may follow; the old hyphenated names once something with a dash is typed. */
function nextWords(typed: readonly string[], current: string): string[] {
  const words = new Set<string>();
  for (const command of commands) {
    if (command.hidden) continue;
    const parts = command.words.split(' ');
    const next = parts[typed.length];
    if (next !== undefined && typed.every((word, at) => parts[at] === word)) words.add(next);
    if (typed.length > 0 || !current.includes('-')) continue;
    if (parts.length > 1) words.add(parts.join('-'));
    for (const old of command.old ?? []) words.add(old.name);
  }
  return [...words];
}

/** Arguments typed so far, and the flag that still waits for its value. */
function split(
  rest: readonly string[],
  flags: readonly Flag[],
): { args: string[]; open: Flag | undefined } {
  const args: string[] = [];
  let open: Flag | undefined;
  for (const token of rest) {
    if (open) open = undefined;
    else if (token.startsWith('-') && token !== '-') open = waiting(token, flags);
    else args.push(token);
  }
  return { args, open };
}

function waiting(token: string, flags: readonly Flag[]): Flag | undefined {
  if (token.includes('=')) return undefined;
  const known = token.startsWith('--')
    ? flags.find((f) => f.name === token.slice(2))
    : flags.find((f) => f.short === token.at(-1));
  return known && known.kind !== 'bool' ? known : undefined;
}

function ofFlag(open: Flag, command: Command, first: string): Wanted {
  const repo = first.split('@')[0] ?? '';
  const [verb, noun] = command.words.split(' ');
  switch (open.name) {
    case 'pipeline':
      return { kind: 'pipeline' };
    case 'job':
      return { kind: 'job' };
    case 'provenance':
    case 'repos':
      return { kind: 'ref', file: false };
    case 'head':
    case 'from':
    case 'parent':
    case 'trigger':
      return { kind: 'branch-or-commit', repo };
    case 'input':
      return { kind: 'ref', file: false };
    case 'output':
      if (noun === 'job') return { kind: 'ref', file: false };
      return verb === 'get' ? { kind: 'local-file' } : { kind: 'words', words: ['json', 'yaml'] };
    case 'split':
      return { kind: 'words', words: ['line', 'json', 'csv', 'sql'] };
    case 'file':
    case 'input-file':
    case 'data-dir':
    case 'path':
      return { kind: 'local-file' };
    default:
      return NOTHING;
  }
}

function ofArgument(command: Command, old: OldForm | undefined, args: readonly string[]): Wanted {
  const shape = (old?.args ?? command.args)
    .replaceAll(/[()[\]'|]|--all/g, ' ')
    .split(/\s+/)
    .filter((part) => part !== '');
  const repeats = shape.at(-1) === '…';
  if (repeats) shape.pop();
  // Brackets inside one word, as in REPO@X[:PATH], were cut apart above: put them together again.
  const parts = shape.reduce<string[]>((all, part) => {
    if (/^[@:=]/.test(part) && all.length > 0) all.push(`${all.pop() ?? ''}${part}`);
    else all.push(part);
    return all;
  }, []);
  const part = parts[args.length] ?? (repeats ? parts.at(-1) : undefined);
  if (part === undefined) return NOTHING;
  return ofShape(part, command, args, parts);
}

function ofShape(
  part: string,
  command: Command,
  args: readonly string[],
  parts: readonly string[],
): Wanted {
  if (part.includes('@')) return { kind: 'ref', file: part.includes(':') };
  const at = args.length;
  switch (part) {
    case 'REPO':
      return { kind: 'repo' };
    case 'REPO/COMMIT':
      return { kind: 'ref', file: false };
    case 'PIPELINE':
      return { kind: 'pipeline' };
    case 'JOB':
      return { kind: 'job' };
    case 'DATUM':
      return { kind: 'datum', job: args[0] ?? '' };
    case 'TRANSACTION':
      return { kind: 'transaction' };
    case 'NAME':
      return command.words.startsWith('config') ? { kind: 'context' } : NOTHING;
    case 'DIR':
    case 'FILE':
      return { kind: 'local-file' };
    case 'PATH':
      return { kind: 'path', repo: args[at - 2] ?? '', commit: args[at - 1] ?? '' };
    default:
      return parts[at - 1] === 'REPO'
        ? { kind: 'branch-or-commit', repo: args[at - 1] ?? '' }
        : NOTHING;
  }
}
