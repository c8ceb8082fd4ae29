import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { codeOf } from '../core/errors.js';
import { sha256Hex } from '../core/sha256.js';
import { DirStore } from './dir-store.js';
import { objectStoreContract } from './object-store.contract.js';

let base = '';
let count = 0;
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'tusk-dir-store-'));
});
afterAll(() => rm(base, { recursive: true, force: true }));
const open = (): Promise<DirStore> =>
  DirStore.open(join(base, String((count += 1))), { wallMs: 0 });
const signal = new AbortController().signal;

objectStoreContract('directory', open);

describe('DirStore', () => {
  it('fans objects out into directories by the first digits of their name', async () => {
    await using store = await open();
    const digest = sha256Hex('x');
    await store.put(`c/7/${digest}`, Buffer.from('x'), { signal });
    expect(await readdir(join(store.root, 'c', '7'))).toEqual([digest.slice(0, 2)]);
    expect(await readdir(join(store.root, 'tmp'))).toEqual([]);
  });

  it('leaves nothing behind when a put is cancelled', async () => {
    await using store = await open();
    const controller = new AbortController();
    const big = Array.from({ length: 5000 }, () => Buffer.alloc(1000));
    const put = store.put(`c/1/${sha256Hex(...big)}`, big, { signal: controller.signal });
    controller.abort(new Error('stop'));
    await expect(put).rejects.toThrow('stop');
    expect(await readdir(join(store.root, 'tmp'))).toEqual([]);
  });

  it('refuses keys that would leave its directory', async () => {
    await using store = await open();
    for (const key of ['../x', 'c/../../x', '/etc/passwd', 'c/1/', 'tmp/1/abc', 'c/1/a/b']) {
      expect(await store.get(key, { signal }).catch(codeOf)).toBe('INVALID_INPUT');
    }
  });
});
