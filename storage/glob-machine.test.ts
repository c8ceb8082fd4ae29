import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileGlob } from './glob.js';
import { machineOf } from './glob-machine.js';
import { matcherOf } from './glob-matcher.js';
import { parseGlob } from './glob-parser.js';

const piece = fc.constantFrom('a', 'b', '/', '?', '[ab]', '[!a]', '*', '**', '@(a|b)', '?(a)');
const patterns = fc
  .array(fc.oneof(piece, fc.constantFrom('{a,b/a}', '(*)', '{a,(b|ab)}', '@(a|*b)', '!(a)')), {
    maxLength: 6,
  })
  .map((parts) => `/${parts.join('')}`);
const paths = fc.stringMatching(/^\/[ab/]{0,8}$/);

describe('the bounded matcher', () => {
  it('finds what regular expressions find, with the same captures', () => {
    fc.assert(
      fc.property(patterns, paths, (pattern, path) => {
        const nodes = parseGlob(pattern);
        expect(machineOf(nodes, false)(path)).toEqual(matcherOf(nodes, false)(path));
      }),
      { numRuns: 5_000, seed: 11 },
    );
  });

  it.each([
    ['/+(a|b)', '/abba', ['/abba', 'abba']],
    ['/*(ab)*(ba)', '/abab', ['/abab', 'abab', '']],
    ['/*(*(a))b', '/aab', ['/aab', 'aa', 'aa']],
    ['/!(a*)!(b)!(c)', '/xyz', ['/xyz', 'xyz', '', '']],
    ['/+(é|😀)', '/é😀é', ['/é😀é', 'é😀é']],
  ])('matches %s with %s', (pattern, path, captures) => {
    expect(compileGlob(pattern).match(path)?.captures).toEqual(captures);
  });

  it.each([
    ['/**a**a**a**a**b', 300],
    ['/*a*a*a*a*b', 2_000],
    ['/+(+(a|aa))b', 2_000],
    ['/*(*(*(a)))b', 2_000],
    [`/${'@(a|aa)'.repeat(60)}b`, 120],
    [`/${'!('.repeat(20)}a*${')'.repeat(20)}b`, 200],
  ])('answers soon for %s', (pattern, length) => {
    const before = performance.now();
    expect(compileGlob(pattern).match(`/${'a'.repeat(length)}`)).toBeUndefined();
    expect(performance.now() - before).toBeLessThan(2_000);
  });

  it('gives up on patterns that are made to take long', () => {
    const pattern = `/${'*(a|aa|aaa|?)'.repeat(300)}b`;
    expect(() => compileGlob(pattern).match(`/${'a'.repeat(4_000)}`)).toThrow('too many steps');
  });
});
