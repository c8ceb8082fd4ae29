import { describe, expect, it } from 'vitest';
import { paintWith } from './colour.js';
import { formatSpan, goDuration, protoDuration, rfc3339 } from './duration.js';
import { formatDecimal, formatSize } from './size.js';
import { formatTable, WIDE } from './table.js';

describe('formatSize', () => {
  it.each([
    [0, '0B'],
    [347, '347B'],
    [1023, '1023B'],
    [1024, '1KiB'],
    [8196, '8.004KiB'],
    [12416, '12.12KiB'],
    [34406, '33.6KiB'],
    [570368, '557KiB'],
    [1048575, '1024KiB'],
    [55113154, '52.56MiB'],
    [80876, '78.98KiB'],
    [497828, '486.2KiB'],
    [3757, '3.669KiB'],
    [2 ** 53, '8PiB'],
  ])('%d is %s', (bytes, text) => expect(formatSize(bytes)).toBe(text));

  it('prints decimal units in progress bars', () => {
    expect(formatDecimal(999)).toBe('999 B');
    expect(formatDecimal(12_345_678)).toBe('12.35 MB');
  });
});

describe('formatSpan', () => {
  const minute = 60_000;
  const hour = 60 * minute;
  it.each([
    [-5, 'Less than a second'],
    [999, 'Less than a second'],
    [1000, '1 second'],
    [59_999, '59 seconds'],
    [minute, 'About a minute'],
    [2 * minute - 1, 'About a minute'],
    [45 * minute, '45 minutes'],
    [46 * minute, 'About an hour'],
    [89 * minute, 'About an hour'],
    [90 * minute, '2 hours'],
    [47 * hour, '47 hours'],
    [47.5 * hour, '2 days'],
    [14 * 24 * hour - hour, '13 days'],
    [14 * 24 * hour, '2 weeks'],
    [60 * 24 * hour, '2 months'],
    [2 * 365 * 24 * hour, '2 years'],
  ])('%d ms is %s', (ms, text) => expect(formatSpan(ms)).toBe(text));
});

describe('exact times', () => {
  it('prints Go durations', () => {
    expect(goDuration({ seconds: 2, nanos: 546_000_000 })).toBe('2.546s');
    expect(goDuration({ seconds: 0, nanos: 12_000_000 })).toBe('12ms');
    expect(goDuration({ seconds: 90, nanos: 0 })).toBe('1m30s');
    expect(goDuration(undefined)).toBe('0s');
  });

  it('prints proto JSON forms', () => {
    expect(protoDuration({ seconds: 2, nanos: 500_000_000 })).toBe('2.500s');
    expect(protoDuration({ seconds: 900, nanos: 0 })).toBe('900s');
    const time = { seconds: 1_600_000_000, nanos: 120_000_000 };
    expect(rfc3339(time, 'groups')).toBe('2020-09-13T12:26:40.120Z');
    expect(rfc3339(time, 'trimmed')).toBe('2020-09-13T12:26:40.12Z');
  });
});

describe('tables', () => {
  it('pads every cell, the last too', () => {
    const text = formatTable(
      ['NAME', 'CREATED', 'SIZE (MASTER)', 'DESCRIPTION'],
      [
        ['edges', '2 minutes ago', '133.6KiB', 'Output repo for pipeline edges.'],
        ['images', '3 minutes ago', '57.27KiB', ''],
      ],
    );
    expect(text).toBe(
      'NAME   CREATED       SIZE (MASTER) DESCRIPTION                     \n' +
        'edges  2 minutes ago 133.6KiB      Output repo for pipeline edges. \n' +
        'images 3 minutes ago 57.27KiB                                      \n',
    );
  });

  it('is the header alone when empty', () => {
    expect(formatTable(['NAME', 'TYPE', 'SIZE'], [])).toBe('NAME TYPE SIZE \n');
  });

  it('repeats the header after 49 rows, with widths of the block', () => {
    const rows = Array.from({ length: 50 }, (_unused, index) => [index === 49 ? 'longer' : 'x']);
    const lines = formatTable(['N'], rows).split('\n');
    expect(lines[0]).toBe('N ');
    expect(lines[50]).toBe('N      ');
    expect(lines[51]).toBe('longer ');
    expect(lines).toHaveLength(53);
  });

  it('has a wide geometry', () => {
    expect(formatTable(['COMPONENT', 'VERSION'], [['pachctl', '1.13.4']], { geometry: WIDE })).toBe(
      'COMPONENT           VERSION             \npachctl             1.13.4              \n',
    );
  });

  it('does not count colours', () => {
    const paint = paintWith(true);
    expect(formatTable(['STATE', 'X'], [[paint('green', 'success'), 'y']])).toBe(
      `STATE   X \n${paint('green', 'success')} y \n`,
    );
  });
});
