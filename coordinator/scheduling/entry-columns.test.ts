import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import { EntryColumns } from './entry-columns.js';

const wait = { signal: NEVER };

async function sorted(entries: readonly (readonly [key: string, value: string])[]) {
  const columns = new EntryColumns();
  for (const [key, value] of entries) columns.add(Buffer.from(key), Buffer.from(value));
  await columns.sort(wait);
  expect(columns).toHaveLength(entries.length);
  return [...columns].map(({ key, value }) => [key.toString(), value.toString()]);
}

describe('EntryColumns', () => {
  it('gives back what was added, in the order of keys', async () => {
    const entry = fc.tuple(fc.string({ unit: 'grapheme' }), fc.string());
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(entry, { selector: ([key]) => key }), async (entries) => {
        const byKey = entries.toSorted(([a], [b]) =>
          Buffer.compare(Buffer.from(a), Buffer.from(b)),
        );
        expect(await sorted(entries)).toEqual(byKey);
      }),
    );
  });

  it('takes entries larger than a buffer, and more rows than there was room for', async () => {
    const large = 'x'.repeat(5 * 1024 * 1024);
    const many = Array.from({ length: 5_000 }, (_, i) => [`k${9_999 - i}`, `v${i}`] as const);
    const got = await sorted([...many, ['a', large], ['b', '']]);
    expect(got.slice(0, 2)).toEqual([
      ['a', large],
      ['b', ''],
    ]);
    expect(got.slice(2)).toEqual(many.toReversed());
  });
});
