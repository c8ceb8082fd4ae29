/** Help pages: the front page, one page per command, and topic pages per noun. */
import { commands } from '../commands/catalog.js';
import type { Session } from '../session.js';
import type { Command, Flag } from './command.js';
import { findCommand, GLOBAL_FLAGS, type Match } from './dispatch.js';

interface Group {
  readonly title: string;
  readonly nouns: readonly string[];
}

const GROUPS: readonly Group[] = [
  {
    title: 'Run Tusk',
    nouns: ['up', 'down', 'status', 'coordinator', 'worker', 'version', 'draw'],
  },
  { title: 'Repos', nouns: ['repo'] },
  { title: 'Commits and branches', nouns: ['commit', 'branch'] },
  { title: 'Files', nouns: ['file', 'mount', 'unmount'] },
  { title: 'Pipelines', nouns: ['pipeline', 'cron'] },
  { title: 'Jobs, datums and logs', nouns: ['job', 'datum', 'logs'] },
  { title: 'Transactions', nouns: ['transaction'] },
];

const TOPICS: Readonly<Record<string, string>> = {
  repo: 'A repo holds versioned files. Every change to it is a commit on a branch.',
  commit:
    "A commit is one version of a repo. It is named repo@branch (the branch's newest), repo@id,\nor by ancestry: repo@branch^ (its parent), repo@branch~3.",
  branch: 'A branch is a name that follows the newest of a line of commits.',
  file: 'A file is named repo@branch:path or repo@commit:path. Paths in list, get and glob may be\npatterns: *, **, ?, [a-z], {a,b}.',
  pipeline:
    'A pipeline runs your program on every new piece of its input and keeps the results in a repo\nof the same name. It is described by a JSON or YAML spec.',
  job: 'A job is one run of a pipeline over one set of input commits.',
  datum: 'A datum is one unit of work of a job: the files one run of your program sees.',
  transaction: 'A transaction collects changes and makes them visible all at once.',
};

/** `prog help …` and `prog --help`, on standard output. */
export function printHelp(session: Session, words: readonly string[]): number {
  if (words.length === 0) {
    session.out(frontPage(session.program));
    return 0;
  }
  const match = findCommand(words);
  if (match) return printCommandHelp(session, match);
  const text = topic(session.program, words) ?? verbPage(session.program, words);
  if (text !== undefined) {
    session.out(text);
    return 0;
  }
  return printUnknown(session, words, false);
}

/** What to say when no command matches the typed words. */
export function printUnknown(session: Session, words: readonly string[], asked: boolean): number {
  const [first] = words;
  const { program } = session;
  if (first === undefined) {
    session.note(frontPage(program).trimEnd());
    session.note('subcommand is required');
    return 1;
  }
  const page = topic(program, words) ?? verbPage(program, words);
  if (page !== undefined) {
    if (asked || (words.length === 1 && TOPICS[first])) {
      session.out(page);
      return 0;
    }
    session.note(page.trimEnd());
    const noun = words[1];
    session.note(
      noun === undefined
        ? 'subcommand is required'
        : `subcommand is required ("${first} ${noun}" is not one)`,
    );
    return 1;
  }
  const typed = words.join(' ');
  session.note(`Error: unknown command "${first}" for "${program}"`);
  const near = suggestions(first, typed);
  if (near.length > 0)
    session.note(`\nDid you mean this?\n${near.map((w) => `\t${w}\n`).join('')}`);
  session.note(`Run '${program} --help' for usage.`);
  return 1;
}

export function printCommandHelp(session: Session, match: Match): number {
  const { command } = match;
  const parts = [`${command.details ?? `${command.summary}.`}\n`];
  parts.push(usageOf(session, match));
  if (command.examples) {
    const shown = command.examples.map(
      ([what, line]) => `  # ${what}\n  $ ${session.program} ${line}\n`,
    );
    parts.push(`Examples:\n${shown.join('\n')}`);
  }
  session.out(`${parts.join('\n')}\n`);
  return 0;
}

/** Usage line and flags of a command. */
export function usageOf(session: Session, match: Match): string {
  const { command, old } = match;
  const args = old?.args ?? command.args;
  const own = [...command.flags, ...(old?.flags ?? [])].filter((entry) => !entry.hidden);
  const flags = own.length > 0 ? ' [flags]' : '';
  let text = `Usage:\n  ${session.program} ${old?.name ?? command.words}${args ? ` ${args}` : ''}${flags}\n`;
  if (own.length > 0) text += `\nFlags:\n${flagLines(own)}`;
  return `${text}\nGlobal flags:\n${flagLines(GLOBAL_FLAGS.filter((entry) => !entry.hidden))}`;
}

