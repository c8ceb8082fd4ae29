import { describe, expect, it } from 'vitest';
import { checkBranchName, checkRepoName, parseRef } from './refs.js';

const ID = '0123456789ab4def0123456789abcdef';

describe('names', () => {
  it.each(['a', 'A-b_9', '-', 'x'.repeat(300)])('accepts %s', (name) => {
    checkRepoName(name);
    checkBranchName(name);
  });

  it.each(['', 'a.b', 'a/b', 'a b', 'ä', 'a@b', 'B^'])(
    'refuses "%s" with the known text',
    (name) => {
      const text = `name (${name}) invalid: only alphanumeric characters, underscores, and dashes are allowed`;
      expect(() => checkRepoName(name)).toThrow(text);
      expect(() => checkBranchName(name)).toThrow(text);
    },
  );

  it('refuses a branch name that contains a commit id anywhere', () => {
    expect(() => checkBranchName(ID)).toThrow('branch name cannot be a UUID V4');
    expect(() => checkBranchName(`x-${ID}-y`)).toThrow('branch name cannot be a UUID V4');
    checkRepoName(ID);
  });
});

describe('references', () => {
  it.each([
    ['master', 'master', false, 0, 0],
    [ID, ID, true, 0, 0],
    ['master^', 'master', false, 1, 0],
    ['master~', 'master', false, 1, 0],
    ['x^^^', 'x', false, 3, 0],
    ['x~~', 'x', false, 2, 0],
    ['x^3', 'x', false, 3, 0],
    ['x~12', 'x', false, 12, 0],
    ['x^0', 'x', false, 0, 0],
    ['x.1', 'x', false, 0, 1],
    ['x.0', 'x', false, 0, 0],
    ['x^-2', 'x', false, 0, 2],
    ['x.-2', 'x', false, 2, 0],
    [`${ID}.4`, ID, true, 0, 4],
    ['', '', false, 0, 0],
  ])('parses "%s"', (text, base, isId, ancestor, fromRoot) => {
    expect(parseRef(text)).toEqual({ base, isId, ancestor, fromRoot });
  });

  it('refuses mixed and meaningless suffixes', () => {
    expect(() => parseRef('x^~')).toThrow(
      'invalid ancestry syntax "x^~", cannot mix ^ and ~ characters',
    );
    for (const bad of ['x.', 'x..', 'x^a', 'x^2^', 'x^^2', 'x.1.2', 'x^-', 'x.~']) {
      expect(() => parseRef(bad), bad).toThrow(`invalid ancestry syntax "${bad}"`);
    }
  });
});
