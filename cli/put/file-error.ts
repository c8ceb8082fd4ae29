/** Errors of local files in the words of v1 clients: `open nope.txt: no such file or directory`. */
import { messageOf } from '../../core/errors.js';

const WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EISDIR: 'is a directory',
  ENOTDIR: 'not a directory',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  EEXIST: 'file exists',
  ENOSPC: 'no space left on device; free some space and try again',
  EMFILE: 'too many open files; raise the limit with ulimit -n, or lower --parallelism',
  ELOOP: 'too many levels of symbolic links',
};

/** `verb path: reason`. */
export function fileErrorText(verb: string, path: string, error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const shown = code === 'EISDIR' ? 'read' : verb;
  return `${shown} ${path}: ${WORDS[code] ?? messageOf(error)}`;
}
