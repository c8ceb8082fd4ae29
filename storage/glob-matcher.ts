/**
 * What turns the nodes of a glob into something that matches. Patterns that can not backtrack far
 * become regular expressions; all others run on the machine of glob-machine.ts, whose work is
 * bounded, so that no pattern can keep the server busy.
 */
import { machineOf, matchesText } from './glob-machine.js';
import { crossesSlash, type GlobNode } from './glob-parser.js';

/** The captures of a match (`[0]` is the whole path, groups without a part are ''), or undefined. */
export type Matcher = (path: string) => string[] | undefined;

/** Parts of varying length that a regular expression may try against each other. */
const VARYING_MAX = 2;
/** What a choice counts for: a few in a row are no harm. */
const CHOICE = 0.3;

/** A matcher of whole paths. `later`: the nodes are the start of a pattern that goes on. */
export function matcherOf(nodes: readonly GlobNode[], later: boolean): Matcher {
  if (!isCheap(nodes)) return machineOf(nodes, later);
  const pattern = new RegExp(`^${source(nodes, later)}$`, 'su');
  return (path) => pattern.exec(path)?.map((group) => group ?? '');
}

/** Few parts of varying length meet within a component, or in all where a part can cross `/`. */
function isCheap(nodes: readonly GlobNode[]): boolean {
  const crossing = nodes.some((node) => node.kind !== 'text' && crossesSlash(node));
  let varying = 0;
  for (const node of nodes) {
    if (!crossing && node.kind === 'text' && node.text.includes('/')) varying = 0;
    varying += varyingIn(node);
    if (varying > VARYING_MAX) return false;
  }
  return true;
}

function varyingIn(node: GlobNode): number {
  if (node.kind === 'star' || node.kind === 'any') return 1;
  if (node.kind !== 'group') return 0;
  if (['*', '+', '!'].includes(node.operator)) return VARYING_MAX + 1;
  return node.alternatives
    .flat()
    .reduce((sum, inner) => sum + varyingIn(inner), node.alternatives.length > 1 ? CHOICE : 0);
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
