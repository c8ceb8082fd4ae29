/** Conditional and range requests (RFC 9110 §13, §14) over one representation of a file. */
import type { IncomingHttpHeaders } from 'node:http';

/** What conditions are checked against. */
export interface Validators {
  /** With quotes. */
  readonly etag: string;
  /** Wall time in milliseconds; absent = not known. */
  readonly modifiedMs: number | undefined;
}

export interface Conditions {
  readonly ifMatch?: string | undefined;
  readonly ifNoneMatch?: string | undefined;
  readonly ifModifiedSince?: string | undefined;
  readonly ifUnmodifiedSince?: string | undefined;
}

export type Verdict = 'go' | 'not-modified' | 'failed';

/** The conditions of a request; with a prefix, those about the source of a copy. */
export function conditionsOf(headers: IncomingHttpHeaders, prefix = ''): Conditions {
  const text = (name: string): string | undefined => {
    const value = headers[`${prefix}${name}`];
    return typeof value === 'string' ? value : undefined;
  };
  return {
    ifMatch: text('if-match'),
    ifNoneMatch: text('if-none-match'),
    ifModifiedSince: text('if-modified-since'),
    ifUnmodifiedSince: text('if-unmodified-since'),
  };
}

/** Checks conditions in the order the standard gives. */
export function checkConditions(conditions: Conditions, file: Validators): Verdict {
  const { ifMatch, ifNoneMatch } = conditions;
  if (ifMatch !== undefined) {
    if (!matches(ifMatch, file.etag)) return 'failed';
  } else if (changedSince(conditions.ifUnmodifiedSince, file) === true) return 'failed';
  if (ifNoneMatch !== undefined) return matches(ifNoneMatch, file.etag) ? 'not-modified' : 'go';
  return changedSince(conditions.ifModifiedSince, file) === false ? 'not-modified' : 'go';
}

/** Whether a list of tags names this one. `*` names any. */
export function matches(list: string, etag: string): boolean {
  return list.split(',').some((entry) => {
    const tag = entry.trim();
    return tag === '*' || bare(tag) === bare(etag);
  });
}

/** Tags without quotes, weakness and our suffix: clients drop them now and then. */
export function bare(tag: string): string {
  return tag.replace(/^W\//, '').replace(/^"|"$/g, '').replace(/-1$/, '');
}

/** undefined: the date is absent or no date, or the time of the file is not known. */
function changedSince(date: string | undefined, file: Validators): boolean | undefined {
  if (date === undefined || file.modifiedMs === undefined) return undefined;
  const since = Date.parse(date);
  if (Number.isNaN(since)) return undefined;
  return Math.floor(file.modifiedMs / 1000) > Math.floor(since / 1000);
}

/** Bytes `[offset, offset + length)`. */
export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/**
 * The range a request asks for. undefined: the whole file (no range, several, not understood, or
 * an If-Range that does not hold).
 */
export function rangeOf(
  headers: IncomingHttpHeaders,
  size: number,
  file: Validators,
): ByteRange | 'unsatisfiable' | undefined {
  const { range } = headers;
  const ifRange = headers['if-range'];
  if (range === undefined) return undefined;
  if (typeof ifRange === 'string' && !holds(ifRange, file)) return undefined;
  return parseRange(range, size);
}

/** Reads one `bytes=` range. */
export function parseRange(text: string, size: number): ByteRange | 'unsatisfiable' | undefined {
  const found = /^\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*$/.exec(text);
  const [, from = '', to = ''] = found ?? [];
  if (!found || (from === '' && to === '')) return undefined;
  if (from === '') {
    const length = Math.min(Number(to), size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const offset = Number(from);
  const last = to === '' ? size - 1 : Math.min(Number(to), size - 1);
  if (to !== '' && Number(to) < offset) return undefined;
  return offset >= size ? 'unsatisfiable' : { offset, length: last - offset + 1 };
}

function holds(ifRange: string, file: Validators): boolean {
  if (/^(W\/)?"/.test(ifRange)) return bare(ifRange) === bare(file.etag) && !/^W\//.test(ifRange);
  return changedSince(ifRange, file) === false;
}
