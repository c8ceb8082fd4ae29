import { describe, expect, it } from 'vitest';
import type { CommitRecord } from './model.js';
import { downstreamNames, toRanges } from './subvenance.js';
import { parseSize } from './triggers.js';

const commit = (repo: string, id: string, parent?: string): CommitRecord => ({
  repo,
  id,
  ...(parent ? { parent } : {}),
  origin: 'AUTO',
  started: 1,
  provenance: [],
});

describe('ranges of downstream commits', () => {
  it('extends the range that ends at the parent, else starts a new one', () => {
    const ranges = toRanges([
      commit('b', '3', '2'),
      commit('b', '1'),
      commit('b', '2', '1'),
      commit('b', '4', '2'),
      commit('c', '5', '9'),
    ]);
    expect(ranges.map(({ lower, upper }) => `${lower.id}-${upper.id}`)).toEqual([
      '1-3',
      '4-4',
      '5-5',
    ]);
  });

  it('is not fooled by ids that do not grow', () => {
    const ranges = toRanges([commit('b', '1', '2'), commit('b', '2', '3'), commit('b', '3')]);
    expect(ranges.map(({ lower, upper }) => `${lower.id}-${upper.id}`)).toEqual(['3-1']);
  });

  it('walks links, each commit once, also through a diamond', async () => {
    const links: Record<string, string[]> = {
      'sv/a/1/': ['sv/a/1/b/2', 'sv/a/1/c/3'],
      'sv/b/2/': ['sv/b/2/d/4'],
      'sv/c/3/': ['sv/c/3/d/4'],
    };
    const names = await downstreamNames(async (prefix) => links[prefix] ?? [], {
      repo: 'a',
      id: '1',
    });
    expect(names.map(({ repo, id }) => `${repo}${id}`)).toEqual(['b2', 'c3', 'd4']);
  });
});

describe('trigger sizes', () => {
  it.each([
    ['100', 100],
    ['1B', 1],
    ['1K', 1000],
    ['2MiB', 2e6],
    ['1.5g', 1.5e9],
  ])('reads %s', (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(['', 'K', '1X', '-1'])('refuses "%s"', (text) => {
    expect(() => parseSize(text)).toThrow(`invalid trigger size: ${text}`);
  });
});
