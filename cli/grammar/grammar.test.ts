import { describe, expect, it } from 'vitest';
import { commands } from '../commands/catalog.js';
import { flag } from './command.js';
import { findCommand } from './dispatch.js';
import { parseDurationMs, parseFlags, splitCsv } from './flags.js';
import {
  fromSlashForm,
  parseBranchRef,
  parseCommitRef,
  parseFileRef,
  parseHistory,
  parseProvenanceRef,
} from './refs.js';

const FLAGS = [
  flag.bool('commit|c', ''),
  flag.bool('recursive|r', ''),
  flag.slice('file|f', '', { initial: '-' }),
  flag.int('number|n', ''),
  flag.text('history', ''),
  flag.bool('raw', ''),
  flag.repeat('repos|R', ''),
  flag.uint('count', ''),
];
const parse = (...tokens: string[]) => parseFlags(FLAGS, tokens);
const failure = (...tokens: string[]): string => {
  try {
    parse(...tokens);
  } catch (error) {
    return (error as Error).message;
  }
  return '';
};

describe('flags', () => {
  it('mixes with arguments, combines shorts, ends at --', () => {
    const { args, values } = parse('data', '-crf', '.', 'master', '--raw', '--', '-x');
    expect(args).toEqual(['data', 'master', '-x']);
    expect(values.bool('commit') && values.bool('recursive') && values.bool('raw')).toBe(true);
    expect(values.list('file')).toEqual(['.']);
  });

  it('takes values in every spelling', () => {
    expect(parse('-n=5').values.number('number')).toBe(5);
    expect(parse('-n5').values.number('number')).toBe(5);
    expect(parse('-n', '5').values.number('number')).toBe(5);
    expect(parse('--number=5').values.number('number')).toBe(5);
    expect(parse('--history', '-1').values.text('history')).toBe('-1');
    expect(parse('--raw=false').values.bool('raw')).toBe(false);
    expect(parse('-').args).toEqual(['-']);
  });

  it('splits slices at commas, repeats do not', () => {
    expect(parse('-f', 'a,b', '-f', '"c,d"').values.list('file')).toEqual(['a', 'b', 'c,d']);
    expect(parse('-f', 'a,b').values.list('file', () => true)).toEqual(['a,b']);
    expect(parse('-R', 'a,b', '-R', 'c').values.list('repos')).toEqual(['a,b', 'c']);
    expect(parse().values.list('file')).toEqual(['-']);
    expect(splitCsv('a,"b""c",')).toEqual(['a', 'b"c', '']);
  });

  it('fails in the words of old clients', () => {
    expect(failure('--x')).toBe('unknown flag: --x');
    expect(failure('-j')).toBe("unknown shorthand flag: 'j' in -j");
    expect(failure('--file')).toBe('flag needs an argument: --file');
    expect(failure('-n')).toBe("flag needs an argument: 'n' in -n");
    expect(failure('-n', 'x')).toBe(
      'invalid argument "x" for "-n, --number" flag: strconv.ParseInt: parsing "x": invalid syntax',
    );
    expect(failure('--count', '-1')).toMatch(/ParseUint/);
    expect(failure('--raw=perhaps')).toMatch(/ParseBool/);
  });

  it('reads Go durations', () => {
    expect(parseDurationMs('1h30m')).toBe(5_400_000);
    expect(parseDurationMs('300ms')).toBe(300);
    expect(parseDurationMs('0s')).toBe(0);
    expect(parseDurationMs('5')).toBeUndefined();
  });
});

describe('references', () => {
  it('splits at the first @ and the first :', () => {
    expect(parseCommitRef('r')).toEqual({ repo: 'r', id: '' });
    expect(parseCommitRef('r@b^2')).toEqual({ repo: 'r', id: 'b^2' });
    expect(parseFileRef('r@b:/p:q@s')).toEqual({ repo: 'r', id: 'b', path: '/p:q@s' });
    expect(parseFileRef('r')).toEqual({ repo: 'r', id: '', path: '' });
    expect(fromSlashForm('r/c/d')).toBe('r@c/d');
    expect(fromSlashForm('r@c')).toBe('r@c');
  });

  it('refuses empty parts', () => {
    expect(() => parseCommitRef('@x')).toThrow('invalid format "@x": repo cannot be empty');
    expect(() => parseFileRef('r@:p')).toThrow('invalid format "r@:p": commit cannot be empty');
    expect(() => parseBranchRef('r')).toThrow('branch cannot be empty');
  });

  it('tells branches from commits in provenance', () => {
    const id = 'a'.repeat(32);
    expect(parseProvenanceRef(`r@${id}`)).toEqual({ repo: 'r', branch: '', commit: id });
    expect(parseProvenanceRef('r@b')).toEqual({ repo: 'r', branch: 'b', commit: '' });
    expect(parseProvenanceRef(`r@b=${id}`)).toEqual({ repo: 'r', branch: 'b', commit: id });
  });

  it('reads history words', () => {
    expect(['none', 'all', '-1', '3', ''].map(parseHistory)).toEqual([0, -1, -1, 3, 0]);
    expect(() => parseHistory('x')).toThrow(/^error parsing history flag: /);
  });
});

describe('commands', () => {
  const found = (line: string) => findCommand(line.split(' '));

  it('finds two words wherever flags stand', () => {
    expect(found('put file r@m -f x')?.command.words).toBe('put file');
    expect(found('--verbose list repo')?.command.words).toBe('list repo');
    expect(found('config get context')?.command.words).toBe('config get context');
    expect(found('config get context default')?.rest).toEqual(['default']);
    expect(found('extract pipeline p')?.command.words).toBe('extract pipeline');
  });

  it.each([
    ['put-file r b p', ['r@b:p']],
    ['put-file r b', ['r@b']],
    ['get-file r b p', ['r@b:p']],
    ['list-file r b', ['r@b']],
    ['list-commit r', ['r']],
    ['list-commit r b', ['r@b']],
    ['start-commit r b', ['r@b']],
    ['finish-commit r b', ['r@b']],
    ['inspect-commit r x', ['r@x']],
    ['flush-commit r/x s/y', ['r@x', 's@y']],
    ['copy-file a b c d e f', ['a@b:c', 'd@e:f']],
    ['diff-file a b c', ['a@b:c']],
    ['create-branch r b', ['r@b']],
    ['delete-branch r b', ['r@b']],
  ])('%s means %j', (line, args) => {
    const match = found(line);
    expect(match?.old?.rewrite?.(match.rest).args).toEqual(args);
  });

  it('keeps set-branch and get-logs', () => {
    const match = found('set-branch r x b');
    expect(match?.old?.rewrite?.(match.rest)).toEqual({ args: ['r@b'], flags: { head: 'x' } });
    expect(found('get-logs')?.command.words).toBe('logs');
    expect(found('create-repo r')?.command.words).toBe('create repo');
  });

  it('never gives one letter to two flags', () => {
    for (const command of commands) {
      for (const old of [undefined, ...(command.old ?? [])]) {
        const flags = [...command.flags, ...(old?.flags ?? [])];
        const shorts = flags.flatMap(({ short }) => short ?? []);
        expect(new Set(shorts).size, command.words).toBe(shorts.length);
        expect(shorts, command.words).not.toContain('h');
      }
    }
  });
});
