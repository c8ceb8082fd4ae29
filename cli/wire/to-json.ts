/**
 * Messages as proto JSON, the way v1 clients print them: zero values left out, 64-bit integers as
 * strings, enums by name, bytes in base64, timestamps in RFC 3339, durations like `2.500s`.
 */
import type { Duration } from '../../proto/generated/google/protobuf/duration.js';
import type { Timestamp } from '../../proto/generated/google/protobuf/timestamp.js';
import { protoDuration, rfc3339 } from '../render/duration.js';
import { schema, type Field } from './schema.js';

export interface JsonStyle {
  /** Keys as in the .proto file, or lowerCamelCase. */
  readonly keys: 'snake' | 'camel';
  /** 64-bit integers: quoted as proto JSON has them, or plain for people. */
  readonly integers: 'quoted' | 'plain';
}

export const CAMEL: JsonStyle = { keys: 'camel', integers: 'quoted' };
export const SNAKE: JsonStyle = { keys: 'snake', integers: 'quoted' };
/** The JSON inside `inspect pipeline` and `inspect job`. */
export const READABLE: JsonStyle = { keys: 'snake', integers: 'plain' };

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/** A plain JSON value for a generated message of the named type. */
export function toJson(message: object, type: string, style: JsonStyle): Record<string, Json> {
  const shape = schema().messages.get(type);
  const out: Record<string, Json> = {};
  for (const field of shape?.fields ?? []) {
    const value = (message as Record<string, unknown>)[field.camel];
    if (isZero(value) || (field.mapKey && Object.keys(value as object).length === 0)) continue;
    out[style.keys === 'snake' ? field.name : field.camel] = fieldJson(value, field, style);
  }
  return out;
}

function isZero(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) {
    return true;
  }
  if (Array.isArray(value) || value instanceof Uint8Array) return value.length === 0;
  return false;
}

function fieldJson(value: unknown, field: Field, style: JsonStyle): Json {
  if (field.mapKey !== undefined) {
    const entries = Object.entries(value as Record<string, unknown>).sort(([a], [b]) =>
      a < b ? -1 : 1,
    );
    return Object.fromEntries(
      entries.map(([key, item]) => [key, scalarJson(item, field.type, style)]),
    );
  }
  return field.repeated
    ? (value as unknown[]).map((item) => scalarJson(item, field.type, style))
    : scalarJson(value, field.type, style);
}

function scalarJson(value: unknown, type: string, style: JsonStyle): Json {
  switch (type) {
    case 'string':
      return value as string;
    case 'bool':
      return value as boolean;
    case 'int64':
    case 'uint64':
      return style.integers === 'quoted' ? String(value as number) : (value as number);
    case 'float':
      return shortestFloat(value as number);
    case 'bytes':
      return Buffer.from(value as Uint8Array).toString('base64');
    case 'time':
      return rfc3339(value as Timestamp, 'groups');
    case 'duration':
      return protoDuration(value as Duration);
    case 'int32':
    case 'uint32':
    case 'double':
      return value as number;
    default: {
      const names = schema().enums.get(type)?.names;
      if (names) return names.get(value as number) ?? (value as number);
      return toJson(value as object, type, style);
    }
  }
}

/** The shortest decimal that is the same 32-bit float: 0.1, not 0.10000000149011612. */
function shortestFloat(value: number): number {
  for (let digits = 1; digits < 9; digits += 1) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === Math.fround(value)) return short;
  }
  return value;
}

/** Indented JSON with `<`, `>` and `&` escaped as Go's encoder does, ending in a newline. */
export function jsonText(value: Json): string {
  return `${escapeAngles(JSON.stringify(value, null, 2))}\n`;
}

export function escapeAngles(text: string): string {
  return text.replace(/[<>&]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
