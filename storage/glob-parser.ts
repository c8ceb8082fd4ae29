/** Reads a glob pattern into nodes; storage/glob.ts gives them their meaning. */
import { invalidInput } from '../core/errors.js';

export type GlobNode =
  | { readonly kind: 'text'; readonly text: string }
  /** `*`: a run inside a component. */
  | { readonly kind: 'star' }
  /** `**`: a run of anything. */
  | { readonly kind: 'any' }
  /** `?` */
  | { readonly kind: 'one' }
  /** `source` is the inside of a regular expression class; `crosses`: it names `/`. */
  | {
      readonly kind: 'class';
      readonly source: string;
      readonly negated: boolean;
      readonly crosses: boolean;
    }
  /** `{a,b}` is operator `{`, `(a|b)` is operator `@`. */
  | {
      readonly kind: 'group';
      readonly operator: '{' | '@' | '?' | '*' | '+' | '!';
      readonly alternatives: readonly (readonly GlobNode[])[];
    };

const POSIX: Readonly<Record<string, string>> = {
  alnum: '0-9A-Za-z',
  alpha: 'A-Za-z',
  ascii: '\\x00-\\x7f',
  blank: '\\t ',
  cntrl: '\\x00-\\x1f\\x7f',
  digit: '0-9',
  graph: '\\x21-\\x7e',
  lower: 'a-z',
  print: '\\x20-\\x7e',
  punct: '\\x21-\\x2f\\x3a-\\x40\\x5b-\\x60\\x7b-\\x7e',
  space: '\\t\\n\\v\\f\\r ',
  upper: 'A-Z',
  word: '0-9A-Za-z_',
  xdigit: '0-9A-Fa-f',
};
const DEPTH_MAX = 64;

/** The nodes of a pattern. Unclosed `(` and `{` end with the pattern; an unclosed `[` is an error. */
export function parseGlob(pattern: string): GlobNode[] {
  return new Parser(pattern).sequence('', 0);
}

class Parser {
  #at = 0;

  constructor(readonly text: string) {}

  /** Nodes up to one of the `stops` outside of anything nested; stays on the stop. */
  sequence(stops: string, depth: number): GlobNode[] {
    if (depth > DEPTH_MAX) throw invalidInput(`glob "${this.text}": groups are nested too deep`);
    const nodes: GlobNode[] = [];
    let text = '';
    const flush = (): void => {
      if (text !== '') nodes.push({ kind: 'text', text });
      text = '';
    };
    while (this.#at < this.text.length && !stops.includes(this.#peek(0))) {
      const node = this.#special(depth);
      if (typeof node === 'string') {
        text += node;
      } else {
        flush();
        nodes.push(node);
      }
    }
    flush();
    return nodes;
  }

  #peek(ahead: number): string {
    return this.text.charAt(this.#at + ahead);
  }

  /** The next node, or literal text. */
  #special(depth: number): GlobNode | string {
    const here = this.#peek(0);
    const opens = this.#peek(1) === '(';
    switch (here) {
      case '\\': {
        const next = this.#take(2).slice(1);
        return next === '' ? '\\' : next;
      }
      case '[':
        return this.#class();
      case '{':
        this.#at += 1;
        return this.#group('{', ',', '}', depth);
      case '(':
        this.#at += 1;
        return this.#group('@', '|', ')', depth);
      case '*':
        if (opens) break;
        if (this.#peek(1) === '*' && this.#peek(2) !== '(') {
          this.#at += 2;
          return { kind: 'any' };
        }
        this.#at += 1;
        return { kind: 'star' };
      case '?':
        if (opens) break;
        this.#at += 1;
        return { kind: 'one' };
      case '^':
        if (opens) throw invalidInput(`glob "${this.text}": ^( is not a group; use !(…)`);
        return this.#take(1);
      case '@':
      case '+':
      case '!':
        if (opens) break;
        return this.#take(1);
      default:
        return this.#takePoint();
    }
    this.#at += 2;
    return this.#group(here, '|', ')', depth);
  }

  #take(count: number): string {
    const taken = this.text.slice(this.#at, this.#at + count);
    this.#at += count;
    return taken;
  }

  #takePoint(): string {
    return this.#take((this.text.codePointAt(this.#at) ?? 0) > 0xffff ? 2 : 1);
  }

  #group(
    operator: '{' | '@' | '?' | '*' | '+' | '!',
    separator: string,
    close: string,
    depth: number,
  ): GlobNode {
    const alternatives: GlobNode[][] = [];
    for (;;) {
      alternatives.push(this.sequence(separator + close, depth + 1));
      const stop = this.#take(1);
      if (stop !== separator) return { kind: 'group', operator, alternatives };
    }
  }

  #class(): GlobNode {
    this.#at += 1;
    let negated = false;
    let source = '';
    let crosses = false;
    /** The member before, when it may begin a range. */
    let from: string | undefined;
    for (;;) {
      const here = this.#peek(0);
      if (here === '') throw invalidInput('unexpected end of input');
      if (here === ']') {
        this.#at += 1;
        if (source === '') throw invalidInput(`glob "${this.text}": empty character class`);
        return { kind: 'class', source, negated, crosses };
      }
      const posix = /^\[:([a-z]+):\]/.exec(this.text.slice(this.#at, this.#at + 12));
      if (posix) {
        const members = POSIX[posix[1] as string];
        if (members === undefined) {
          throw invalidInput(`glob "${this.text}": unknown character class ${posix[0]}`);
        }
        this.#at += posix[0].length;
        source += members;
        crosses ||= ['ascii', 'graph', 'print', 'punct'].includes(posix[1] as string);
        from = undefined;
        continue;
      }
      if (here === '!' || here === '^') {
        this.#at += 1;
        negated = true;
        continue;
      }
      if (here === '-' && from !== undefined && this.#peek(1) !== ']' && this.#peek(1) !== '') {
        this.#at += 1;
        const to = this.#member();
        if (to < from) throw invalidInput(`glob "${this.text}": range ${from}-${to} is empty`);
        source += `-${escapeMember(to)}`;
        crosses ||= from <= '/' && to >= '/';
        from = undefined;
        continue;
      }
      from = this.#member();
      crosses ||= from === '/';
      source += escapeMember(from);
    }
  }

  #member(): string {
    if (this.#peek(0) !== '\\') return this.#takePoint();
    this.#at += 1;
    if (this.#peek(0) === '') throw invalidInput('unexpected end of input');
    return this.#takePoint();
  }
}

function escapeMember(character: string): string {
  return /[\\\]\[^\-/(){}|.*+?$]/.test(character) ? `\\${character}` : character;
}

/** A match of the node may hold a `/`. */
export function crossesSlash(node: GlobNode): boolean {
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
