/** Spans and ages in words, and the exact forms of durations and timestamps. */
import type { Duration } from '../../proto/generated/google/protobuf/duration.js';
import type { Timestamp } from '../../proto/generated/google/protobuf/timestamp.js';

/** Words for a span: `About a minute`, `2 hours`. */
export function formatSpan(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(ms / 60_000);
  if (minutes === 1) return 'About a minute';
  if (minutes < 46) return `${minutes} minutes`;
  const hours = Math.trunc(ms / 3_600_000 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(ms / 3_600_000 / 24 / 365)} years`;
}

export function toMs(time: Timestamp): number {
  return time.seconds * 1000 + time.nanos / 1e6;
}

export function durationMs(duration: Duration | undefined): number {
  return duration ? duration.seconds * 1000 + duration.nanos / 1e6 : 0;
}

/** How a column of times is shown: as ages, or as timestamps with `--full-timestamps`. */
export interface TimeStyle {
  readonly nowMs: number;
  readonly full: boolean;
}

/** Age of a time, or its timestamp; `-` when it is missing. */
export function formatTime(time: Timestamp | undefined, style: TimeStyle): string {
  if (!time || (time.seconds === 0 && time.nanos === 0)) return '-';
  if (style.full) return rfc3339(time, 'trimmed');
  return `${formatSpan(style.nowMs - toMs(time))} ago`;
}

/** Span between two times; `-` when the later one is missing. */
export function formatBetween(from: Timestamp | undefined, to: Timestamp | undefined): string {
  return from && to ? formatSpan(toMs(to) - toMs(from)) : '-';
}

/** RFC 3339 in UTC with 0, 3, 6 or 9 fraction digits, or with trailing zeros removed. */
export function rfc3339(time: Timestamp, digits: 'groups' | 'trimmed'): string {
  const base = new Date(time.seconds * 1000).toISOString().slice(0, 19);
  return `${base}${fraction(time.nanos, digits)}Z`;
}

/** proto JSON form of a duration: `2.500s`. */
export function protoDuration(duration: Duration): string {
  const negative = duration.seconds < 0 || duration.nanos < 0;
  const text = `${Math.abs(duration.seconds)}${fraction(Math.abs(duration.nanos), 'groups')}s`;
  return negative ? `-${text}` : text;
}

function fraction(nanos: number, digits: 'groups' | 'trimmed'): string {
  if (nanos === 0) return '';
  const nine = String(nanos).padStart(9, '0');
  if (digits === 'trimmed') return `.${nine.replace(/0+$/, '')}`;
  if (nanos % 1_000_000 === 0) return `.${nine.slice(0, 3)}`;
  return nanos % 1000 === 0 ? `.${nine.slice(0, 6)}` : `.${nine}`;
}

/** Go's form: `2.546s`, `12ms`, `1m30s`, `0s`. */
export function goDuration(duration: Duration | undefined): string {
  const nanos = duration ? BigInt(duration.seconds) * 1_000_000_000n + BigInt(duration.nanos) : 0n;
  if (nanos === 0n) return '0s';
  const sign = nanos < 0n ? '-' : '';
  const value = nanos < 0n ? -nanos : nanos;
  if (value < 1000n) return `${sign}${value}ns`;
  if (value < 1_000_000n) return `${sign}${decimal(value, 1000n)}µs`;
  if (value < 1_000_000_000n) return `${sign}${decimal(value, 1_000_000n)}ms`;
  const hours = value / 3_600_000_000_000n;
  const minutes = (value / 60_000_000_000n) % 60n;
  const seconds = decimal(value % 60_000_000_000n, 1_000_000_000n);
  if (hours > 0n) return `${sign}${hours}h${minutes}m${seconds}s`;
  return minutes > 0n ? `${sign}${minutes}m${seconds}s` : `${sign}${seconds}s`;
}

function decimal(value: bigint, unit: bigint): string {
  const rest = (value % unit).toString().padStart(unit.toString().length - 1, '0');
  const digits = rest.replace(/0+$/, '');
  return `${value / unit}${digits === '' ? '' : `.${digits}`}`;
}
