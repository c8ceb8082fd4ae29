import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { silentLog } from '../core/log.js';
import { Storage } from './index.js';
import { MemoryStore } from './memory-store.js';
import { SortedMap, type MapEntry } from './sorted-map.js';

const wait = { signal: new AbortController().signal };
const open = (): Storage =>
  new Storage(new MemoryStore(), { epoch: 1, log: silentLog, clock: systemClock });

/** Entries with heavy values, so that a few hundred make many pages. */
const entry = (n: number, weight = 3000, salt = ''): MapEntry => ({
  key: Buffer.from(`key-${String(n).padStart(7, '0')}`),
  value: Buffer.from(`${salt}${n}`.padEnd(weight, '.')),
});

async function all(map: SortedMap): Promise<MapEntry[]> {
  const found: MapEntry[] = [];
  for await (const each of map.scan(wait)) found.push(each);
  return found;
}

const texts = (entries: readonly MapEntry[]): string[] =>
  entries.map(({ key, value }) => `${key.toString()}=${value.toString()}`);

describe('SortedMap', () => {
  it('finds, scans, counts', async () => {
    const storage = open();
    const entries = Array.from({ length: 5000 }, (_unused, i) => entry(i * 2, 300));
    const map = await SortedMap.build(storage, entries, wait);
    const same = SortedMap.open(storage, map.toText());
    expect(await same.count(wait)).toBe(5000);
    expect(texts(await all(same))).toEqual(texts(entries));
    expect((await same.get(entry(4000).key, wait))?.equals(entry(4000, 300).value)).toBe(true);
    expect(await same.get(entry(4001).key, wait)).toBeUndefined();
    expect((await same.last({ ...wait, before: entry(4001).key }))?.key).toEqual(entry(4000).key);
    expect((await same.last(wait))?.key).toEqual(entry(9998).key);
    const range: MapEntry[] = [];
    for await (const each of same.scan({ ...wait, from: entry(99).key, to: entry(105).key })) {
      range.push(each);
    }
    expect(range.map(({ key }) => key.toString())).toEqual(
      [100, 102, 104].map((n) => entry(n).key.toString()),
    );
  });

  it('is the same map however it came about, and differences are exact', async () => {
    const numbers = fc.uniqueArray(fc.nat({ max: 900 }), { maxLength: 500 });
    const weights = fc.constantFrom(20, 3000, 9000);
    await fc.assert(
      fc.asyncProperty(numbers, numbers, numbers, weights, async (first, added, removed, w) => {
        const storage = open();
        const sorted = (set: Iterable<number>): number[] => [...set].sort((a, b) => a - b);
        const old = sorted(first).map((n) => entry(n, w));
        const map = await SortedMap.build(storage, old, wait);
        const gone = new Set(removed);
        const changes = sorted(new Set([...added, ...removed])).map((n) => ({
          key: entry(n).key,
          value: gone.has(n) ? undefined : entry(n, w, n % 3 === 0 ? 'new' : '').value,
        }));
        const patched = await map.patch(changes, wait);
        const model = new Map(old.map((each) => [each.key.toString(), each]));
        for (const { key, value } of changes) {
          if (value) model.set(key.toString(), { key, value });
          else model.delete(key.toString());
        }
        const expected = [...model.values()].sort((a, b) => Buffer.compare(a.key, b.key));
        expect(texts(await all(patched))).toEqual(texts(expected));
        const fresh = await SortedMap.build(open(), expected, wait);
        expect(patched.toText()).toBe(fresh.toText());

        const differences: string[] = [];
        for await (const { key, a, b } of map.diff(patched, wait)) {
          differences.push(`${key.toString()} ${a?.toString() ?? '-'} ${b?.toString() ?? '-'}`);
        }
        const before = new Map(old.map((each) => [each.key.toString(), each.value.toString()]));
        const naive = [...new Set([...before.keys(), ...model.keys()])]
          .sort()
          .map((key) => [key, before.get(key) ?? '-', model.get(key)?.value.toString() ?? '-'])
          .filter(([, a, b]) => a !== b)
          .map((row) => row.join(' '));
        expect(differences).toEqual(naive);
      }),
      { numRuns: 150 },
    );
  });

  it('writes and reads only the pages on the way of a change', async () => {
    const objects = new MemoryStore();
    const storage = new Storage(objects, { epoch: 1, log: silentLog, clock: systemClock });
    const entries = Array.from({ length: 100_000 }, (_unused, i) => entry(i, 60));
    const built = await SortedMap.build(storage, entries, wait);
    const cold = new Storage(objects, { epoch: 1, log: silentLog, clock: systemClock });
    const map = SortedMap.open(cold, built.root);
    const before = { ...objects.calls };
    await map.patch([{ key: entry(50_000).key, value: Buffer.from('x') }], wait);
    expect(objects.calls.put - before.put).toBeLessThanOrEqual(4);
    expect(objects.calls.get - before.get).toBeLessThanOrEqual(6);
  });
});
