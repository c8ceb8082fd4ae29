import { describe, expect, it } from 'vitest';
import { CommitCache } from './commit-cache.js';
import type { CommitRecord } from './model.js';

const record = (id: string, more: Partial<CommitRecord> = {}): CommitRecord => ({
  repo: 'a',
  id,
  origin: 'USER',
  started: 1,
  provenance: [],
  ...more,
});

describe('commit cache', () => {
  it('gives records of finished commits only, provenance of all', () => {
    const cache = new CommitCache();
    const provenance = [{ repo: 'up', id: 'x', branch: 'master' }];
    cache.remember(record('open', { provenance }), cache.mark('a'));
    cache.remember(record('done', { finished: 2 }), cache.mark('a'));
    expect(cache.finished({ repo: 'a', id: 'open' })).toBeUndefined();
    expect(cache.provenance({ repo: 'a', id: 'open' })).toEqual(provenance);
    expect(cache.finished({ repo: 'a', id: 'done' })?.finished).toBe(2);
  });

  it('drops a repo, and what was read before the drop', () => {
    const cache = new CommitCache();
    const mark = cache.mark('a');
    cache.remember(record('x', { finished: 2 }), mark);
    cache.dropRepo('a');
    cache.remember(record('x', { finished: 2 }), mark);
    expect(cache.finished({ repo: 'a', id: 'x' })).toBeUndefined();
    const later = cache.mark('b');
    cache.clear();
    cache.remember(record('y', { repo: 'b', finished: 2 }), later);
    expect(cache.finished({ repo: 'b', id: 'y' })).toBeUndefined();
  });

  it('stays within its size, oldest use out first', () => {
    const cache = new CommitCache(2);
    for (const id of ['1', '2']) cache.remember(record(id, { finished: 2 }), cache.mark('a'));
    cache.finished({ repo: 'a', id: '1' });
    cache.remember(record('3', { finished: 2 }), cache.mark('a'));
    const kept = ['1', '2', '3'].map((id) => cache.finished({ repo: 'a', id }) !== undefined);
    expect(kept).toEqual([true, false, true]);
  });
});
