/** Cron specs: what they match, and what is refused with which words. */
import { describe, expect, it } from 'vitest';
import { parseCron } from './cron.js';

const at = (text: string): number => Date.parse(`${text}Z`);
const after = (spec: string, text: string): string | undefined => {
  const ms = parseCron(spec).next(at(text));
  return ms === undefined ? undefined : new Date(ms).toISOString().slice(0, 16);
};

describe('the next time', () => {
  it.each([
    ['* * * * *', '2024-01-01T00:00', '2024-01-01T00:01'],
    ['* * * * *', '2024-01-01T00:00:30', '2024-01-01T00:01'],
    ['30 4 * * *', '2024-01-01T04:30', '2024-01-02T04:30'],
    ['*/20 * * * *', '2024-01-01T00:40', '2024-01-01T01:00'],
    ['5/20 * * * *', '2024-01-01T00:06', '2024-01-01T00:25'],
    ['0 9-17/4 * * *', '2024-01-01T10:00', '2024-01-01T13:00'],
    ['0 0 1,15 * *', '2024-01-02T00:00', '2024-01-15T00:00'],
    ['0 0 31 * *', '2024-01-31T00:00', '2024-03-31T00:00'],
    ['0 0 29 2 *', '2024-03-01T00:00', '2028-02-29T00:00'],
    ['0 0 29 feb ?', '2096-03-01T00:00', '2104-02-29T00:00'],
    ['0 0 * * MON-fri', '2024-01-05T12:00', '2024-01-08T00:00'],
    ['0 0 * * 7', '2024-01-01T00:00', '2024-01-07T00:00'],
    ['0 0 13 * fri', '2024-09-01T00:00', '2024-09-06T00:00'],
    ['0 0 */2 * fri', '2024-09-01T00:00', '2024-09-13T00:00'],
    ['@hourly', '2024-01-01T00:00', '2024-01-01T01:00'],
    ['@daily', '2024-01-01T00:00', '2024-01-02T00:00'],
    ['@weekly', '2024-01-01T00:00', '2024-01-07T00:00'],
    ['@monthly', '2024-12-01T00:00', '2025-01-01T00:00'],
    ['@yearly', '2024-01-01T00:00', '2025-01-01T00:00'],
    ['@every 1h30m', '2024-01-01T00:10', '2024-01-01T01:40'],
  ])('of %s after %s is %s', (spec, from, to) => {
    expect(after(spec, from)).toBe(to);
  });

  it('is unknown when the day never comes', () => {
    expect(after('0 0 30 2 *', '2024-01-01T00:00')).toBeUndefined();
  });

  it('comes a whole period later, at least a second', () => {
    expect(parseCron('@every 10ms').next(1_500)).toBe(2_000);
  });
});

describe('texts of what is refused', () => {
  it.each([
    ['many', 'Expected exactly 5 fields, found 1: many'],
    ['* * * * * *', 'Expected exactly 5 fields, found 6: * * * * * *'],
    ['', 'Empty spec string'],
    ['60 * * * *', 'End of range (60) above maximum (59): 60'],
    ['* * 0 * *', 'Beginning of range (0) below minimum (1): 0'],
    ['5-1 * * * *', 'Beginning of range (5) beyond end of range (1): 5-1'],
    ['*/0 * * * *', 'Step of range should be a positive number: */0'],
    ['1/2/3 * * * *', 'Too many slashes: 1/2/3'],
    ['1-2-3 * * * *', 'Too many hyphens: 1-2-3'],
    ['x * * * *', 'Failed to parse int from x'],
    ['-1 * * * *', 'Failed to parse int from '],
    ['@often', 'Unrecognized descriptor: @often'],
    ['@every soon', 'Failed to parse duration @every soon: time: invalid duration "soon"'],
  ])('%s', (spec, text) => {
    expect(() => parseCron(spec)).toThrow(text);
  });
});
