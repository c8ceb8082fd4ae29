import { describe, expect, it } from 'vitest';
import { durationText, expand, stdinText } from './environment.js';

describe('environment', () => {
  it('expands what is known', () => {
    expect(expand('$(A)-$(B)-$$(A)-$A', { A: '1' })).toBe('1-$(B)-$(A)-$A');
  });

  it('ends every line of standard input', () => {
    expect(stdinText([])).toBe('');
    expect(stdinText(['a', ''])).toBe('a\n\n');
  });

  it('prints durations like old clients', () => {
    const all = [0.5, 12.3456, 1500, 61_500, 3_723_000].map(durationText);
    expect(all).toEqual(['500µs', '12.346ms', '1.5s', '1m1.5s', '1h2m3s']);
  });
});
