/**
 * The part of the jq language that list filters are written in: paths, literals, comparisons, `and`,
 * `or`, `not`, `select(…)` and pipes. `tusk list job --state success --state failure` sends
 * `.state == "JOB_SUCCESS" or .state == "JOB_FAILURE"`. A program outside of this is an error, never
 * a filter that lets everything through.
 */
import { invalidInput } from '../../core/errors.js';
import { JobState, PipelineState } from '../../proto/generated/pps.js';

/** True when an item of a list is to be kept. */
export type ItemFilter = (item: object) => boolean;

type Value = unknown;
/** A jq filter with at most one result; undefined = no result (`select` that failed). */
type Program = (input: Value) => Value;

const TOKEN =
  /\s*(?:(?<str>"(?:[^"\\]|\\.)*")|(?<num>-?\d+(?:\.\d+)?)|(?<path>\.(?:[A-Za-z_]\w*)?)|(?<word>[A-Za-z_]\w*)|(?<op>==|!=|<=|>=|[<>()|[\]]))/gy;

interface Token {
  readonly kind: 'str' | 'num' | 'path' | 'word' | 'op';
  readonly text: string;
}

const DEPTH_MAX = 64;
const CHARS_MAX = 4096;

/** Compiles a filter program; an empty one keeps everything. Throws INVALID_INPUT. */
export function compileFilter(program: string): ItemFilter {
  if (program.trim() === '') return () => true;
  const run = new Parser(program).parse();
  return (item) => isTrue(run(toJson(item)));
}

function isTrue(value: Value): boolean {
  return value !== false && value !== null && value !== undefined;
}

class Parser {
  readonly #tokens: Token[] = [];
  #at = 0;
  #depth = 0;

  constructor(readonly text: string) {
    if (text.length > CHARS_MAX) throw this.#bad(`longer than ${CHARS_MAX} characters`);
    TOKEN.lastIndex = 0;
    const end = text.trimEnd().length;
    for (let from = 0; from < end; from = TOKEN.lastIndex) {
      TOKEN.lastIndex = from;
      const groups = TOKEN.exec(text)?.groups;
      if (!groups) throw this.#bad(`unexpected ${text.slice(from, from + 20).trim()}`);
      const [kind, found] = Object.entries(groups).find(([, value]) => value !== undefined) ?? [];
      this.#tokens.push({ kind: kind as Token['kind'], text: found ?? '' });
    }
  }

  parse(): Program {
    const program = this.#pipe();
    const rest = this.#tokens[this.#at];
    if (rest) throw this.#bad(`unexpected ${rest.text}`);
    return program;
  }

  #bad(why: string): Error {
    return invalidInput(
      `cannot parse the filter ${JSON.stringify(this.text.slice(0, 200))}: ${why}; ` +
        'supported are .path, literals, == != < <= > >=, and, or, not, select() and |',
    );
  }

  #take(text: string): boolean {
    const token = this.#tokens[this.#at];
    if (token?.text !== text || token.kind === 'str') return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) {
      throw this.#bad(`expected ${text} but found ${this.#tokens[this.#at]?.text ?? 'the end'}`);
    }
  }

  #pipe(): Program {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw this.#bad('nested too deeply');
    const left = this.#or();
    let program = left;
    if (this.#take('|')) {
      const right = this.#pipe();
      program = (input) => {
        const value = left(input);
        return value === undefined ? undefined : right(value);
      };
    }
    this.#depth -= 1;
    return program;
  }

  #or(): Program {
    let left = this.#and();
    while (this.#take('or')) {
      const [a, b] = [left, this.#and()];
      left = (input) => isTrue(a(input)) || isTrue(b(input));
    }
    return left;
  }

  #and(): Program {
    let left = this.#comparison();
    while (this.#take('and')) {
      const [a, b] = [left, this.#comparison()];
      left = (input) => isTrue(a(input)) && isTrue(b(input));
    }
    return left;
  }

  #comparison(): Program {
    const left = this.#term();
    for (const op of Object.keys(COMPARE)) {
      if (!this.#take(op)) continue;
      const right = this.#term();
      const compare = COMPARE[op] as (a: Value, b: Value) => boolean;
      return (input) => compare(left(input), right(input));
    }
    return left;
  }

  #term(): Program {
    const token = this.#tokens[this.#at];
    if (!token) throw this.#bad('it ends too early');
    this.#at += 1;
    if (token.kind === 'str' || token.kind === 'num') {
      const value = this.#literal(token.text);
      return () => value;
    }
    if (token.kind === 'path') return this.#path(token.text.slice(1));
    if (token.text === '(') {
      const inner = this.#pipe();
      this.#expect(')');
      return inner;
    }
    return this.#word(token.text);
  }

  #word(word: string): Program {
    if (word === 'true') return () => true;
    if (word === 'false') return () => false;
    if (word === 'null') return () => null;
    if (word === 'not') return (input) => !isTrue(input);
    if (word === 'length') return (input) => lengthOf(input);
    if (word === 'select') {
      this.#expect('(');
      const condition = this.#pipe();
      this.#expect(')');
      return (input) => (isTrue(condition(input)) ? input : undefined);
    }
    throw this.#bad(`unknown word ${word}`);
  }

  #path(first: string): Program {
    const keys: Value[] = first === '' ? [] : [first];
    for (;;) {
      const token = this.#tokens[this.#at];
      if (token?.kind === 'path' && token.text !== '.') {
        keys.push(token.text.slice(1));
        this.#at += 1;
      } else if (this.#take('[')) {
        const key = this.#tokens[this.#at];
        if (key?.kind !== 'str' && key?.kind !== 'num') throw this.#bad('expected a key in [ ]');
        keys.push(this.#literal(key.text));
        this.#at += 1;
        this.#expect(']');
      } else {
        return (input) => keys.reduce<Value>((value, key) => step(value, key), input);
      }
    }
  }

  #literal(text: string): Value {
    try {
      return JSON.parse(text) as Value;
    } catch {
      throw this.#bad(`${text} is not a literal`);
    }
  }
}

