import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { silentLog } from '../core/log.js';
import { NEVER } from '../core/signals.js';
import type { WorkDatum } from '../queue/messages.js';
import { encodeNode, Storage, type FileContent } from '../storage/index.js';
import { MemoryStore } from '../storage/memory-store.js';
import { keyOf, objectOf } from '../storage/refs.js';
import type { PieceLocation } from '../storage/types.js';
import { until } from '../test/support/until.js';
import { InputCache } from './input-cache.js';
import { SlotFiles } from './slot-files.js';
import { TaskInputs } from './task-inputs.js';

const wait = { signal: NEVER };
const LARGE = 300_000;
let dir = '';
let storage: Storage;
let cache: InputCache;
let files: SlotFiles;
let contents: FileContent[];
let datums: WorkDatum[];
let texts: Buffer[];

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tusk-inputs-'));
  storage = new Storage(new MemoryStore(), { epoch: 1, log: silentLog, clock: systemClock });
  const read = (content: FileContent) => storage.read(content, wait);
  cache = new InputCache({ dir: join(dir, 'cache'), bytesMax: 1e9, copies: false, read });
  files = new SlotFiles(join(dir, 'slot'));
  const writer = storage.newWriter(wait);
  texts = Array.from({ length: 4 }, () => randomBytes(LARGE));
  contents = [];
  for (const text of texts) contents.push(await writer.writeBytes(text));
  await writer.flush(wait);
  datums = contents.map((content, index) => ({
    ...{ index, id: String(index), tag: String(index) },
    inputs: [
      {
        ...{ name: 'in', repo: 'in', branch: 'master', commit: 'c', path: `/f${index}` },
        node: encodeNode({ type: 'file', ...content, changed: 0 }).toString('base64'),
      },
    ],
  }));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function inputs(queueSize?: number): TaskInputs {
  return new TaskInputs({ storage, trees: storage.trees, cache }, datums, wait, queueSize);
}

/** Small files of a datum each, all in one pack, of which the second is damaged. */
async function damagedPack(): Promise<void> {
  const writer = storage.newWriter(wait);
  const small: FileContent[] = [];
  for (let i = 0; i < 3; i += 1) small.push(await writer.writeBytes(Buffer.alloc(500, `${i}`)));
  await writer.flush(wait);
  const [, { pieces: [piece] } = { pieces: [] }] = small;
  const { location } = piece as { location: PieceLocation };
  const key = keyOf(objectOf(location));
  const bytes = await storage.objects.get(key, wait);
  bytes[location.offset + 5] = 0;
  await storage.objects.put(key, bytes, wait);
  datums = datums.slice(0, 3).map((datum, i) => ({
    ...datum,
    inputs: datum.inputs.map((input) => ({
      ...input,
      node: encodeNode({ type: 'file', ...(small[i] as FileContent), changed: 0 }).toString(
        'base64',
      ),
    })),
  }));
}

it('damage fails the datum that reads it, not those whose files lie beside it', async () => {
  await damagedPack();
  const task = inputs();
  expect(await task.place(0, files)).toBe(500);
  await files.clear();
  await expect(task.place(1, files)).rejects.toMatchObject({ code: 'CORRUPT_DATA' });
  await files.clear();
  expect(await task.place(2, files)).toBe(500);
  expect(readFileSync(join(files.pfs, 'in/f2'), 'utf8')).toBe('2'.repeat(500));
  await task.finish();
});

const here = (): boolean[] => contents.map((content) => cache.has(content));

describe('inputs of the next datums', () => {
  it('come while one runs, as many as the queue holds, and count for their own datum', async () => {
    const task = inputs(3);
    expect(await task.place(0, files)).toBe(LARGE);
    expect(here()).toEqual([true, false, false, false]);
    task.runAhead(0);
    await until('two more are here', () => here()[2]);
    expect(here()).toEqual([true, true, true, false]);
    for (const at of [1, 2]) {
      await files.clear();
      expect(await task.place(at, files)).toBe(LARGE);
      const got = readFileSync(join(files.pfs, `in/f${at}`));
      expect(got.equals(texts[at] as Buffer)).toBe(true);
    }
    await task.finish();
  });

  it('wait for their turn when the queue holds one', async () => {
    const task = inputs();
    await task.place(0, files);
    task.runAhead(0);
    await task.finish();
    expect(here()).toEqual([true, false, false, false]);
  });

  it('are not fetched on when the task ends', async () => {
    const task = inputs(4);
    await task.place(0, files);
    task.runAhead(0);
    await task.finish();
    expect(here()[3]).toBe(false);
  });
});
