import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256 } from '../core/sha256.js';
import { NEVER } from '../core/signals.js';
import { contentOf, type FileContent } from '../storage/index.js';
import { InputCache } from './input-cache.js';

let dir = '';
let reads = 0;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tusk-cache-'));
  reads = 0;
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const bytesOf = new Map<string, Buffer>();
function content(text: string): FileContent {
  const bytes = Buffer.from(text);
  const made = contentOf([{ hash: sha256(bytes), size: bytes.length }]);
  bytesOf.set(made.hash.toString('hex'), bytes);
  return made;
}

function cache(bytesMax = 1e9, copies = false): InputCache {
  return new InputCache({
    dir: join(dir, 'cache'),
    bytesMax,
    copies,
    read: async function* (file) {
      reads += 1;
      yield bytesOf.get(file.hash.toString('hex')) ?? Buffer.alloc(0);
    },
  });
}

const at = (name: string): string => join(dir, name);
const wait = { signal: NEVER };

describe('the input cache', () => {
  it('fetches once, however many ask, and hands out links', async () => {
    const files = cache();
    const file = content('shared');
    expect(files.place(file, at('no'))).toBe(false);
    await Promise.all(Array.from({ length: 8 }, () => files.fetch(file, wait)));
    expect(reads).toBe(1);
    expect(files.place(file, at('a')) && files.place(file, at('b'))).toBe(true);
    expect(statSync(at('a')).ino).toBe(statSync(at('b')).ino);
    expect(readFileSync(at('a'), 'utf8')).toBe('shared');
  });

  it('hands out copies where user code could change them', async () => {
    const files = cache(1e9, true);
    const file = content('mine');
    await files.fetch(file, wait);
    files.place(file, at('a'));
    writeFileSync(at('a'), 'changed');
    files.place(file, at('b'));
    expect(readFileSync(at('b'), 'utf8')).toBe('mine');
  });

  it('keeps small files that are wanted again, and forgets the oldest', () => {
    const files = cache(3 * 4096);
    const list = ['1', '2', '3', '4'].map(content);
    list.forEach((file, i) => files.write(file, Buffer.from(String(i + 1)), at(`first${i}`)));
    expect(list.map((file) => files.has(file))).toEqual([false, false, false, false]);
    list.forEach((file, i) => files.write(file, Buffer.from(String(i + 1)), at(`w${i}`)));
    expect(list.map((file) => files.has(file))).toEqual([false, true, true, true]);
    expect(readFileSync(at('w0'), 'utf8')).toBe('1');
    expect(files.bytes).toBe(3 * 4096);
  });

  it('trusts nothing after a restart until it looked again', async () => {
    const file = content('torn by a power cut');
    await cache().fetch(file, wait);
    const again = cache();
    expect(again.place(file, at('a'))).toBe(false);
    await again.fetch(file, wait);
    expect(reads).toBe(1);
    expect(again.place(file, at('a'))).toBe(true);
    const folder = file.hash.toString('hex').slice(0, 2);
    for (const name of readdirSync(join(dir, 'cache', folder))) {
      writeFileSync(join(dir, 'cache', folder, name), 'torn by a power CUT');
    }
    const third = cache();
    await third.fetch(file, wait);
    expect(reads).toBe(2);
    third.place(file, at('b'));
    expect(readFileSync(at('b'), 'utf8')).toBe('torn by a power cut');
  });

  it('survives a directory that somebody cleaned', async () => {
    const files = cache();
    const file = content('gone');
    await files.fetch(file, wait);
    const folder = join(dir, 'cache', file.hash.toString('hex').slice(0, 2));
    for (const name of readdirSync(folder)) rmSync(join(folder, name));
    expect(files.place(file, at('a'))).toBe(false);
    await files.fetch(file, wait);
    expect(files.place(file, at('a'))).toBe(true);
  });
});
