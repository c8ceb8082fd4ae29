/** Listings against the obvious: all keys sorted bytewise, filtered and rolled up. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { Storage, writeRun, type DirNode, type RunOp } from '../../storage/index.js';
import { MemoryStore } from '../../storage/memory-store.js';
import { listPage, type PageRequest } from './listing.js';

const wait = { signal: new AbortController().signal };

async function tree(storage: Storage, keys: Iterable<string>): Promise<DirNode> {
  const writer = storage.newWriter(wait);
  const ops: RunOp[] = [];
  for (const key of keys) {
    const seq = ops.length;
    if (key.endsWith('/')) ops.push({ op: 'mkdir', path: `/${key.slice(0, -1)}`, seq });
    else ops.push({ op: 'set', path: `/${key}`, seq, content: writer.addSmall(Buffer.from(key)) });
  }
  await writer.flush(wait);
  const run = await writeRun(storage, ops, wait);
  return storage.trees.apply(undefined, [run], { ...wait, ordinal: 1, mode: 'put' });
}

function newStorage(): { storage: Storage; store: MemoryStore } {
  const store = new MemoryStore();
  const deps = { epoch: 1, log: silentLog, clock: systemClock };
  return { storage: new Storage(store, deps), store };
}

const byBytes = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));

/** What S3 would list. */
function naive(keys: readonly string[], request: PageRequest): string[] {
  const { prefix, delimiter, after } = request;
  const seen = new Set<string>();
  for (const key of [...keys].sort(byBytes)) {
    if (!key.startsWith(prefix) || (after !== undefined && byBytes(key, after) <= 0)) continue;
    const at = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const shown = at < 0 ? key : key.slice(0, at + delimiter.length);
    if (shown !== after) seen.add(shown);
  }
  return [...seen];
}

async function list(storage: Storage, root: DirNode, request: PageRequest): Promise<string[]> {
  const page = await listPage(storage.trees, root, request, wait);
  return [...page.keys.map(({ key }) => key), ...page.prefixes].sort(byBytes);
}

/** Few letters around the slash, so that names often begin with one another. */
const name = fc.string({
  unit: fc.constantFrom('a', '-', '.', '0', 'é', '~'),
  minLength: 1,
  maxLength: 3,
});
const path = fc
  .array(name, { minLength: 1, maxLength: 3 })
  .filter((parts) => parts.every((part) => part !== '.' && part !== '..'))
  .map((parts) => parts.join('/'));
const anyText = fc.oneof(
  path,
  path.map((text) => `${text}/`),
  path.map((text) => text.slice(0, 2)),
);

/** Keys that can be there together: no file above another, directories only where they are empty. */
function compatible(paths: readonly string[], markers: readonly string[]): string[] {
  const keys: string[] = [];
  const clash = (a: string, b: string): boolean =>
    a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`);
  for (const each of paths) if (!keys.some((key) => clash(key, each))) keys.push(each);
  for (const each of markers) {
    if (!keys.some((key) => clash(key.replace(/\/$/, ''), each))) keys.push(`${each}/`);
  }
  return keys;
}

describe('keys of a tree', () => {
  it('are listed as S3 lists them, from anywhere, with any prefix and delimiter', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(path, { maxLength: 14 }),
        fc.array(path, { maxLength: 3 }),
        fc.array(
          fc.record({
            prefix: fc.oneof(fc.constant(''), anyText),
            delimiter: fc.constantFrom('', '/', '/', '-', 'a'),
            after: fc.option(anyText, { nil: undefined }),
          }),
          { minLength: 1, maxLength: 8 },
        ),
        async (paths, markers, requests) => {
          const keys = compatible(paths, markers);
          const { storage } = newStorage();
          const root = await tree(storage, keys);
          for (const each of requests) {
            const request = { ...each, count: 1000 };
            expect(await list(storage, root, request)).toEqual(naive(keys, request).sort(byBytes));
          }
        },
      ),
      { numRuns: 150 },
    );
  });

  it('come in pages that join without gap or repeat', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(path, { maxLength: 20 }),
        fc.constantFrom('', '/', '-'),
        fc.integer({ min: 1, max: 4 }),
        async (paths, delimiter, count) => {
          const keys = compatible(paths, []);
          const { storage } = newStorage();
          const root = await tree(storage, keys);
          const all: string[] = [];
          let after: string | undefined;
          do {
            const page = await listPage(
              storage.trees,
              root,
              { prefix: '', delimiter, after, count },
              wait,
            );
            const shown = [...page.keys.map(({ key }) => key), ...page.prefixes].sort(byBytes);
            expect(shown.length).toBeLessThanOrEqual(count);
            all.push(...shown);
            after = page.next;
          } while (after !== undefined);
          const request = { prefix: '', delimiter, after: undefined, count: 1000 };
          expect(all).toEqual(naive(keys, request).sort(byBytes));
        },
      ),
      { numRuns: 60 },
    );
  });

  it('cost what the page holds, not what the tree holds', async () => {
    const { storage, store } = newStorage();
    const keys = Array.from({ length: 30_000 }, (_unused, i) => {
      const text = String(i).padStart(5, '0');
      return `dir${text.slice(0, 2)}/${text}-some-longer-name.txt`;
    });
    const root = await tree(storage, keys);
    const before = store.calls.get;
    const request = { prefix: '', delimiter: '', after: 'dir17/17500-a', count: 10 };
    expect(await list(storage, root, request)).toEqual(keys.slice(17_500, 17_510));
    const rolled = { prefix: '', delimiter: '/', after: 'dir17/', count: 10 };
    expect(await list(storage, root, rolled)).toHaveLength(10);
    expect(store.calls.get - before).toBeLessThan(20);
  });
});
