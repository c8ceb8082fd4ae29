import { describe, expect, it } from 'vitest';
import { checkConditions, matches, parseRange, rangeOf } from './conditions.js';

const MODIFIED = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const file = { etag: '"abc-1"', modifiedMs: MODIFIED };
const at = (seconds: number): string => new Date(MODIFIED + seconds * 1000).toUTCString();

describe('conditions', () => {
  it('compare tags with and without quotes, weakness and our suffix', () => {
    for (const list of ['"abc-1"', 'abc-1', 'abc', 'W/"abc-1"', '"x", "abc-1"', '*']) {
      expect(matches(list, file.etag)).toBe(true);
    }
    expect(matches('"abcd"', file.etag)).toBe(false);
  });

  it('hold in the order of the standard', () => {
    expect(checkConditions({}, file)).toBe('go');
    expect(checkConditions({ ifMatch: '"no"' }, file)).toBe('failed');
    // A tag that matches makes the date of no account.
    expect(checkConditions({ ifMatch: '"abc-1"', ifUnmodifiedSince: at(-9) }, file)).toBe('go');
    expect(checkConditions({ ifUnmodifiedSince: at(-9) }, file)).toBe('failed');
    expect(checkConditions({ ifUnmodifiedSince: at(0) }, file)).toBe('go');
    expect(checkConditions({ ifNoneMatch: '"abc-1"' }, file)).toBe('not-modified');
    expect(checkConditions({ ifNoneMatch: '"no"', ifModifiedSince: at(9) }, file)).toBe('go');
    expect(checkConditions({ ifModifiedSince: at(0) }, file)).toBe('not-modified');
    expect(checkConditions({ ifModifiedSince: at(-1) }, file)).toBe('go');
    expect(checkConditions({ ifModifiedSince: 'no date' }, file)).toBe('go');
    const undated = { etag: '"x"', modifiedMs: undefined };
    expect(checkConditions({ ifModifiedSince: at(0) }, undated)).toBe('go');
  });
});

describe('ranges', () => {
  it('are read as the standard says', () => {
    expect(parseRange('bytes=0-0', 10)).toEqual({ offset: 0, length: 1 });
    expect(parseRange('bytes=3-', 10)).toEqual({ offset: 3, length: 7 });
    expect(parseRange('bytes=3-99', 10)).toEqual({ offset: 3, length: 7 });
    expect(parseRange('bytes=-4', 10)).toEqual({ offset: 6, length: 4 });
    expect(parseRange('bytes=-99', 10)).toEqual({ offset: 0, length: 10 });
    expect(parseRange('bytes=10-', 10)).toBe('unsatisfiable');
    expect(parseRange('bytes=-0', 10)).toBe('unsatisfiable');
    expect(parseRange('bytes=0-', 0)).toBe('unsatisfiable');
    for (const text of ['bytes=5-3', 'bytes=-', 'lines=1-2', 'bytes=0-1,4-5', 'x']) {
      expect(parseRange(text, 10)).toBeUndefined();
    }
  });

  it('are left out when the file is another one by now', () => {
    const range = 'bytes=0-1';
    expect(rangeOf({ range, 'if-range': '"abc-1"' }, 10, file)).toEqual({ offset: 0, length: 2 });
    expect(rangeOf({ range, 'if-range': '"other"' }, 10, file)).toBeUndefined();
    expect(rangeOf({ range, 'if-range': at(0) }, 10, file)).toEqual({ offset: 0, length: 2 });
    expect(rangeOf({ range, 'if-range': at(-5) }, 10, file)).toBeUndefined();
  });
});
