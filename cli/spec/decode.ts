/**
 * Strict proto JSON: turns a parsed value into the object a generated message is made from. Field
 * names may be snake_case or lowerCamelCase; unknown fields and wrong types are errors that name
 * the message type, the field and the place.
 */
import { parseDurationMs } from '../grammar/flags.js';
import { schema, type Field, type Message } from '../wire/schema.js';
import { SpecTextError, type SpecNode } from './node.js';

export type Decoded = Record<string, unknown>;

/** Decodes an object node as the named message. Throws SpecTextError. */
export function decodeMessage(node: SpecNode, type: string, path = ''): Decoded {
  const shape = schema().messages.get(type);
  if (!shape) throw new SpecTextError(`unknown message type ${type}`, node.at);
  if (node.kind !== 'object') throw mismatch(node, path || type, 'an object');
  const out: Decoded = {};
  const camelGiven = new Set<string>();
  for (const { key, at, value } of node.entries) {
    const field = shape.byName.get(key);
    if (!field) throw unknownField(key, shape, at);
    if (value.kind === 'null') continue;
    // When both spellings appear, camelCase wins.
    const isCamel = key === field.camel && key !== field.name;
    if (camelGiven.has(field.camel) && !isCamel) continue;
    if (isCamel) camelGiven.add(field.camel);
    out[field.camel] = decodeField(value, field, path === '' ? key : `${path}.${key}`);
  }
  return out;
}

function decodeField(node: SpecNode, field: Field, path: string): unknown {
  if (field.mapKey !== undefined) {
    if (node.kind !== 'object') throw mismatch(node, path, 'an object');
    return Object.fromEntries(
      node.entries.map(({ key, value }) => [key, decodeValue(value, field.type, `${path}.${key}`)]),
    );
  }
  if (!field.repeated) return decodeValue(node, field.type, path);
  if (node.kind !== 'array') {
    throw mismatch(node, path, `a list of ${plural(field.type)}`);
  }
  return node.items.map((item, index) => decodeValue(item, field.type, `${path}[${index}]`));
}

const INTEGERS: Readonly<Record<string, readonly [bigint, bigint]>> = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  // Numbers above 2^53 can not be held; no field of a spec needs them.
  int64: [-(2n ** 53n), 2n ** 53n],
  uint64: [0n, 2n ** 53n],
};

function decodeValue(node: SpecNode, type: string, path: string): unknown {
  switch (type) {
    case 'string':
      if (node.kind !== 'string') throw mismatch(node, path, 'a string');
      return node.text;
    case 'bool':
      if (node.kind !== 'bool') throw mismatch(node, path, 'true or false');
      return node.value;
    case 'int32':
    case 'int64':
    case 'uint32':
    case 'uint64':
      return integer(node, type, path);
    case 'float':
    case 'double':
      return float(node, path);
    case 'bytes':
      if (node.kind !== 'string') throw mismatch(node, path, 'base64 text');
      return Buffer.from(node.text, 'base64');
    case 'duration':
      return duration(node, path);
    case 'time':
      return timestamp(node, path);
    default:
      return schema().enums.has(type)
        ? enumeration(node, type, path)
        : decodeMessage(node, type, path);
  }
}

function integer(node: SpecNode, type: string, path: string): number {
  const text = node.kind === 'number' || node.kind === 'string' ? node.text : undefined;
  if (text === undefined || !/^[+-]?\d+(?:\.0+)?$/.test(text)) {
    throw mismatch(node, path, 'a whole number');
  }
  const value = BigInt(text.replace(/\.0+$/, ''));
  const [min, max] = INTEGERS[type] as readonly [bigint, bigint];
  if (value < min || value > max) {
    throw new SpecTextError(`field "${path}": ${text} is out of range for ${type}`, node.at);
  }
  return Number(value);
}

