/** The reference of all commands as Markdown, made from what the program itself knows (docs/cli-reference.md). */
import type { Command, Flag, OldForm } from './command.js';
import { GLOBAL_FLAGS } from './dispatch.js';
import { groupedCommands, valueWord } from './help.js';

export function cliReference(): string {
  const groups = groupedCommands();
  return [
    '# All commands\n',
    'Made from the program itself (`cli/grammar/reference.ts`). [cli.md](cli.md) tells what they share:',
    'how references are written, which server is meant, where files land. Every command is also there',
    'with a hyphen, as in `create-repo`; where that older form takes other arguments it is shown.\n',
    ...groups.flatMap(({ title, list }) => [
      `- ${title}: ${list.map(({ words }) => `[${words}](#${anchor(words)})`).join(' · ')}`,
    ]),
    '\n## Flags of all commands\n',
    flagList(GLOBAL_FLAGS),
    ...groups.flatMap(({ title, list }) => [`## ${title}\n`, ...list.map(section)]),
  ].join('\n');
}

function anchor(words: string): string {
  return words.replaceAll(' ', '-');
}

function section(command: Command): string {
  const { words, args, summary, details, flags, examples, old = [] } = command;
  const parts = [`### ${words}\n`, `${sentence(summary)}\n`];
  const usage = [line(words, args), ...old.filter((form) => form.args !== undefined).map(oldLine)];
  parts.push(['```text', ...usage, '```', ''].join('\n'));
  if (details !== undefined) parts.push(`${details}\n`);
  const shown = flagList(flags);
  if (shown !== '') parts.push(shown);
  if (examples) {
    const lines = examples.flatMap(([what, typed]) => [`# ${what}`, `tusk ${typed}`]);
    parts.push(['```sh', ...lines, '```', ''].join('\n'));
  }
  return parts.join('\n');
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

function line(words: string, args: string): string {
  return `tusk ${words}${args === '' ? '' : ` ${args}`}`;
}

function oldLine(form: OldForm): string {
  return line(form.name, form.args ?? '');
}

function flagList(flags: readonly Flag[]): string {
  const shown = flags.filter((flag) => !flag.hidden);
  if (shown.length === 0) return '';
  const lines = shown.map((flag) => {
    const value = flag.kind === 'bool' ? '' : ` ${flag.value ?? valueWord(flag)}`;
    const short = flag.short === undefined ? '' : `-${flag.short}, `;
    const initial =
      flag.initial === undefined || flag.initial === '' ? '' : ` (default \`${flag.initial}\`)`;
    return `- \`${short}--${flag.name}${value}\`: ${flag.help}${initial}`;
  });
  return `${lines.join('\n')}\n`;
}
