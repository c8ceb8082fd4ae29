import { describe, expect, it } from 'vitest';
import { wanted } from './wanted.js';

const words = (typed: string, current = ''): readonly string[] => {
  const want = wanted(typed === '' ? [] : typed.split(' '), current);
  return want.kind === 'words' ? want.words : [`not words but ${want.kind}`];
};

describe('what a half-typed line asks for', () => {
  it('command words, level by level', () => {
    expect(words('')).toEqual(expect.arrayContaining(['create', 'logs', 'list', 'up']));
    expect(words('create')).toEqual(expect.arrayContaining(['repo', 'pipeline', 'branch']));
    expect(words('completion')).toEqual(['bash', 'zsh']);
    expect(words('config', 'g')).toEqual(['get', 'set', 'list', 'update', 'delete']);
    expect(words('config get')).toEqual(['metrics', 'active-context', 'context']);
  });

  it('the hyphenated names once a dash is typed', () => {
    expect(words('', 'list-')).toEqual(expect.arrayContaining(['list-repo', 'list-file']));
    expect(words('', 'get-')).toContain('get-logs');
    expect(words('', 'l')).not.toContain('list-repo');
  });

  it('flags of the command after a dash', () => {
    expect(words('put file data@master', '--')).toEqual(
      expect.arrayContaining(['--file', '--recursive', '--split', '--help']),
    );
  });

  it.each([
    ['inspect repo', { kind: 'repo' }],
    ['list file', { kind: 'ref', file: true }],
    ['get-file data master', { kind: 'path', repo: 'data', commit: 'master' }],
    ['get-file data', { kind: 'branch-or-commit', repo: 'data' }],
    ['put file', { kind: 'ref', file: true }],
    ['put file data@master:/a -f', { kind: 'local-file' }],
    ['put file data@master -rf', { kind: 'local-file' }],
    ['put file data@master --split', { kind: 'words', words: ['line', 'json', 'csv', 'sql'] }],
    ['flush commit a@b', { kind: 'ref', file: false }],
    ['delete repo', { kind: 'repo' }],
    ['run pipeline', { kind: 'pipeline' }],
    ['run pipeline p', { kind: 'ref', file: false }],
    ['logs -p', { kind: 'pipeline' }],
    ['logs --job', { kind: 'job' }],
    ['inspect datum', { kind: 'job' }],
    ['inspect datum 12', { kind: 'datum', job: '12' }],
    ['create branch data@dev --head', { kind: 'branch-or-commit', repo: 'data' }],
    ['create branch data@dev -p', { kind: 'ref', file: false }],
    ['resume transaction', { kind: 'transaction' }],
    ['config set active-context', { kind: 'context' }],
    ['create pipeline -f', { kind: 'local-file' }],
    ['inspect repo data', { kind: 'words', words: [] }],
  ])('%s', (typed, want) => {
    expect(wanted(typed.split(' '), '')).toEqual(want);
  });
});
