/**
 * Globs as old clients know them, compiled to regular expressions that capture.
 *
 * The grammar is ours to keep: `*` and `?` stay inside a component, `**` crosses components, groups
 * `(a|b) @(…) ?(…) *(…) +(…) !(…)` capture, braces do not, classes may match `/`.
 */
import { invalidInput } from '../core/errors.js';
import { parseGlob, type GlobNode } from './glob-parser.js';
import { canonicalPath } from './path.js';

export { canonicalPath, writablePath } from './path.js';

const GLOB_CHARACTER = /[*?[\]{}!()@+^]/;
const PATTERN_BYTES_MAX = 4096;

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
  const whole = new RegExp(`^${source(nodes, false)}$`, 'su');
  const prefix = literalPrefixOf(nodes);
  const levels = splitLevels(nodes);
  const below = levels?.map((_level, depth) => levelTest(levels, depth));
  return {
    pattern: canonical,
    literal: false,
    literalPrefix: prefix,
    depth: levels?.length,
    match: (path) => {
      const found = whole.exec(path);
      return found ? { captures: found.map((group) => group ?? '') } : undefined;
    },
    mayMatchBelow: (path) => {
      const inside = `${path}/`;
      if (!inside.startsWith(prefix) && !prefix.startsWith(inside)) return false;
      if (!below || path === '') return true;
      const depth = countSlashes(path);
      return depth < below.length && (below[depth - 1] as RegExp).test(path);
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

function crossesSlash(node: GlobNode): boolean {
  switch (node.kind) {
    case 'text':
      return node.text.includes('/');
    case 'star':
    case 'one':
      return false;
    case 'any':
      return true;
    case 'class':
      return node.negated || node.crosses;
    case 'group':
      return node.alternatives.some((nodes) => nodes.some(crossesSlash));
  }
}

function levelTest(levels: readonly GlobNode[][], depth: number): RegExp {
  const text = levels
    .slice(0, depth + 1)
    .map((nodes) => `/${source(nodes, true)}`)
    .join('');
  return new RegExp(`^${text}$`, 'su');
}

/** `later`: something that matches text follows these nodes in the pattern. */
function source(nodes: readonly GlobNode[], later: boolean): string {
  let text = '';
  for (const [index, node] of nodes.entries()) {
    const follows = later || nodes.slice(index + 1).some(matchesText);
    text += nodeSource(node, follows);
  }
  return text;
}

function matchesText(node: GlobNode): boolean {
  if (node.kind === 'group') return node.alternatives.some((nodes) => nodes.some(matchesText));
  return node.kind === 'text' || node.kind === 'star' || node.kind === 'any';
}

function nodeSource(node: GlobNode, follows: boolean): string {
  switch (node.kind) {
    case 'text':
      return node.text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&');
    case 'star':
      return '[^/]*';
    case 'any':
      return '.*';
    case 'one':
      return '[^/]';
    case 'class':
      return `[${node.negated ? '^' : ''}${node.source}]`;
    case 'group': {
      const choice = `(?:${node.alternatives.map((nodes) => source(nodes, follows)).join('|')})`;
      if (node.operator === '{') return choice;
      if (node.operator === '!') return `((?!${choice}${follows ? '' : '$'})[^/]*)`;
      return `(${choice}${node.operator === '@' ? '' : node.operator})`;
    }
  }
}
