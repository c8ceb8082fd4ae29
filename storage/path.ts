/**
 * Paths inside a commit. Canonical: absolute, no trailing slash, the root is the empty string.
 *
 * Inside storage a path travels as a *key*: its UTF-8 bytes as a latin1 string in which every `/`
 * became NUL. Comparing keys with `<` then is tree order: bytewise, `/` below every other byte.
 */
import { excerpt, invalidInput } from '../core/errors.js';

const NOT_ASCII = /[^\x00-\x7f]/;
const NOT_PRINTABLE = /[^\x20-\x7e]/;
/** As of Linux: what is longer could neither be mounted nor downloaded, and does not fit into pages. */
const PATH_BYTES_MAX = 4096;
const GLOB_CHARACTER = /[*?[\]{}!()@+^]/;

/** The separator inside keys. */
export const KEY_SEPARATOR = '\0';

/**
 * The canonical form of a path. A leading slash clamps `..` at the root; a relative path that
 * climbs out is INVALID_INPUT.
 */
export function canonicalPath(path: string): string {
  if (path === '' || path === '/') return '';
  // Inside keys it separates names: `/a\0b` would mean `/a/b`.
  if (path.includes(KEY_SEPARATOR)) {
    throw invalidInput(`path (${excerpt(path)}) invalid: a NUL can not be part of a path`);
  }
  const absolute = path.startsWith('/');
  const parts: string[] = [];
  let above = 0;
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0) parts.pop();
    else if (!absolute) above += 1;
  }
  if (above > 0) {
    const cleaned = [...Array<string>(above).fill('..'), ...parts].join('/');
    throw invalidInput(`path (${cleaned}) invalid: traverses above root`);
  }
  return parts.length === 0 ? '' : `/${parts.join('/')}`;
}

/** The canonical form of a path that is to be written: not too long, printable, not the root, no glob. */
export function writablePath(path: string): string {
  const canonical = canonicalPath(path);
  if (canonical.length > PATH_BYTES_MAX) {
    throw invalidInput(`path (${excerpt(path)}) invalid: longer than ${PATH_BYTES_MAX} bytes`);
  }
  if (canonical === '' || NOT_PRINTABLE.test(canonical)) {
    throw invalidInput(`path (${path}) invalid: only printable ASCII characters allowed`);
  }
  const found = GLOB_CHARACTER.exec(canonical);
  if (found) {
    throw invalidInput(
      `path (${path}) invalid: globbing character (${found[0]}) not allowed in path`,
    );
  }
  return canonical;
}

/** The bytes of a name as a latin1 string; what pages and runs compare. */
export function toBinary(text: string): string {
  return NOT_ASCII.test(text) ? Buffer.from(text, 'utf8').toString('latin1') : text;
}

/** The text of a latin1 byte string. */
export function fromBinary(binary: string): string {
  return NOT_ASCII.test(binary) ? Buffer.from(binary, 'latin1').toString('utf8') : binary;
}

/** The key of a canonical path: `/a/b` → `\0a\0b`. */
export function pathToKey(path: string): string {
  return toBinary(path).replaceAll('/', KEY_SEPARATOR);
}

/** The canonical path of a key. */
export function keyToPath(key: string): string {
  return fromBinary(key).replaceAll(KEY_SEPARATOR, '/');
}
