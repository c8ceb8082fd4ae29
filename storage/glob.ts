/**
 * Globs as old clients know them, compiled to matchers that capture.
 *
 * The grammar is ours to keep: `*` and `?` stay inside a component, `**` crosses components, groups
 * `(a|b) @(…) ?(…) *(…) +(…) !(…)` capture, braces do not, classes may match `/`.
 */
import { invalidInput } from '../core/errors.js';
import { matcherOf, type Matcher } from './glob-matcher.js';
import { crossesSlash, parseGlob, type GlobNode } from './glob-parser.js';
import { canonicalPath } from './path.js';

export { canonicalPath, writablePath } from './path.js';

const GLOB_CHARACTER = /[*?[\]{}!()@+^]/;
const PATTERN_BYTES_MAX = 4096;
const SLASH: GlobNode = { kind: 'text', text: '/' };

export interface GlobMatch {
  /** `captures[0]` is the whole path, `captures[1]` the first group; unused groups are ''. */
  readonly captures: string[];
}

export interface Glob {
  /** Canonical form of the pattern. */
  readonly pattern: string;
  /** No special characters: the pattern is a path. */
  readonly literal: boolean;
  /** Every match starts with this text (it may end inside a component). */
  readonly literalPrefix: string;
  /** Number of components of every match, or undefined where it varies. */
  readonly depth: number | undefined;
  /** Matches one canonical path. */
  match(path: string): GlobMatch | undefined;
  /** False only if nothing below directory `path` can match. */
  mayMatchBelow(path: string): boolean;
}

/** True when the path's canonical form has a globbing character. */
export function isGlob(path: string): boolean {
  return GLOB_CHARACTER.test(canonicalPath(path));
}

/** Compiles a pattern; INVALID_INPUT with the reason where it can not be understood. */
export function compileGlob(pattern: string): Glob {
  const canonical = canonicalPath(pattern);
  if (Buffer.byteLength(canonical) > PATTERN_BYTES_MAX) {
    throw invalidInput(`glob pattern is longer than ${PATTERN_BYTES_MAX} bytes`);
  }
  if (!GLOB_CHARACTER.test(canonical)) return literalGlob(canonical);
  const nodes = parseGlob(canonical);
  const whole = matcherOf(nodes, false);
  const prefix = literalPrefixOf(nodes);
  const levels = splitLevels(nodes);
  const below = levels?.map((_level, depth) => levelTest(levels, depth));
  return {
    pattern: canonical,
    literal: false,
    literalPrefix: prefix,
    depth: levels?.length,
    match: (path) => {
      const captures = whole(path);
      return captures && { captures };
    },
    mayMatchBelow: (path) => {
      const inside = `${path}/`;
      if (!inside.startsWith(prefix) && !prefix.startsWith(inside)) return false;
      if (!below || path === '') return true;
      const depth = countSlashes(path);
      return depth < below.length && below[depth - 1]?.(path) !== undefined;
    },
  };
}

/** Fills `$0`, `$1`, `${12}` and `$$` of a template with the captures of a match. */
export function expandCaptures(template: string, captures: readonly string[]): string {
  return template.replace(
    /\$(?:\$|(\d+)|\{(\d+)\})/g,
    (text, plain: string | undefined, braced: string | undefined) => {
      const number = plain ?? braced;
      return number === undefined ? (text === '$$' ? '$' : text) : (captures[Number(number)] ?? '');
    },
  );
}

function literalGlob(path: string): Glob {
  return {
    pattern: path,
    literal: true,
    literalPrefix: path,
    depth: countSlashes(path),
    match: (other) => (other === path ? { captures: [other] } : undefined),
    mayMatchBelow: (other) => path.startsWith(`${other}/`),
  };
}

function countSlashes(path: string): number {
  let count = 0;
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) count += 1;
  return count;
}

function literalPrefixOf(nodes: readonly GlobNode[]): string {
  let prefix = '';
  for (const node of nodes) {
    if (node.kind !== 'text') break;
    prefix += node.text;
  }
  return prefix;
}

/** The nodes of each component, where no node can match a `/` of its own. */
function splitLevels(nodes: readonly GlobNode[]): GlobNode[][] | undefined {
  const levels: GlobNode[][] = [];
  for (const node of nodes) {
    if (node.kind !== 'text') {
      if (crossesSlash(node)) return undefined;
      levels.at(-1)?.push(node);
      continue;
    }
    for (const [index, part] of node.text.split('/').entries()) {
      if (index > 0) levels.push([]);
      if (part !== '') levels.at(-1)?.push({ kind: 'text', text: part });
    }
  }
  return levels;
}

function levelTest(levels: readonly GlobNode[][], depth: number): Matcher {
  const start = levels.slice(0, depth + 1).flatMap((nodes) => [SLASH, ...nodes]);
  return matcherOf(start, true);
}
