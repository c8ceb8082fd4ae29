import { describe, expect, it } from 'vitest';
import { prefixEnd, type KV } from './kv.js';
import { MetaTxn } from './meta-txn.js';
import { Snapshot, type SnapshotSource } from './snapshot.js';

const signal = new AbortController().signal;

const kv = (key: string, value: string, modRevision: number): KV => ({
  ...{ key, value: Buffer.from(value), createRevision: modRevision, modRevision },
});

/** A store that counts requests; every read is at revision 7 unless told otherwise. */
function fakeStore(content: Record<string, string>) {
  const requests: { keys: readonly string[]; revision?: number }[] = [];
  const get = (key: string): KV | undefined => {
    const value = content[key];
    return value === undefined ? undefined : kv(key, value, 3);
  };
  const source: SnapshotSource = {
    async getAll(keys, o) {
      requests.push({ keys, ...(o.revision === undefined ? {} : { revision: o.revision }) });
      return { found: keys.map(get), revision: o.revision ?? 7 };
    },
    async range(prefix, o) {
      requests.push({ keys: [prefix], ...(o.revision ? { revision: o.revision } : {}) });
      const keys = Object.keys(content).filter((key) => key.startsWith(prefix));
      return { kvs: keys.map((key) => get(key) as KV), revision: o.revision ?? 7, more: false };
    },
  };
  return { requests, txn: () => new MetaTxn(new Snapshot(source, { signal })) };
}

describe('reads', () => {
  it('of one turn travel together, all later ones are at the same revision', async () => {
    const store = fakeStore({ a: '1', b: '2', c: '3' });
    const t = store.txn();
    const [a, b] = await Promise.all([t.get('a'), t.get('b')]);
    expect([a?.value.toString(), b?.value.toString()]).toEqual(['1', '2']);
    await t.get('c');
    await t.get('a');
    expect(store.requests).toEqual([{ keys: ['a', 'b'] }, { keys: ['c'], revision: 7 }]);
  });

  it('that will be asked for travel at once, and are compared when they are', async () => {
    const store = fakeStore({ a: '1', b: '2' });
    const t = store.txn();
    t.warm(['a', 'b', 'c']);
    expect((await t.get('b'))?.value.toString()).toBe('2');
    expect(await t.get('c')).toBeUndefined();
    expect(store.requests).toEqual([{ keys: ['a', 'b', 'c'] }]);
    expect(t.compares()).toEqual([
      { key: 'b', modRevision: 3 },
      { key: 'c', modRevision: 0 },
    ]);
  });

  it('are compared unless only peeked at; absent keys as revision 0', async () => {
    const t = fakeStore({ a: '1' }).txn();
    await t.get('a');
    await t.get('none');
    await t.peek('peeked');
    expect(t.compares()).toEqual([
      { key: 'a', modRevision: 3 },
      { key: 'none', modRevision: 0 },
    ]);
  });

  it('of a range compare its keys and that none is newer', async () => {
    const t = fakeStore({ 'p/a': '1', 'p/b': '2' }).txn();
    await t.range('p/');
    expect(t.compares()).toEqual([
      { key: 'p/a', modRevision: 3 },
      { key: 'p/b', modRevision: 3 },
      { prefix: 'p/', notModifiedAfter: 7 },
    ]);
  });

  it('see what the transaction itself did', async () => {
    const t = fakeStore({ 'p/a': '1', 'p/b': '2' }).txn();
    t.put('p/0', 'new');
    t.delete('p/a');
    expect((await t.range('p/')).map((each) => each.key)).toEqual(['p/0', 'p/b']);
    expect(await t.get('p/a')).toBeUndefined();
    t.deletePrefix('p/');
    expect(await t.keys('p/')).toEqual([]);
  });
});

describe('writes', () => {
  it('cut a deleted prefix around what is put below it afterwards', () => {
    const t = fakeStore({}).txn();
    t.put('p/x', 'gone');
    t.deletePrefix('p/');
    t.put('p/k', 'v');
    t.put('q', 'v');
    const value = Buffer.from('v');
    expect(t.ops()).toEqual([
      { deleteRange: ['p/', 'p/k'] },
      { deleteRange: ['p/k\0', 'p0'] },
      { put: 'p/k', value },
      { put: 'q', value },
    ]);
  });

  it('after the work has ended are a bug', () => {
    const t = fakeStore({}).txn();
    t.close();
    expect(() => t.put('a', 'b')).toThrow('after its work ended');
  });
});

describe('requirements', () => {
  it('tell which one the present values break, and whether it is a fence', () => {
    const t = fakeStore({}).txn();
    t.requireExists('here');
    t.requireUnchanged('fence', 5);
    const here = kv('here', '', 1);
    expect(t.brokenRequirement(new Map([['here', undefined]]))).toEqual({
      ...{ key: 'here', fence: false },
    });
    expect(
      t.brokenRequirement(
        new Map([
          ['here', here],
          ['fence', kv('fence', '', 6)],
        ]),
      ),
    ).toEqual({ key: 'fence', fence: true });
    expect(t.brokenRequirement(new Map([['here', here]]))).toBeUndefined();
  });
});

it('the end of a prefix is the next key after all that begin with it', () => {
  expect(prefixEnd('p/')).toBe('p0');
  expect(prefixEnd('')).toBe('\0');
});
