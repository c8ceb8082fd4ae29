import { describe, expect, it } from 'vitest';
import { formatBytes, parseQuantity } from './quantity.js';

describe('quantities', () => {
  it('are read as specs write them', () => {
    expect(['64M', '1Gi', '500m', '1.5Ki', ' 7 ', '2k'].map(parseQuantity)).toEqual([
      64e6,
      2 ** 30,
      1,
      1536,
      7,
      2000,
    ]);
    expect(['', 'x', '1Q', '-1', '1 G'].map(parseQuantity)).toEqual(Array(5).fill(undefined));
  });

  it('are shown in the largest unit that fits', () => {
    expect([64 * 2 ** 20, 1.5 * 2 ** 30, 200, 2 ** 50].map(formatBytes)).toEqual([
      '64Mi',
      '1.5Gi',
      '200',
      '1Pi',
    ]);
  });
});