function float(node: SpecNode, path: string): number {
  const text = node.kind === 'number' || node.kind === 'string' ? node.text : '';
  const value = Number(text);
  if (text === '' || Number.isNaN(value)) throw mismatch(node, path, 'a number');
  return value;
}

function duration(node: SpecNode, path: string): unknown {
  const text = node.kind === 'string' ? node.text : undefined;
  const ms = text === undefined ? undefined : parseDurationMs(text);
  if (ms === undefined) {
    const shown = text === undefined ? nameOf(node) : JSON.stringify(text);
    throw new SpecTextError(
      `bad Duration: time: invalid duration ${shown}`,
      node.at,
      `write field "${path}" like "300ms", "5m" or "1h30m"`,
    );
  }
  const seconds = Math.trunc(ms / 1000);
  return { seconds, nanos: Math.round((ms - seconds * 1000) * 1e6) };
}

function timestamp(node: SpecNode, path: string): unknown {
  const text = node.kind === 'string' ? node.text : '';
  const match = /^(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)$/.exec(
    text,
  );
  const ms = match ? Date.parse(`${match[1] as string}${match[3] as string}`) : NaN;
  if (Number.isNaN(ms)) {
    throw new SpecTextError(
      `bad Timestamp: parsing time ${JSON.stringify(text)}`,
      node.at,
      `write field "${path}" like "2026-01-31T12:00:00Z"`,
    );
  }
  return { seconds: ms / 1000, nanos: Number((match?.[2] ?? '').padEnd(9, '0')) };
}

function enumeration(node: SpecNode, type: string, path: string): number {
  const known = schema().enums.get(type);
  if (node.kind === 'number') return Number(node.text);
  const number = node.kind === 'string' ? known?.numbers.get(node.text) : undefined;
  if (number === undefined) {
    throw mismatch(node, path, `one of ${[...(known?.numbers.keys() ?? [])].join(', ')}`);
  }
  return number;
}

function unknownField(key: string, shape: Message, at: number): SpecTextError {
  const names = shape.fields.map((field) => field.name);
  const near = names.filter((name) => isNear(key, name));
  const hint =
    near.length > 0
      ? `did you mean ${near.map((name) => `"${name}"`).join(' or ')}?`
      : `known fields: ${names.join(', ')}`;
  return new SpecTextError(`unknown field "${key}" in ${shape.name}`, at, hint);
}

/** Same letters apart from case, dashes and underscores, one missing, or one a part of the other. */
function isNear(typed: string, known: string): boolean {
  const plain = (text: string): string => text.toLowerCase().replace(/[_-]/g, '');
  const a = plain(typed);
  const b = plain(known);
  if (a === b || (a.length > 3 && (b.startsWith(a) || a.startsWith(b)))) return true;
  if (Math.abs(a.length - b.length) > 1 || a.length < 4) return false;
  let at = 0;
  while (at < a.length && a[at] === b[at]) at += 1;
  const [restA, restB] = [a.slice(at), b.slice(at)];
  return (
    restA.slice(1) === restB.slice(1) ||
    restA === restB.slice(1) ||
    restA.slice(1) === restB ||
    (restA[0] === restB[1] && restA[1] === restB[0] && restA.slice(2) === restB.slice(2))
  );
}

function mismatch(node: SpecNode, path: string, expected: string): SpecTextError {
  return new SpecTextError(`field "${path}": expected ${expected}, got ${nameOf(node)}`, node.at);
}

function nameOf(node: SpecNode): string {
  switch (node.kind) {
    case 'object':
      return 'an object';
    case 'array':
      return 'a list';
    case 'string':
      return `the string ${JSON.stringify(node.text.slice(0, 40))}`;
    case 'number':
      return `the number ${node.text}`;
    case 'bool':
      return String(node.value);
    case 'null':
      return 'null';
    default:
      return 'something else';
  }
}

function plural(type: string): string {
  if (type === 'string') return 'strings';
  return /int|float|double/.test(type) ? 'numbers' : 'objects';
}
