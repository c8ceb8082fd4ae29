/**
 * Matches globs by trying alternatives in the order of a backtracking regular expression, but never
 * one place of the pattern twice at one place of the path: a place that led nowhere once leads
 * nowhere again. So the work grows with pattern × path, not exponentially, and has a limit.
 */
import { invalidInput } from '../core/errors.js';
import type { GlobNode } from './glob-parser.js';

/** Steps per match: some tens of milliseconds. Only patterns made for it need more. */
const STEPS_MAX = 2_000_000;
/** Bytes of memory per match. */
const PLACES_MAX = 32 * 1024 * 1024;

type Instruction =
  | { readonly op: 'test'; readonly test: (point: string) => boolean }
  /** Tries `first`, then `second`. */
  | { readonly op: 'split'; first: number; second: number }
  | { readonly op: 'jump'; to: number }
  /** Remembers the place in the path. */
  | { readonly op: 'save'; readonly slot: number }
  /** Goes on only where `body` does not match here. */
  | { readonly op: 'unless'; readonly body: readonly Instruction[]; readonly id: number }
  /** The end: of the path, or of what a condition looks at. */
  | { readonly op: 'end'; readonly anchored: boolean };

function tooLong(): Error {
  return invalidInput('the glob takes too many steps to match; write it with fewer groups');
}

const notSlash = (point: string): boolean => point !== '/';
const anything = (): boolean => true;

/** As `matcherOf` of glob-matcher.ts; its matches throw INVALID_INPUT when they take too long. */
export function machineOf(
  nodes: readonly GlobNode[],
  later: boolean,
): (path: string) => string[] | undefined {
  const compiler = new Compiler();
  const program = compiler.program(nodes, later, true);
  const { groups } = compiler;
  return (path) => {
    const points = Array.from(path);
    const run = new Run(points);
    const saved = run.match(program, 0);
    if (!saved) return undefined;
    const captures = [path];
    for (let group = 1; group <= groups; group += 1) {
      const [from, to] = [saved[2 * group], saved[2 * group + 1]];
      captures.push(from === undefined || to === undefined ? '' : points.slice(from, to).join(''));
    }
    return captures;
  };
}

class Compiler {
  groups = 0;
  #conditions = 0;

  program(nodes: readonly GlobNode[], later: boolean, anchored: boolean): Instruction[] {
    const code: Instruction[] = [];
    this.#sequence(code, nodes, later);
    code.push({ op: 'end', anchored });
    return code;
  }

  /** `later`: something that matches text follows these nodes in the pattern. */
  #sequence(code: Instruction[], nodes: readonly GlobNode[], later: boolean): void {
    for (const [index, node] of nodes.entries()) {
      this.#node(code, node, later || nodes.slice(index + 1).some(matchesText));
    }
  }

  #node(code: Instruction[], node: GlobNode, follows: boolean): void {
    switch (node.kind) {
      case 'text':
        for (const point of node.text) code.push({ op: 'test', test: (other) => other === point });
        return;
      case 'one':
        code.push({ op: 'test', test: notSlash });
        return;
      case 'star':
        run(code, notSlash);
        return;
      case 'any':
        run(code, anything);
        return;
      case 'class': {
        const members = new RegExp(`^[${node.negated ? '^' : ''}${node.source}]$`, 'su');
        code.push({ op: 'test', test: (point) => members.test(point) });
        return;
      }
      case 'group':
        this.#group(code, node, follows);
    }
  }

  #group(code: Instruction[], group: GlobNode & { kind: 'group' }, follows: boolean): void {
    if (group.operator === '{') {
      this.#choice(code, group.alternatives, follows);
      return;
    }
    this.groups += 1;
    const slot = 2 * this.groups;
    code.push({ op: 'save', slot });
    this.#captured(code, group, follows);
    code.push({ op: 'save', slot: slot + 1 });
  }

  #captured(
    code: Instruction[],
    { operator, alternatives }: GlobNode & { kind: 'group' },
    follows: boolean,
  ): void {
    if (operator === '!') {
      const body: Instruction[] = [];
      this.#choice(body, alternatives, follows);
      body.push({ op: 'end', anchored: !follows });
      this.#conditions += 1;
      code.push({ op: 'unless', body, id: this.#conditions });
      run(code, notSlash);
      return;
    }
    const start = code.length;
    const optional = operator === '?' || operator === '*';
    const enter = { op: 'split' as const, first: start + 1, second: 0 };
    if (optional) code.push(enter);
    this.#choice(code, alternatives, follows);
    if (operator === '*') code.push({ op: 'jump', to: start });
    if (operator === '+') code.push({ op: 'split', first: start, second: code.length + 1 });
    enter.second = code.length;
  }

  #choice(
    code: Instruction[],
    alternatives: readonly (readonly GlobNode[])[],
    follows: boolean,
  ): void {
    const ends: { op: 'jump'; to: number }[] = [];
    for (const [index, nodes] of alternatives.entries()) {
      const last = index === alternatives.length - 1;
      const split = { op: 'split' as const, first: code.length + 1, second: 0 };
      if (!last) code.push(split);
      this.#sequence(code, nodes, follows);
      if (last) break;
      const end = { op: 'jump' as const, to: 0 };
      ends.push(end);
      code.push(end);
      split.second = code.length;
    }
    for (const end of ends) end.to = code.length;
  }
}

