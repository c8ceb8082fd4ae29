import { describe, expect, test } from 'vitest';
import { codeOf } from '../core/errors.js';
import { canonicalPath, compileGlob, expandCaptures, isGlob, writablePath } from './glob.js';

const SAMPLE = [
  '',
  '/2019-01',
  '/2019-02',
  '/2020-01',
  '/a',
  '/a.txt',
  '/b',
  '/dir',
  '/dir/a',
  '/dir/b1',
  '/dir/b2',
  '/dir/sub',
  '/dir/sub/x.csv',
  '/dir/sub/y.tar.gz',
];
const TOP = SAMPLE.filter((path) => path.split('/').length === 2);
const CHILDREN = ['/dir/a', '/dir/b1', '/dir/b2', '/dir/sub'];
const BELOW = SAMPLE.filter((path) => path.startsWith('/dir/'));
const AB = ['/a', '/b'];
const DATED = ['/2019-01', '/2019-02', '/2020-01'];

const TABLE: [string, string[]][] = [
  ['/', ['']],
  ['', ['']],
  ['*', TOP],
  ['/*', TOP],
  ['/*/', TOP],
  ['**', SAMPLE.slice(1)],
  ['/**', SAMPLE.slice(1)],
  ['/*/*', CHILDREN],
  ['/*/**', BELOW],
  ['/dir', ['/dir']],
  ['/dir/', ['/dir']],
  ['dir/*', CHILDREN],
  ['/dir*', ['/dir']],
  ['/dir**', ['/dir', ...BELOW]],
  ['/dir/b?', ['/dir/b1', '/dir/b2']],
  ['/**.csv', ['/dir/sub/x.csv']],
  ['**.csv', ['/dir/sub/x.csv']],
  ['/**/*.csv', ['/dir/sub/x.csv']],
  ['/dir/**/x.csv', ['/dir/sub/x.csv']],
  ['/**/a', ['/dir/a']],
  ['/**a', ['/a', '/dir/a']],
  ['/*.*', ['/a.txt']],
  ['/?', AB],
  ['/[ab]', AB],
  ['/{a,b}', AB],
  ['/@(a|b)', AB],
  ['/[[:alpha:]]', AB],
  ['/[!d]*', TOP.filter((path) => path !== '/dir')],
  ['/{a,dir}/*', CHILDREN],
  ['/{a,dir/{a,sub}}', ['/a', '/dir/a', '/dir/sub']],
  ['/(*)-(*)', DATED],
  ['/@(2019|2020)-*', DATED],
  ['/20(19|20)-01', ['/2019-01', '/2020-01']],
  ['/!(dir)', TOP.filter((path) => path !== '/dir')],
  ['/!(*.txt)', TOP.filter((path) => path !== '/a.txt')],
  ['/dir/!(b*)', ['/dir/a', '/dir/sub']],
  ['/+(a|b)', AB],
  ['/*(a|b)', AB],
  ['/dir/sub/*.@(csv|txt)', ['/dir/sub/x.csv']],
  ['/@(*)/@(*)', CHILDREN],
  ['/d*a', []],
  ['/d**a', ['/dir/a']],
  ['/(a', ['/a']],
  ['/{a', ['/a']],
  ['/***', SAMPLE.slice(1)],
  ['/[a-b]', AB],
  ['/[^[:digit:]d]*', ['/a', '/a.txt', '/b']],
];

describe('glob table of the specification', () => {
  test.each(TABLE)('%s', (pattern, expected) => {
    const glob = compileGlob(pattern);
    expect(SAMPLE.filter((path) => glob.match(path))).toEqual(expected);
  });

  test.each(TABLE)('%s: hints never hide a match', (pattern) => {
    const glob = compileGlob(pattern);
    for (const path of SAMPLE.filter((each) => glob.match(each))) {
      expect(path.startsWith(glob.literalPrefix)).toBe(true);
      const parts = path.split('/');
      for (let length = 1; length < parts.length; length += 1) {
        expect(glob.mayMatchBelow(parts.slice(0, length).join('/'))).toBe(true);
      }
      if (glob.depth !== undefined) expect(parts.length - 1).toBe(glob.depth);
    }
  });
});

describe('captures', () => {
  test.each([
    ['/(*)-(*)', '/2019-01', ['/2019-01', '2019', '01']],
    ['/@(2019|2020)-*', '/2020-01', ['/2020-01', '2020']],
    ['/20(19|20)-01', '/2019-01', ['/2019-01', '19']],
    ['/dir/sub/*.@(csv|txt)', '/dir/sub/x.csv', ['/dir/sub/x.csv', 'csv']],
    ['/@(*)/@(*)', '/dir/b1', ['/dir/b1', 'dir', 'b1']],
    ['/+(a|b)', '/abba', ['/abba', 'abba']],
    ['/{a,b}(c)', '/ac', ['/ac', 'c']],
    ['/!(dir)', '/a', ['/a', 'a']],
    ['/x?(y)', '/x', ['/x', '']],
    ['/**(x)', '/axx', ['/axx', '']],
  ])('%s on %s', (pattern, path, captures) => {
    expect(compileGlob(pattern).match(path)?.captures).toEqual(captures);
  });

  test('templates', () => {
    expect(expandCaptures('$1-${2}-$$-$0-$9', ['/x', 'a', 'b'])).toBe('a-b-$-/x-');
  });
});

describe('patterns that are wrong or odd', () => {
  test('unclosed class', () => {
    expect(() => compileGlob('/[a')).toThrow('unexpected end of input');
  });
  test.each(['/[]a]', '/^(a)', '/[[:nope:]]', '/[z-a]', `/${'('.repeat(100)}a`])(
    '%s',
    (pattern) => {
      expect(() => compileGlob(pattern)).toThrow();
      try {
        compileGlob(pattern);
      } catch (error) {
        expect(codeOf(error)).toBe('INVALID_INPUT');
      }
    },
  );
  test('escapes and signs without a group stand for themselves', () => {
    expect(compileGlob('/a\\*b*').match('/a*bc')).toBeDefined();
    expect(compileGlob('/a\\*b*').match('/axbc')).toBeUndefined();
    expect(compileGlob('/a@b+c!d^e*').match('/a@b+c!d^e')).toBeDefined();
    expect(compileGlob('/[\\]]').match('/]')).toBeDefined();
    expect(compileGlob('/é?').match('/é😀')).toBeDefined();
  });
});

describe('paths', () => {
  test('canonical form', () => {
    for (const path of ['a', '/a', './a/', 'x/../a', '//a//', '/../a']) {
      expect(canonicalPath(path)).toBe('/a');
    }
    expect(canonicalPath('.')).toBe('');
    expect(() => canonicalPath('../foo')).toThrow('path (../foo) invalid: traverses above root');
    expect(() => canonicalPath('a/../../b')).toThrow('path (../b) invalid: traverses above root');
  });
  test('what may be written', () => {
    expect(writablePath('a b,c|~:')).toBe('/a b,c|~:');
    expect(() => writablePath('/')).toThrow('only printable ASCII characters allowed');
    expect(() => writablePath('a\tb')).toThrow('only printable ASCII characters allowed');
    expect(() => writablePath('a*b')).toThrow(
      'path (a*b) invalid: globbing character (*) not allowed in path',
    );
    expect(isGlob('/a/../b*/..')).toBe(false);
  });
});
