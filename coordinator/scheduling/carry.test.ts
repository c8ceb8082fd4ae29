import { describe, expect, it } from 'vitest';
import { sha256 } from '../../core/sha256.js';
import { textOfMapValue } from '../gc/map-values.js';
import { joinByLookup, joinSorted, type Entry, type KeyValue } from './carry.js';
import { datumKey, parseDatumKey } from './datum.js';
import { decodeRecord, encodeRecord, type DatumRecord, type RanState } from './record.js';

const wait = { signal: new AbortController().signal };
const JOB = '0190a0b0c0d04abc8def0123456789ab';

function entry(path: string, content: string, twin = 0): Entry {
  return { key: datumKey(['in'], [path], twin), id: sha256(path, content), index: 0, twin };
}

function stored(path: string, content: string, state: RanState = 'success', twin = 0): KeyValue {
  const { key, id } = entry(path, content, twin);
  return { key, value: encodeRecord(record({ id, state })) };
}

function record(more: Partial<DatumRecord>): DatumRecord {
  const stats = { downloadMs: 1, processMs: 2, uploadMs: 3, downloadBytes: 4, uploadBytes: 5 };
  const base = { id: sha256('x'), state: 'success' as const, job: JOB, task: 7, seq: 300 };
  return { ...base, outputs: 2, tries: 1, ...stats, ...more };
}

async function* each(list: readonly KeyValue[]): AsyncGenerator<KeyValue> {
  yield* [...list].sort((a, b) => Buffer.compare(a.key, b.key));
}

async function join(entries: Entry[], manifest: KeyValue[]) {
  const sorted = [...entries].sort((a, b) => Buffer.compare(a.key, b.key));
  const { open, carried, dropped } = await joinSorted(sorted, each(manifest), wait);
  const path = (key: Buffer): string =>
    `${parseDatumKey(key).files[0]?.path}#${parseDatumKey(key).twin}`;
  return {
    open: open.map(({ key }) => path(key)),
    carried: carried.map(({ key }) => path(key)),
    dropped: dropped.map(path),
  };
}

describe('skip rule', () => {
  it('carries equal datums over, opens changed and new ones, drops what is gone', async () => {
    const result = await join(
      [entry('/a', '1'), entry('/b', 'new'), entry('/d', '1')],
      [stored('/a', '1'), stored('/b', 'old'), stored('/c', '1')],
    );
    expect(result).toEqual({
      open: ['/b#0', '/d#0'],
      carried: ['/a#0'],
      dropped: ['/b#0', '/c#0'],
    });
  });

  it('matches equal datums as a multiset', async () => {
    const result = await join(
      [entry('/a', '1', 0), entry('/a', '1', 1), entry('/a', '1', 2)],
      [stored('/a', '1', 'success', 0), stored('/a', '1', 'success', 1)],
    );
    expect(result.carried).toEqual(['/a#0', '/a#1']);
    expect(result.open).toEqual(['/a#2']);
  });

  it('never carries failed or recovered datums over', async () => {
    const result = await join(
      [entry('/a', '1'), entry('/b', '1')],
      [stored('/a', '1', 'failed'), stored('/b', '1', 'recovered')],
    );
    expect(result).toEqual({
      open: ['/a#0', '/b#0'],
      carried: [],
      dropped: ['/a#0', '/b#0'],
    });
  });

  it('gives the same answer by look-ups', async () => {
    const known = new Map(
      [stored('/a', '1'), stored('/b', 'old')].map((kv) => [kv.key.toString('hex'), kv.value]),
    );
    const lookup = async (key: Buffer) => known.get(key.toString('hex'));
    const entries = [entry('/a', '1'), entry('/b', 'new')];
    const { open, carried } = await joinByLookup(entries, lookup, wait);
    expect(open).toEqual([entries[1]]);
    expect(carried.map(({ key }) => key)).toEqual([entries[0]?.key]);
  });
});

describe('manifest keys and records', () => {
  it('sorts parents before children, children before longer names', () => {
    const paths = ['/', '/a', '/a/b', '/a!', '/b'];
    const keys = paths.map((path) => datumKey(['in'], [path], 0));
    expect([...keys].sort(Buffer.compare)).toEqual(keys);
  });

  it('reads its own keys', () => {
    const key = datumKey(['x', 'y'], ['/', '/d/é'], 3);
    expect(parseDatumKey(key)).toEqual({
      files: [
        { name: 'x', path: '/' },
        { name: 'y', path: '/d/é' },
      ],
      twin: 3,
      long: false,
    });
  });

  it('shortens the keys of very many files, which stay apart', () => {
    const paths = Array.from({ length: 30_000 }, (_, i) => `/é/${i}`);
    const names = paths.map(() => 'in');
    const key = datumKey(names, paths, 5);
    expect(key.length).toBeLessThan(5000);
    const { files, twin, long } = parseDatumKey(key);
    expect({ twin, long }).toEqual({ twin: 5, long: true });
    expect(files.length).toBeGreaterThan(100);
    expect(files).toEqual(paths.slice(0, files.length).map((path) => ({ name: 'in', path })));
    const other = datumKey(names, [...paths.slice(0, -1), '/é/other'], 5);
    expect(other.equals(key)).toBe(false);
    expect(other.length).toBe(key.length);
    expect(parseDatumKey(datumKey(['in'], [`/${'x'.repeat(4095)}`], 0)).long).toBe(false);
  });

  it('reads its own records', () => {
    const run = `run/12/${'ab'.repeat(32)}/4711`;
    const files = `blob/3/${'cd'.repeat(32)}/99`;
    const all = [
      record({}),
      record({ run, state: 'failed', uploadBytes: 2 ** 40 }),
      record({ files, state: 'recovered' }),
      record({ run, files }),
    ];
    expect(textOfMapValue(encodeRecord(record({ run, files })))).toBe(`${run} ${files}`);
    for (const value of all) {
      expect(decodeRecord(encodeRecord(value))).toEqual(value);
    }
  });
});
