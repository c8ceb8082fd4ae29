/** Looks up the user a transform asks for in /etc/passwd of the host or of an image. */
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
  // `name:group`, as Dockerfiles write it.
  const [wanted, group] = user.split(':');
  const passwd = options.passwd ?? '/etc/passwd';
  const line = readPasswd(passwd)
    .map((text) => text.split(':'))
    .find(([name, , uid]) => name === wanted || uid === wanted);
  if (!line) throw invalidInput(`user ${user} not found`);
  const gid = group === undefined ? Number(line[3]) : groupId(passwd, group);
  const found = { name: line[0] ?? user, uid: Number(line[2]), gid };
  if (found.uid === options.uid) return undefined;
  if (options.uid !== 0) {
    throw invalidInput(`user ${user}: this worker does not run as root and cannot change users`);
  }
  return found;
}

/** Home directory of a user by an image's /etc/passwd; root's when there is none. */
export function homeOf(passwd: string, user: RunCommand['user']): string {
  const lines = readPasswd(passwd).map((text) => text.split(':'));
  const [, , , , , home = ''] = lines.find(([name]) => name === (user?.name ?? 'root')) ?? [];
  return home || '/';
}

function groupId(passwd: string, group: string): number {
  const file = passwd.replace(/passwd$/, 'group');
  const line = readPasswd(file)
    .map((text) => text.split(':'))
    .find(([name, , gid]) => name === group || gid === group);
  if (!line) throw invalidInput(`group ${group} not found`);
  return Number(line[2]);
}

function readPasswd(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n');
  } catch {
    return ['root:x:0:0::/:'];
  }
}
