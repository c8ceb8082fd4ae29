/**
 * What every object store must do (object-store.ts, O1 to O4), as a suite to run against any of
 * them: `objectStoreContract('directory', () => open…)`.
 */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { codeOf } from '../core/errors.js';
import { sha256 } from '../core/sha256.js';
import type { ObjectInfo, ObjectStore } from './object-store.js';

/** Registers the suite. `open` gives a store and is called once per test. */
export function objectStoreContract(name: string, open: () => Promise<ObjectStore>): void {
  describe(`object store contract: ${name}`, () => {
    let store: ObjectStore;
    const signal = new AbortController().signal;
    const wait = { signal };
    const keyFor = (bytes: Uint8Array, kind = 'blob', epoch = 0): string =>
      `${kind}/${epoch}/${sha256(bytes).toString('hex')}`;

    beforeEach(async () => {
      store = await open();
    });
    afterEach(async () => {
      await store[Symbol.asyncDispose]();
    });

    it('gives back what was put', async () => {
      const bytes = randomBytes(100_000);
      const key = keyFor(bytes);
      await store.put(key, bytes, { signal, sha256: sha256(bytes) });
      expect((await store.get(key, wait)).equals(bytes)).toBe(true);
      expect(await store.head(key, wait)).toEqual({ key, size: bytes.length });
    });

    it('takes a body in parts, many small ones and empty ones among them', async () => {
      const parts = Array.from({ length: 3000 }, (_unused, i) => randomBytes(i % 7));
      const whole = Buffer.concat(parts);
      await store.put(keyFor(whole), parts, wait);
      expect((await store.get(keyFor(whole), wait)).equals(whole)).toBe(true);
    });

    it('keeps an empty object', async () => {
      const key = keyFor(Buffer.alloc(0));
      await store.put(key, Buffer.alloc(0), wait);
      expect((await store.get(key, wait)).length).toBe(0);
      expect(await store.head(key, wait)).toEqual({ key, size: 0 });
    });

    it('puts the same object again without harm, also at the same time', async () => {
      const bytes = randomBytes(200_000);
      const key = keyFor(bytes);
      await Promise.all([1, 2, 3, 4].map(() => store.put(key, bytes, wait)));
      await store.put(key, bytes, wait);
      expect((await store.get(key, wait)).equals(bytes)).toBe(true);
    });

    it('reads ranges, also beyond the end', async () => {
      const bytes = randomBytes(10_000);
      const key = keyFor(bytes);
      await store.put(key, bytes, wait);
      const range = async (offset: number, length?: number): Promise<Buffer> =>
        store.get(key, { signal, offset, ...(length === undefined ? {} : { length }) });
      expect((await range(0, 10)).equals(bytes.subarray(0, 10))).toBe(true);
      expect((await range(5000, 100)).equals(bytes.subarray(5000, 5100))).toBe(true);
      expect((await range(9000)).equals(bytes.subarray(9000))).toBe(true);
      expect((await range(9990, 100)).equals(bytes.subarray(9990))).toBe(true);
      expect((await range(10_000, 5)).length).toBe(0);
      expect((await range(20_000, 5)).length).toBe(0);
      expect((await range(17, 0)).length).toBe(0);
    });

    it('answers NOT_FOUND for what is not there, and head answers undefined', async () => {
      const key = keyFor(Buffer.from('never stored'));
      await expect(store.get(key, wait).catch(codeOf)).resolves.toBe('NOT_FOUND');
      await expect(store.get(key, { signal, offset: 1, length: 1 }).catch(codeOf)).resolves.toBe(
        'NOT_FOUND',
      );
      expect(await store.head(key, wait)).toBeUndefined();
    });

    it('lists by prefix in key order, after a key', async () => {
      const keys: string[] = [];
      for (let i = 0; i < 20; i += 1) {
        const bytes = Buffer.from(`listed ${i}`);
        const key = keyFor(bytes, i % 2 ? 'run' : 'page', i % 4 < 2 ? 901 : 902);
        keys.push(key);
        await store.put(key, bytes, wait);
      }
      const list = async (prefix: string, after?: string): Promise<string[]> => {
        const found: ObjectInfo[] = [];
        const options = after === undefined ? wait : { signal, after };
        for await (const entry of store.list(prefix, options)) found.push(entry);
        return found.map((entry) => entry.key);
      };
      const expected = (prefix: string): string[] =>
        keys.filter((key) => key.startsWith(prefix)).sort();
      expect(await list('run/901/')).toEqual(expected('run/901/'));
      expect(await list('page/902/')).toEqual(expected('page/902/'));
      const [first, second = '', ...rest] = expected('run/902/');
      expect(await list('run/902/', second)).toEqual(rest);
      expect(await list((first as string).slice(0, 15))).toEqual(
        expected((first as string).slice(0, 15)),
      );
      expect(await list('run/90')).toEqual(expected('run/90'));
      expect(await list('run/977/')).toEqual([]);
    });

    it('deletes, ignoring what is not there', async () => {
      const bytes = randomBytes(10);
      const key = keyFor(bytes);
      await store.put(key, bytes, wait);
      await store.delete([key, keyFor(Buffer.from('never stored either'))], wait);
      expect(await store.head(key, wait)).toBeUndefined();
      await store.put(key, bytes, wait);
      expect((await store.get(key, wait)).equals(bytes)).toBe(true);
    });

    it('stops when its signal aborts', async () => {
      const controller = new AbortController();
      controller.abort(new Error('enough'));
      const aborted = { signal: controller.signal };
      const key = keyFor(Buffer.from('aborted'));
      await expect(store.put(key, Buffer.from('aborted'), aborted)).rejects.toThrow('enough');
      await expect(store.get(key, aborted)).rejects.toThrow('enough');
      expect(await store.head(key, wait)).toBeUndefined();
    });
  });
}
