/** Looks up the user a transform asks for in the host's /etc/passwd. */
import { readFileSync } from 'node:fs';
import { invalidInput } from '../core/errors.js';
import type { RunCommand } from './spawner-protocol.js';

/**
 * The user by name or number, undefined when user code runs as the worker does. INVALID_INPUT
 * `user X not found`, or when this worker may not become that user.
 */
export function findUser(
  user: string,
  options: { readonly uid: number; readonly passwd?: string },
): RunCommand['user'] {
  if (user === '') return undefined;
  const line = readPasswd(options.passwd ?? '/etc/passwd')
    .map((text) => text.split(':'))
    .find(([name, , uid]) => name === user || uid === user);
  if (!line) throw invalidInput(`user ${user} not found`);
  const found = { name: line[0] ?? user, uid: Number(line[2]), gid: Number(line[3]) };
  if (found.uid === options.uid) return undefined;
  if (options.uid !== 0) {
    throw invalidInput(`user ${user}: this worker does not run as root and cannot change users`);
  }
  return found;
}

function readPasswd(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return ['root:x:0:0::/:'];
  }
}
