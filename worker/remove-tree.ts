/** Takes away what user code left, whatever it did to be in the way. */
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { chmodSync, lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** Removes a file or a whole directory; one that is not there is removed already. */
export function removeTree(path: string | Buffer): void {
  try {
    return rmSync(path, { recursive: true, force: true });
  } catch {
    // The next way goes further.
  }
  try {
    // User code took away the owner's rights on a directory.
    openUp(path);
    return rmSync(path, { recursive: true, force: true });
  } catch {
    // So does the last.
  }
  removeDeep(path);
}

/** Directories in directories until no path leads to the last: only relative steps get there. */
function removeDeep(path: string | Buffer): void {
  const dir = dirname(path.toString());
  // A name that is no text can not be an argument.
  const gone = join(dir, `.gone-${randomUUID()}`);
  renameSync(path, gone);
  execFileSync('chmod', ['-R', 'u+rwX', '--', gone], { stdio: 'ignore' });
  execFileSync('rm', ['-rf', '--', gone], { stdio: ['ignore', 'ignore', 'pipe'] });
}

function openUp(path: string | Buffer): void {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (!stat?.isDirectory()) return;
  chmodSync(path, 0o700);
  for (const name of readdirSync(path, { encoding: 'buffer' })) openUp(childOf(path, name));
}

/** The path of a name that may be no text. */
export function childOf(dir: string | Buffer, name: Buffer): Buffer {
  return Buffer.concat([Buffer.from(dir), Buffer.from('/'), name]);
}