function step(value: Value, key: Value): Value {
  if (typeof value !== 'object' || value === null) return null;
  const owner = value as Record<string, Value>;
  return Object.hasOwn(owner, String(key)) ? owner[String(key)] : null;
}

function lengthOf(value: Value): number {
  if (typeof value === 'string' || Array.isArray(value)) return value.length;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length;
  return typeof value === 'number' ? Math.abs(value) : 0;
}

const COMPARE: Record<string, (a: Value, b: Value) => boolean> = {
  '==': (a, b) => order(a, b) === 0,
  '!=': (a, b) => order(a, b) !== 0,
  '<=': (a, b) => order(a, b) <= 0,
  '>=': (a, b) => order(a, b) >= 0,
  '<': (a, b) => order(a, b) < 0,
  '>': (a, b) => order(a, b) > 0,
};

/** jq's order of types: null, false, true, numbers, strings, the rest. */
function order(a: Value, b: Value): number {
  const [ra, rb] = [rank(a), rank(b)];
  if (ra !== rb) return ra - rb;
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [ta, tb] = [JSON.stringify(a ?? null), JSON.stringify(b ?? null)];
  return ta < tb ? -1 : ta > tb ? 1 : 0;
}

function rank(value: Value): number {
  if (value === null || value === undefined) return 0;
  if (value === false) return 1;
  if (value === true) return 2;
  if (typeof value === 'number') return 3;
  return typeof value === 'string' ? 4 : 5;
}

const TIMES = new Set(['started', 'finished', 'created_at', 'start']);

/** An item as filters see it: snake_case names, symbolic states, times and durations as text. */
function toJson(item: object): Value {
  const isJob = 'outputCommit' in item;
  const states: Record<number, string> = isJob ? JobState : PipelineState;
  return convert('', item, states);
}

function convert(key: string, value: Value, states: Record<number, string>): Value {
  if (key === 'state') return states[value as number] ?? value;
  if (key === 'last_job_state') return JobState[value as number] ?? value;
  if (Array.isArray(value)) return value.map((one) => convert('', one, states));
  if (typeof value !== 'object' || value === null) return value ?? null;
  if ('seconds' in value && 'nanos' in value) {
    return timeText(key, value as { seconds: number; nanos: number });
  }
  const out: Record<string, Value> = {};
  for (const [name, inner] of Object.entries(value)) {
    const snake = name === 'URL' ? name : name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
    out[snake] = convert(snake, inner, states);
  }
  return out;
}

function timeText(key: string, time: { seconds: number; nanos: number }): string {
  if (TIMES.has(key)) return new Date(time.seconds * 1000 + time.nanos / 1e6).toISOString();
  return `${time.seconds + time.nanos / 1e9}s`;
}
