/** Merging in rounds against merging all runs at once: the same tree, whatever the runs hold. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { messageOf } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import {
  selectionOf,
  Storage,
  writeRun,
  type ApplyOptions,
  type FileContent,
  type RunOp,
  type RunPart,
  type RunRef,
} from './index.js';
import { MemoryStore } from './memory-store.js';

const wait = { signal: new AbortController().signal };

interface Bench {
  readonly storage: Storage;
  readonly objects: MemoryStore;
  readonly contents: readonly FileContent[];
}

async function open(): Promise<Bench> {
  const objects = new MemoryStore();
  const storage = new Storage(objects, { epoch: 1, log: silentLog, clock: systemClock });
  const writer = storage.newWriter(wait);
  const contents: FileContent[] = [];
  for (let n = 0; n < 4; n += 1) contents.push(await writer.writeBytes(Buffer.from(`text ${n}\n`)));
  await writer.flush(wait);
  return { storage, objects, contents };
}

const path = fc.constantFrom('/a', '/b', '/d/a', '/d/b', '/d/e/a', '/x');
const seq = fc.nat({ max: 5 });
const which = fc.nat({ max: 3 });
type Word = readonly [kind: string, path: string, seq: number, which: number];

const wordOf = (...kinds: string[]): fc.Arbitrary<Word> =>
  fc.tuple(fc.constantFrom(...kinds), path, seq, which);

function opOf({ contents }: Bench, [kind, at, number, text]: Word, shift: number): RunOp {
  const content = contents[text] as FileContent;
  const place = { path: at, seq: number + shift };
  switch (kind) {
    case 'append':
    case 'set':
      return { op: kind, ...place, content };
    case 'split':
      return { op: 'split', ...place, files: [content, content] };
    case 'glob':
      return { op: 'deleteGlob', path: `${at}*`, seq: place.seq };
    case 'prune':
      return { op: 'delete', ...place, prune: true };
    case 'delete':
      return { op: 'delete', ...place };
    default:
      return { op: 'mkdir', ...place };
  }
}

/** The tree, or why there is none. */
async function outcome(
  { storage }: Bench,
  parts: readonly (RunRef | RunPart)[],
  options: ApplyOptions,
): Promise<unknown> {
  try {
    return await storage.trees.apply(undefined, parts, options);
  } catch (error) {
    return messageOf(error);
  }
}

async function runsOf(
  bench: Bench,
  lists: readonly (readonly Word[])[],
  shift: (index: number) => number,
): Promise<RunRef[]> {
  const runs: RunRef[] = [];
  for (const [index, words] of lists.entries()) {
    const ops = words.map((word) => opOf(bench, word, shift(index)));
    runs.push(await writeRun(bench.storage, ops, wait));
  }
  return runs;
}

const lists = (word: fc.Arbitrary<Word>) =>
  fc.array(fc.array(word, { maxLength: 4 }), { minLength: 1, maxLength: 40 });

describe('merging runs in rounds', () => {
  it('gives the tree of any uploads that merging them at once gives', async () => {
    const words = lists(wordOf('append', 'set', 'delete', 'prune', 'mkdir', 'split', 'glob'));
    await fc.assert(
      fc.asyncProperty(words, fc.integer({ min: 2, max: 7 }), async (ops, runsAtOnce) => {
        const bench = await open();
        const runs = await runsOf(bench, ops, () => 0);
        const options = { ...wait, ordinal: 3, mode: 'put' } as const;
        const whole = await outcome(bench, runs, options);
        expect(await outcome(bench, runs, { ...options, runsAtOnce })).toEqual(whole);
      }),
      { numRuns: 150 },
    );
  });

  it('gives the outputs of any datums, some taken, some in other places', async () => {
    const words = lists(wordOf('append', 'append', 'append', 'mkdir'));
    await fc.assert(
      fc.asyncProperty(
        words,
        fc.integer({ min: 2, max: 7 }),
        fc.boolean(),
        async (ops, runsAtOnce, turned) => {
          const bench = await open();
          // Six datums to a run; the last one does not count.
          const runs = await runsOf(bench, ops, (index) => index * 6);
          const parts = runs.map((run, index): RunPart => {
            const seqs = [0, 1, 2, 3, 4].map((n) => index * 6 + n);
            const place = (at: number): number => (turned ? 1_000_000 - at : at);
            return { run, select: selectionOf(seqs.map((at) => [at, place(at)])) };
          });
          const options = { ...wait, ordinal: 3, mode: 'merge' } as const;
          const whole = await outcome(bench, parts, options);
          expect(await outcome(bench, parts, { ...options, runsAtOnce })).toEqual(whole);
        },
      ),
      { numRuns: 150 },
    );
  });

  it('takes outputs out of a base', async () => {
    const bench = await open();
    const word = (n: number): Word => ['append', `/f${n}`, 0, n % 4];
    const ops = Array.from({ length: 40 }, (_, n) => [word(n)]);
    const runs = await runsOf(bench, ops, (index) => index);
    const options = { ...wait, ordinal: 3, mode: 'merge' } as const;
    const { trees } = bench.storage;
    const base = await trees.apply(undefined, runs.slice(0, 30), options);
    const gone = runs.slice(0, 20).map((run) => ({ run, subtract: true }));
    const parts = [...gone, ...runs.slice(30)];
    const whole = await trees.apply(base, parts, options);
    expect(whole.files).toBe(20);
    expect(await trees.apply(base, parts, { ...options, runsAtOnce: 3 })).toEqual(whole);
  });

  it('needs no rounds for few runs, and several for many', async () => {
    const bench = await open();
    const word = (n: number): Word => ['append', `/f${n}`, 0, n % 4];
    const ops = Array.from({ length: 64 }, (_, n) => [word(n)]);
    const runs = await runsOf(bench, ops, (index) => index);
    const options = { ...wait, ordinal: 3, mode: 'merge' } as const;
    const stored = async (): Promise<number> => {
      let count = 0;
      for await (const { key } of bench.objects.list('', wait))
        if (key.startsWith('run/')) count += 1;
      return count;
    };
    await bench.storage.trees.apply(undefined, runs, { ...options, runsAtOnce: 64 });
    expect(await stored()).toBe(0);
    // 64 runs make 16 of 4, those 4 of 16.
    await bench.storage.trees.apply(undefined, runs, { ...options, runsAtOnce: 4 });
    expect(await stored()).toBeGreaterThanOrEqual(16 + 4 - 2);
  });
});
