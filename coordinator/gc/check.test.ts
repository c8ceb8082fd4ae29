import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { NEVER } from '../../core/signals.js';
import { encodeNode, runToText, Storage, writeRun, type RunRef } from '../../storage/index.js';
import { MemoryStore } from '../../storage/memory-store.js';
import { keyOf, objectOf } from '../../storage/refs.js';
import type { DirNode, RunOp } from '../../storage/types.js';
import { checkObjects, type EtcdRecord } from './check.js';

const wait = { signal: NEVER };
let objects: MemoryStore;
let storage: Storage;
let records: EtcdRecord[];
let directory: string;

beforeEach(() => {
  objects = new MemoryStore();
  storage = new Storage(objects, { epoch: 1, cacheBytes: 0, log: silentLog, clock: systemClock });
  records = [];
  directory = mkdtempSync(join(tmpdir(), 'tusk-check-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function runOf(files: Readonly<Record<string, Buffer>>): Promise<RunRef> {
  const writer = storage.newWriter(wait);
  const ops: RunOp[] = [];
  for (const [path, bytes] of Object.entries(files)) {
    ops.push({ op: 'set', path, seq: ops.length, content: await writer.writeBytes(bytes) });
  }
  await writer.flush(wait);
  return writeRun(storage, ops, wait);
}

async function commit(
  name: string,
  files: Readonly<Record<string, Buffer>>,
  base?: DirNode,
): Promise<DirNode> {
  const options = { ...wait, ordinal: 1, mode: 'put' } as const;
  const root = await storage.trees.apply(base, [await runOf(files)], options);
  const value = JSON.stringify({ root: encodeNode(root).toString('base64') });
  records.push({ key: `cm/${name}`, value });
  return root;
}

async function keyAt(root: DirNode, path: string): Promise<string> {
  const node = await storage.trees.lookup(root, path, wait);
  const location = node?.type === 'file' ? node.pieces[0]?.location : undefined;
  return location ? keyOf(objectOf(location)) : '';
}

async function check(data = false): Promise<string[]> {
  const findings: string[] = [];
  const sorted = [...records].sort((a, b) => (a.key < b.key ? -1 : 1));
  await checkObjects(storage, {
    ...{ ...wait, data, directory, onFinding: (text) => findings.push(text) },
    records: async function* () {
      yield* await Promise.resolve(sorted);
    },
  });
  return findings;
}

const damage = (key: string): Promise<void> =>
  objects.put(key, Buffer.from('something else'), { ...wait, sha256: Buffer.alloc(32) });

describe('a check of the object store', () => {
  it('says nothing about what is whole', async () => {
    const first = await commit('r/1', {
      '/d/small': Buffer.from('x'),
      '/big': randomBytes(2 << 20),
    });
    await commit('r/2', { '/new': Buffer.from('y') }, first);
    expect(await check()).toEqual([]);
    expect(await check(true)).toEqual([]);
  });

  it('names the file, and the first and last commit that have it', async () => {
    const first = await commit('r/1', { '/d/big': randomBytes(2 << 20) });
    const second = await commit('r/2', { '/d/new': Buffer.from('y') }, first);
    await commit('r/3', { '/e': Buffer.from('z') }, second);
    await commit('s/1', { '/e': Buffer.from('z') });
    const key = await keyAt(first, '/d/big');
    await objects.delete([key], wait);
    expect(await check()).toEqual([
      `storage error: object ${key} is missing: file /d/big in r@1 and 2 later commits, the last r@3, can not be read`,
    ]);
  });

  it('finds changed bytes when it reads them', async () => {
    const root = await commit('r/1', { '/a': Buffer.from('a'), '/b': Buffer.from('b') });
    const key = await keyAt(root, '/a');
    await damage(key);
    expect(await check()).toEqual([]);
    const why = `storage error: object ${key} is damaged: its bytes do not match its name`;
    expect(await check(true)).toEqual(
      ['/a', '/b'].map((path) => `${why}: file ${path} in r@1 can not be read`),
    );
  });

  it('goes on behind a page that is gone', async () => {
    const many = Object.fromEntries(
      Array.from({ length: 12_000 }, (_, i) => [`/many/${i}`, Buffer.from(`${i % 7}`)]),
    );
    await commit('r/1', { ...many, '/other/big': randomBytes(2 << 20) });
    const pages: string[] = [];
    for await (const { key } of objects.list('page/', wait)) pages.push(key);
    // Leaves of /many: what they refer to is only in the pack.
    let found: string[] = [];
    for (const key of pages) {
      const bytes = await objects.get(key, wait);
      await objects.delete([key], wait);
      const lines = await check();
      expect(lines).toEqual([
        expect.stringContaining(`object ${key} is missing: a part of directory /`),
      ]);
      found = [...found, ...lines];
      await objects.put(key, bytes, { ...wait, sha256: Buffer.alloc(32) });
    }
    expect(found.length).toBeGreaterThan(1);
    expect(found.join('\n')).toContain('a part of directory /many in r@1 can not be read');
  });

  it('says what jobs, uploads and other records lose', async () => {
    const put = async (value: unknown): Promise<string> => storage.putJson(value, wait);
    const segment = await put([{ files: [] }]);
    const plan = await put({ spec: await put({ epoch: 1 }), segments: [{ ref: segment }] });
    records.push({ key: 'job/p/j', value: JSON.stringify({ plan }) });
    const run = await runOf({ '/open': randomBytes(2 << 20) });
    const dl = JSON.stringify({ runs: [runToText(run)] });
    records.push({ key: 'dl/r/9/x', value: dl });
    await objects.delete([segment.slice(0, segment.lastIndexOf('/'))], wait);
    const chunks: string[] = [];
    for await (const { key } of objects.list('c/', wait)) chunks.push(key);
    await objects.delete([chunks[0] as string], wait);
    expect(await check()).toEqual([
      `storage error: object ${chunks[0]} is missing: file /open in the open commit r@9 can not be read`,
      `storage error: object ${segment.slice(0, segment.lastIndexOf('/'))} is missing: a part of the plan, results, logs or statistics of job j of pipeline p can not be read`,
    ]);
  });
});
