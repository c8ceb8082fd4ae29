import { expect, it } from 'vitest';
import { NEVER } from '../core/signals.js';
import { BlobCache } from './blob-cache.js';

const wait = { signal: NEVER };

function cache() {
  const asked: string[] = [];
  let away = false;
  const blobs = new BlobCache({
    getJson: async <T>(ref: string) => {
      asked.push(ref);
      await Promise.resolve();
      if (away) throw new Error('the store is away');
      return { ref } as T;
    },
  });
  return { asked, blobs, setAway: (value: boolean) => (away = value) };
}

it('tasks that begin together read a segment once', async () => {
  const { asked, blobs } = cache();
  const all = await Promise.all(Array.from({ length: 5 }, () => blobs.get('a', wait)));
  expect(asked).toEqual(['a']);
  expect(new Set(all).size).toBe(1);
});

it('who gives up does not take it from the others', async () => {
  const { asked, blobs } = cache();
  const stop = new AbortController();
  const first = blobs.get('a', { signal: stop.signal });
  const second = blobs.get('a', wait);
  stop.abort(new Error('stopped'));
  await expect(first).rejects.toThrow('stopped');
  await expect(second).resolves.toEqual({ ref: 'a' });
  expect(asked).toEqual(['a']);
});

it('what could not be read is read again, and few are kept', async () => {
  const { asked, blobs, setAway } = cache();
  setAway(true);
  await expect(blobs.get('a', wait)).rejects.toThrow('away');
  setAway(false);
  await expect(blobs.get('a', wait)).resolves.toEqual({ ref: 'a' });
  for (let i = 0; i < 16; i += 1) await blobs.get(`b${i}`, wait);
  await blobs.get('b15', wait);
  await blobs.get('a', wait);
  expect(asked.filter((ref) => ref === 'b15')).toHaveLength(1);
  expect(asked.filter((ref) => ref === 'a')).toHaveLength(3);
});