/** As long a run as possible. */
function run(code: Instruction[], test: (point: string) => boolean): void {
  const start = code.length;
  code.push({ op: 'split', first: start + 1, second: start + 3 });
  code.push({ op: 'test', test });
  code.push({ op: 'jump', to: start });
}

/** Whether text of the path can be matched by the node at all; anchors of `!(…)` depend on it. */
export function matchesText(node: GlobNode): boolean {
  if (node.kind === 'group') return node.alternatives.some((nodes) => nodes.some(matchesText));
  return node.kind === 'text' || node.kind === 'star' || node.kind === 'any';
}

/** A place to go on from, or a remembered place to put back. */
type Pending =
  | { readonly pc: number; readonly at: number }
  | { readonly slot: number; readonly old: number | undefined };

class Run {
  #steps = 0;
  /** Answers of conditions by condition and place: they depend on nothing else. */
  readonly #conditions = new Map<number, boolean>();

  constructor(readonly points: readonly string[]) {}

  /** The remembered places of the first match from `start`. */
  match(program: readonly Instruction[], start: number): (number | undefined)[] | undefined {
    const places = this.points.length + 1;
    if (program.length * places > PLACES_MAX) throw tooLong();
    const tried = new Uint8Array(program.length * places);
    const saved: (number | undefined)[] = [];
    const pending: Pending[] = [{ pc: 0, at: start }];
    for (let next = pending.pop(); next; next = pending.pop()) {
      if ('slot' in next) {
        saved[next.slot] = next.old;
        continue;
      }
      let { pc, at } = next;
      for (;;) {
        const place = pc * places + at;
        if (tried[place] === 1) break;
        tried[place] = 1;
        this.#count();
        const step = program[pc] as Instruction;
        if (step.op === 'end') {
          if (!step.anchored || at === this.points.length) return saved;
          break;
        }
        if (step.op === 'test') {
          if (at === this.points.length || !step.test(this.points[at] as string)) break;
          at += 1;
          pc += 1;
        } else if (step.op === 'split') {
          pending.push({ pc: step.second, at });
          pc = step.first;
        } else if (step.op === 'jump') {
          pc = step.to;
        } else if (step.op === 'save') {
          pending.push({ slot: step.slot, old: saved[step.slot] });
          saved[step.slot] = at;
          pc += 1;
        } else {
          if (this.#matches(step.body, step.id, at)) break;
          pc += 1;
        }
      }
    }
    return undefined;
  }

  #matches(body: readonly Instruction[], id: number, at: number): boolean {
    const key = id * (this.points.length + 1) + at;
    const known = this.#conditions.get(key);
    if (known !== undefined) return known;
    const found = this.match(body, at) !== undefined;
    this.#conditions.set(key, found);
    return found;
  }

  #count(): void {
    this.#steps += 1;
    if (this.#steps > STEPS_MAX) throw tooLong();
  }
}
