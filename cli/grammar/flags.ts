/**
 * The flag grammar of v1 clients: flags and arguments mixed in any order, `--name value`,
 * `--name=value`, `-n value`, `-nvalue`, `-n=value`, combined boolean shorts whose last may take a
 * value (`-crf .`), booleans with a value only after `=`, values that begin with a dash, `--` ends
 * the flags. Written by hand because no parser library accepts all of these spellings.
 */
import { AppError } from '../../core/errors.js';
import type { Flag } from './command.js';

/** A mistake in how a command was typed; the usage line is printed with it. */
export class UsageError extends AppError {
  constructor(message: string) {
    super('INVALID_INPUT', message);
  }
}

/** The flags of one call, checked and typed. */
export class FlagValues {
  readonly #values = new Map<string, string[]>();
  readonly #flags: ReadonlyMap<string, Flag>;

  constructor(flags: readonly Flag[]) {
    this.#flags = new Map(flags.map((entry) => [entry.name, entry]));
  }

  /** Stores a typed value. Throws UsageError when it does not fit the flag's kind. */
  set(name: string, text: string): void {
    const known = this.#flags.get(name);
    if (!known) throw new UsageError(`unknown flag: --${name}`);
    const why = problem(known, text);
    if (why)
      throw new UsageError(`invalid argument ${quote(text)} for ${shown(known)} flag: ${why}`);
    const list = known.kind === 'slice' || known.kind === 'repeat';
    if (list) this.#values.set(name, [...(this.#values.get(name) ?? []), text]);
    else this.#values.set(name, [text]);
  }

  given(name: string): boolean {
    return this.#values.has(name);
  }

  bool(name: string): boolean {
    const text = this.text(name);
    return text !== '' && TRUE.has(text);
  }

  text(name: string): string {
    return this.#values.get(name)?.[0] ?? this.#flags.get(name)?.initial ?? '';
  }

  number(name: string): number {
    return Number(this.text(name) || '0');
  }

  /** Milliseconds; 0 when not given. */
  durationMs(name: string): number {
    return parseDurationMs(this.text(name) || '0s') ?? 0;
  }

  /** Values of a repeated flag; slices are split at commas, except those `keepWhole` accepts. */
  list(name: string, keepWhole: (value: string) => boolean = () => false): string[] {
    const known = this.#flags.get(name);
    const values = this.#values.get(name) ?? (known?.initial === undefined ? [] : [known.initial]);
    if (known?.kind !== 'slice') return [...values];
    return values.flatMap((value) => (keepWhole(value) ? [value] : splitCsv(value)));
  }
}

/** Separates flags from arguments. Throws UsageError with the texts old clients print. */
export function parseFlags(
  flags: readonly Flag[],
  tokens: readonly string[],
): { args: string[]; values: FlagValues } {
  const values = new FlagValues(flags);
  const byName = new Map(flags.map((entry) => [entry.name, entry]));
  const byShort = new Map(flags.flatMap((entry) => (entry.short ? [[entry.short, entry]] : [])));
  const args: string[] = [];
  const queue = [...tokens];
  for (let token = queue.shift(); token !== undefined; token = queue.shift()) {
    if (token === '--') {
      args.push(...queue);
      break;
    }
    if (token.startsWith('--')) long(token, byName, values, queue);
    else if (token.startsWith('-') && token !== '-') shorts(token, byShort, values, queue);
    else args.push(token);
  }
  return { args, values };
}

function long(
  token: string,
  byName: ReadonlyMap<string, Flag>,
  values: FlagValues,
  queue: string[],
): void {
  const equals = token.indexOf('=');
  const name = token.slice(2, equals < 0 ? undefined : equals);
  const known = byName.get(name);
  if (!known) throw new UsageError(`unknown flag: --${name}`);
  if (equals >= 0) values.set(name, token.slice(equals + 1));
  else if (known.kind === 'bool') values.set(name, 'true');
  else {
    const value = queue.shift();
    if (value === undefined) throw new UsageError(`flag needs an argument: --${name}`);
    values.set(name, value);
  }
}

function shorts(
  token: string,
  byShort: ReadonlyMap<string, Flag>,
  values: FlagValues,
  queue: string[],
): void {
  let rest = token.slice(1);
  while (rest !== '') {
    const letter = rest[0] as string;
    const known = byShort.get(letter);
    if (!known) throw new UsageError(`unknown shorthand flag: '${letter}' in ${token}`);
    rest = rest.slice(1);
    if (rest.startsWith('=')) {
      values.set(known.name, rest.slice(1));
      return;
    }
    if (known.kind === 'bool') {
      values.set(known.name, 'true');
      continue;
    }
    const value = rest === '' ? queue.shift() : rest;
    if (value === undefined)
      throw new UsageError(`flag needs an argument: '${letter}' in ${token}`);
    values.set(known.name, value);
    return;
  }
}

const TRUE = new Set(['1', 't', 'T', 'true', 'TRUE', 'True']);
const FALSE = new Set(['0', 'f', 'F', 'false', 'FALSE', 'False']);

function problem(known: Flag, text: string): string | undefined {
  const syntax = (func: string): string =>
    `strconv.${func}: parsing ${quote(text)}: invalid syntax`;
  switch (known.kind) {
    case 'bool':
      return TRUE.has(text) || FALSE.has(text) ? undefined : syntax('ParseBool');
    case 'int':
      return /^[+-]?\d{1,18}$/.test(text) ? undefined : syntax('ParseInt');
    case 'uint':
      return /^\d{1,18}$/.test(text) ? undefined : syntax('ParseUint');
    case 'duration':
      return parseDurationMs(text) === undefined
        ? `time: invalid duration ${quote(text)} (like 30s, 5m or 1h30m)`
        : undefined;
    case 'string':
    case 'slice':
    case 'repeat':
      return undefined;
    default:
      return undefined;
  }
}

/** Milliseconds of a Go duration (`300ms`, `1h30m`), or undefined. */
export function parseDurationMs(text: string): number | undefined {
  const units: Record<string, number> = {
    ns: 1e-6,
    us: 1e-3,
    µs: 1e-3,
    ms: 1,
    s: 1000,
    m: 60_000,
    h: 3_600_000,
  };
  const match = /^([+-]?)((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.exec(text);
  if (!match) return text === '0' ? 0 : undefined;
  let total = 0;
  for (const part of text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g)) {
    total += Number(part[1]) * (units[part[2] as string] as number);
  }
  return match[1] === '-' ? -total : total;
}

/** One line of CSV: commas separate, double quotes protect, two of them stand for one. */
export function splitCsv(line: string): string[] {
  const fields: string[] = [];
  let field = '';
  let quoted = false;
  for (let at = 0; at < line.length; at += 1) {
    const char = line[at] as string;
    if (quoted) {
      if (char === '"' && line[at + 1] === '"') {
        field += '"';
        at += 1;
      } else if (char === '"') quoted = false;
      else field += char;
    } else if (char === '"' && field === '') quoted = true;
    else if (char === ',') {
      fields.push(field);
      field = '';
    } else field += char;
  }
  fields.push(field);
  return fields;
}

function shown(known: Flag): string {
  return `"${known.short ? `-${known.short}, ` : ''}--${known.name}"`;
}

function quote(text: string): string {
  return JSON.stringify(text);
}
