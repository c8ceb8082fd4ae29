import { describe, expect, it } from 'vitest';
import { linesOf, LogTextReader, restRow, sharedRow } from './log-text.js';
import type { LogLine } from './messages.js';

const fields = (datum: string) => ({
  ...{ pipeline: 'p', job: 'j', task: 3, attempt: 1, worker: 'w', datum },
  data: [{ path: '/a "b"\n', hash: 'x=' }],
});
const line = (datum: string, number: number, message: string): LogLine => ({
  ...fields(datum),
  ...{ ts: 1700000000000.5, line: number, user: number % 2 === 0, message },
});
const rest = ({ ts, line: number, user, message }: LogLine): string =>
  restRow(ts, number, user, message);

describe('log text', () => {
  it('gives every line back, whatever user code wrote', () => {
    const messages = ['', 'plain', '{"a":1}', 'ends with,', '"ts":1}', 'two\nlines\u2028', '😀\0'];
    const lines = messages.map((message, at) => line(at < 3 ? 'd1' : 'd2', at, message));
    const rows = lines.map(rest);
    const text = [
      ...[sharedRow(fields('d1')), ...rows.slice(0, 3)],
      ...[sharedRow(fields('d2')), ...rows.slice(3)],
    ];
    expect([...linesOf(text.join('\n'))]).toEqual(lines);
  });

  it('reads whole lines, alone and among others', () => {
    const whole = JSON.stringify(line('d9', 7, 'x,'));
    const reader = new LogTextReader();
    expect(reader.read(sharedRow(fields('d1')))).toBeUndefined();
    expect(reader.read(whole)).toEqual(line('d9', 7, 'x,'));
    expect(reader.read('')).toBeUndefined();
    expect(reader.read(rest(line('d1', 2, 'y')))).toEqual(line('d1', 2, 'y'));
  });
});
