/**
 * Cron specs as the v1 API takes them: five fields (minute, hour, day of month, month, day of
 * week), names for months and weekdays, `@descriptors` and `@every 1h30m`. Times are UTC.
 *
 * When both days are restricted, either one is enough; a day that begins with `*` or `?` is not
 * restricted in this sense, even with a step, as in every cron since the first.
 */
import { invalidInput } from './errors.js';

export interface CronSchedule {
  /** First time after the given one, in milliseconds; undefined when there is none in eight years. */
  next(afterMs: number): number | undefined;
}

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly names: readonly string[];
}

const MONTHS = 'jan feb mar apr may jun jul aug sep oct nov dec'.split(' ');
const DAYS = 'sun mon tue wed thu fri sat'.split(' ');
const FIELDS: readonly Field[] = [
  { name: 'minute', min: 0, max: 59, names: [] },
  { name: 'hour', min: 0, max: 23, names: [] },
  { name: 'day of month', min: 1, max: 31, names: [] },
  { name: 'month', min: 1, max: 12, names: MONTHS },
  { name: 'day of week', min: 0, max: 7, names: DAYS },
];

const DESCRIPTORS: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

const SECOND_MS = 1_000;
const MINUTE_MS = 60 * SECOND_MS;
const DAY_MS = 24 * 60 * MINUTE_MS;
const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: SECOND_MS,
  m: MINUTE_MS,
  h: 60 * MINUTE_MS,
};
/** A leap year is never further away than eight years (around 2100). */
const DAYS_MAX = 8 * 366 + 1;

/** Throws INVALID_INPUT, with the reason, for a text that is no cron spec. */
export function parseCron(text: string): CronSchedule {
  const spec = text.trim();
  if (spec === '') throw invalidInput('Empty spec string');
  if (spec.startsWith('@every ')) return every(spec.slice('@every '.length).trim());
  if (spec.startsWith('@') && !(spec in DESCRIPTORS)) {
    throw invalidInput(`Unrecognized descriptor: ${spec}`);
  }
  const parts = (DESCRIPTORS[spec] ?? spec).split(/\s+/).filter((part) => part !== '');
  if (parts.length !== FIELDS.length) {
    throw invalidInput(`Expected exactly 5 fields, found ${parts.length}: ${spec}`);
  }
  const [minutes, hours, days, months, weekdays] = parts.map((part, i) =>
    parseField(part, FIELDS[i] as Field),
  ) as [Set<number>, Set<number>, Set<number>, Set<number>, Set<number>];
  if (weekdays.has(7)) weekdays.add(0);
  const anyDay = isOpen(parts[2]);
  const anyWeekday = isOpen(parts[4]);
  const isOn = (date: Date): boolean => {
    if (!months.has(date.getUTCMonth() + 1)) return false;
    const day = days.has(date.getUTCDate());
    const weekday = weekdays.has(date.getUTCDay());
    return anyDay || anyWeekday ? day && weekday : day || weekday;
  };
  return { next: (afterMs) => nextTime(afterMs, { isOn, hours, minutes }) };
}

interface Times {
  readonly isOn: (date: Date) => boolean;
  readonly hours: ReadonlySet<number>;
  readonly minutes: ReadonlySet<number>;
}

function nextTime(afterMs: number, { isOn, hours, minutes }: Times): number | undefined {
  const fromMs = (Math.floor(afterMs / MINUTE_MS) + 1) * MINUTE_MS;
  const dayMs = Math.floor(fromMs / DAY_MS) * DAY_MS;
  const sortedHours = [...hours].sort((a, b) => a - b);
  const sortedMinutes = [...minutes].sort((a, b) => a - b);
  for (let day = 0; day <= DAYS_MAX; day += 1) {
    const startMs = dayMs + day * DAY_MS;
    if (!isOn(new Date(startMs))) continue;
    for (const hour of sortedHours) {
      for (const minute of sortedMinutes) {
        const atMs = startMs + (hour * 60 + minute) * MINUTE_MS;
        if (atMs >= fromMs) return atMs;
      }
    }
  }
  return undefined;
}

function isOpen(part: string | undefined): boolean {
  return part?.split(',').some((each) => /^[*?]/.test(each)) ?? false;
}

/** The values of one field: `*`, `a`, `a-b`, each with `/step`, joined by commas. */
function parseField(text: string, field: Field): Set<number> {
  const values = new Set<number>();
  for (const part of text.split(',')) {
    const [range = '', step, ...more] = part.split('/');
    if (more.length > 0) throw invalidInput(`Too many slashes: ${part}`);
    const { from, to } = parseRange(range, field, step !== undefined);
    const stride = step === undefined ? 1 : parseNumber(step, { ...field, names: [] });
    if (stride <= 0) throw invalidInput(`Step of range should be a positive number: ${part}`);
    for (let value = from; value <= to; value += stride) values.add(value);
  }
  return values;
}

function parseRange(
  range: string,
  field: Field,
  stepped: boolean,
): { readonly from: number; readonly to: number } {
  const last = field.name === 'day of week' ? 6 : field.max;
  if (range === '*' || range === '?') return { from: field.min, to: last };
  const [low = '', high, ...more] = range.split('-');
  if (more.length > 0) throw invalidInput(`Too many hyphens: ${range}`);
  const from = parseNumber(low, field);
  const to = high === undefined ? (stepped ? last : from) : parseNumber(high, field);
  if (from < field.min) {
    throw invalidInput(`Beginning of range (${from}) below minimum (${field.min}): ${range}`);
  }
  if (to > field.max) {
    throw invalidInput(`End of range (${to}) above maximum (${field.max}): ${range}`);
  }
  if (from > to) {
    throw invalidInput(`Beginning of range (${from}) beyond end of range (${to}): ${range}`);
  }
  return { from, to };
}

function parseNumber(text: string, field: Field): number {
  const named = field.names.indexOf(text.toLowerCase());
  if (named >= 0) return named + field.min;
  if (!/^\d{1,6}$/.test(text)) throw invalidInput(`Failed to parse int from ${text}`);
  return Number(text);
}

/** `@every`: that long after the last time, in whole seconds, at least one. */
function every(text: string): CronSchedule {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+$/.test(text)) {
    throw invalidInput(`Failed to parse duration @every ${text}: time: invalid duration "${text}"`);
  }
  let totalMs = 0;
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    totalMs += Number(count) * (UNIT_MS[unit as string] as number);
  }
  const periodMs = Math.max(SECOND_MS, Math.floor(totalMs / SECOND_MS) * SECOND_MS);
  return { next: (afterMs) => Math.floor(afterMs / SECOND_MS) * SECOND_MS + periodMs };
}
