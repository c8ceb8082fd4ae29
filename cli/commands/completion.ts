/** completion bash, completion zsh, and the hidden command their scripts call. */
import { writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { invalidInput, messageOf } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import type { Call } from '../grammar/command.js';
import { candidates as lookUp } from '../completion/candidates.js';
import { bashScript, zshScript } from '../completion/scripts.js';
import { wanted } from '../completion/wanted.js';

export const completionBash = (call: Call): Promise<void> => give(call, bashScript());
export const completionZsh = (call: Call): Promise<void> => give(call, zshScript());

async function give({ session, flags }: Call, script: string): Promise<void> {
  if (!flags.bool('install')) {
    session.out(script);
    return;
  }
  const path = resolve(flags.text('path'));
  try {
    makeDir(dirname(path));
    writeFileSync(path, script);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    const step =
      code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
        ? `try again with sudo, or give a place of your own with --path`
        : 'give another place with --path';
    throw invalidInput(`could not write ${path}: ${messageOf(error)}; ${step}`, { cause: error });
  }
  session.out(`Completions installed in ${JSON.stringify(path)}, start a new shell to use them.\n`);
}

/** Prints one candidate a line. Silent when the server does not answer: a shell has no place for it. */
export async function candidates({ session, args }: Call): Promise<void> {
  const typed = args.slice(0, -1);
  const current = args.at(-1) ?? '';
  try {
    const names = await lookUp(session, wanted(typed, current), current);
    session.out(names.map((name) => `${name}\n`).join(''));
  } catch (error) {
    if (session.verbose) session.note(messageOf(error));
  }
}