function flagLines(flags: readonly Flag[]): string {
  const left = flags.map((entry) => {
    const value = entry.kind === 'bool' ? '' : ` ${entry.value ?? valueWord(entry)}`;
    return `  ${entry.short ? `-${entry.short}, ` : '    '}--${entry.name}${value}`;
  });
  const width = Math.max(...left.map((text) => text.length)) + 3;
  return flags
    .map((entry, index) => {
      const initial = entry.initial === undefined ? '' : ` (default ${entry.initial})`;
      const text = wrap(entry.help + initial, Math.max(30, 100 - width), ' '.repeat(width));
      return `${(left[index] as string).padEnd(width)}${text}\n`;
    })
    .join('');
}

/** What stands for the value of a flag in help. */
export function valueWord(entry: Flag): string {
  switch (entry.kind) {
    case 'int':
    case 'uint':
      return 'N';
    case 'duration':
      return 'DURATION';
    case 'bool':
      return '';
    case 'string':
    case 'slice':
    case 'repeat':
      return 'TEXT';
    default:
      return '';
  }
}

function wrap(text: string, width: number, indent: string): string {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].join(`\n${indent}`);
}

function visible(): Command[] {
  return commands.filter((command) => !command.hidden);
}

function commandLines(list: readonly Command[]): string {
  const width = Math.max(22, ...list.map(({ words }) => words.length + 2));
  return list.map((entry) => `  ${entry.words.padEnd(width)}${entry.summary}\n`).join('');
}

/** The commands that help shows, in groups. */
export function groupedCommands(): { readonly title: string; readonly list: Command[] }[] {
  const lastWord = (command: Command): string => command.words.split(' ').at(-1) as string;
  const grouped = GROUPS.map(({ title, nouns }) => {
    const list = visible().filter(
      (entry) => nouns.includes(lastWord(entry)) && !entry.words.startsWith('config'),
    );
    return { title, list };
  });
  const seen = new Set(grouped.flatMap(({ list }) => list));
  const other = { title: 'Other', list: visible().filter((entry) => !seen.has(entry)) };
  return [...grouped, other].filter(({ list }) => list.length > 0);
}

function frontPage(program: string): string {
  const sections = groupedCommands().map(({ title, list }) => `${title}:\n${commandLines(list)}`);
  return (
    `Tusk versions data and runs pipelines over what changed.\n\n` +
    `Usage:\n  ${program} COMMAND [ARGUMENTS] [FLAGS]\n\n${sections.join('\n')}\n` +
    `Begin with:\n  ${program} up --detach\n  ${program} create repo data\n  ${program} put file data@master -f FILE\n\n` +
    `'${program} COMMAND --help' explains one command; '${program} file' (or repo, commit, pipeline …) a topic.\n`
  );
}

function topic(program: string, words: readonly string[]): string | undefined {
  const noun = words.length === 1 ? words[0] : undefined;
  const text = noun === undefined ? undefined : TOPICS[noun];
  if (noun === undefined || text === undefined) return undefined;
  const list = visible().filter((entry) => entry.words.endsWith(` ${noun}`));
  return `${text}\n\nCommands:\n${commandLines(list)}\nUse '${program} COMMAND --help' for more about one of them.\n`;
}

function verbPage(program: string, words: readonly string[]): string | undefined {
  for (let count = Math.min(words.length, 2); count > 0; count -= 1) {
    const prefix = `${words.slice(0, count).join(' ')} `;
    const list = visible().filter((entry) => entry.words.startsWith(prefix));
    if (list.length > 0) {
      return `Usage:\n  ${program} ${prefix.trim()} COMMAND [ARGUMENTS] [FLAGS]\n\nCommands:\n${commandLines(list)}`;
    }
  }
  return undefined;
}

/** Command words close to what was typed: small spelling mistakes and missing parts. */
function suggestions(first: string, typed: string): string[] {
  const candidates = new Set(
    visible().flatMap((entry) => [entry.words, entry.words.split(' ')[0] as string]),
  );
  return [...candidates]
    .map((words) => ({ words, far: Math.min(distance(first, words), distance(typed, words)) }))
    .filter(
      ({ words, far }) =>
        far <= (first.length < 5 ? 1 : 2) || (first.length > 2 && words.startsWith(first)),
    )
    .sort((a, b) => a.far - b.far)
    .slice(0, 4)
    .map(({ words }) => words);
}

/** Edits between two words. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_unused, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const change = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(change, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
