import fc from 'fast-check';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../../core/clock.js';
import { codeOf, messageOf } from '../../../core/errors.js';
import { silentLog } from '../../../core/log.js';
import { openStorage, type Storage } from '../../../storage/index.js';
import type { FileContent } from '../../../storage/types.js';
import { CsvSplitter } from './csv-splitter.js';
import { JsonSplitter } from './json-splitter.js';
import { LineSplitter, type Splitter } from './line-splitter.js';
import { RecordGrouper } from './record-grouper.js';

let base = '';
let storage: Storage;
const wait = { signal: new AbortController().signal };
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'tusk-split-'));
  storage = await openStorage({
    url: `dir://${base}`,
    epoch: 0,
    log: silentLog,
    clock: systemClock,
  });
});
afterAll(async () => {
  await storage[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

type Kind = new (files: RecordGrouper) => Splitter;

/** The texts of the files that the parts are cut into. */
async function split(
  kind: Kind,
  parts: readonly Buffer[],
  limits = { datums: 0, bytes: 0 },
): Promise<string[]> {
  const writer = storage.newWriter(wait);
  const files: FileContent[] = [];
  const splitter = new kind(new RecordGrouper(writer, limits, (file) => void files.push(file)));
  for (const part of parts) await splitter.write(part);
  await splitter.end();
  await writer.flush(wait);
  const texts: string[] = [];
  for (const file of files) {
    const bytes: Buffer[] = [];
    for await (const part of storage.read(file, wait)) bytes.push(part);
    texts.push(Buffer.concat(bytes).toString());
  }
  return texts;
}

const text = (value: string): Buffer[] => [Buffer.from(value)];

/** Cuts at arbitrary places: what comes out must not depend on it. */
function cut(value: string, at: readonly number[]): Buffer[] {
  const bytes = Buffer.from(value);
  const places = [0, ...at.map((place) => place % (bytes.length + 1)), bytes.length];
  places.sort((a, b) => a - b);
  return places.slice(1).map((end, i) => bytes.subarray(places[i], end));
}

describe('lines', () => {
  it('makes one file per line, keeping bytes exact and an unfinished last line', async () => {
    expect(await split(LineSplitter, text('a\r\nb\n\nc'))).toEqual(['a\r\n', 'b\n', '\n', 'c']);
    expect(await split(LineSplitter, [])).toEqual([]);
    expect(await split(LineSplitter, text('a\n'))).toEqual(['a\n']);
  });

  it('groups by records and by bytes', async () => {
    const lines = text('1\n22\n333\n4444\n5');
    expect(await split(LineSplitter, lines, { datums: 2, bytes: 0 })).toEqual([
      '1\n22\n',
      '333\n4444\n',
      '5',
    ]);
    expect(await split(LineSplitter, lines, { datums: 0, bytes: 5 })).toEqual([
      '1\n22\n',
      '333\n4444\n',
      '5',
    ]);
    expect(await split(LineSplitter, lines, { datums: 2, bytes: 2 })).toEqual([
      '1\n',
      '22\n',
      '333\n',
      '4444\n',
      '5',
    ]);
  });

  it('does not depend on how the bytes arrive', async () => {
    const whole = Array.from({ length: 200 }, (_unused, i) => 'x'.repeat(i % 13)).join('\n');
    const limits = { datums: 7, bytes: 40 };
    const expected = await split(LineSplitter, text(whole), limits);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat()), async (places) => {
        expect(await split(LineSplitter, cut(whole, places), limits)).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });

  it('streams a line that is larger than any buffer', async () => {
    const line = Buffer.alloc(1_500_000, 'y');
    const parts = [line, line, Buffer.from('\nz')];
    const [first, second] = await split(LineSplitter, parts);
    expect(first?.length).toBe(3_000_001);
    expect(second).toBe('z');
  });

  it('is fast: 200,000 lines into 20,000 files', async () => {
    const lines = Array.from({ length: 200_000 }, (_unused, i) => `line ${i} of the table,1,2,3\n`);
    const bytes = Buffer.from(lines.join(''));
    const start = performance.now();
    const writer = storage.newWriter(wait);
    let files = 0;
    const limits = { datums: 10, bytes: 0 };
    const splitter = new LineSplitter(new RecordGrouper(writer, limits, () => void (files += 1)));
    for (let at = 0; at < bytes.length; at += 1_000_000) {
      await splitter.write(bytes.subarray(at, at + 1_000_000));
    }
    await splitter.end();
    await writer.flush(wait);
    expect(files).toBe(20_000);
    expect(performance.now() - start).toBeLessThan(3_000);
  });
});

describe('JSON values', () => {
  it('keeps the exact text of each value and drops white space between them', async () => {
    const source = ' {"a": [1, "}]\\""]}\n[1]{"b":2} "s\\\\" 17 true\tnull ';
    const expected = ['{"a": [1, "}]\\""]}', '[1]', '{"b":2}', '"s\\\\"', '17', 'true', 'null'];
    expect(await split(JsonSplitter, text(source))).toEqual(expected);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat()), async (places) => {
        expect(await split(JsonSplitter, cut(source, places))).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });

  it('refuses values that are cut off or wrong', async () => {
    const open = await split(JsonSplitter, text('{"a": 1} {"b"')).catch((e: unknown) => e);
    expect(messageOf(open)).toBe('unexpected EOF');
    const wrong = await split(JsonSplitter, text('{"a": 1} nope')).catch((e: unknown) => e);
    expect(codeOf(wrong)).toBe('INVALID_INPUT');
  });
});

describe('CSV rows', () => {
  it('writes rows anew', async () => {
    const source = 'a,b\r\n\n"x\r\ny", z,"q""q"\n"","plain",\\.\nlast';
    const expected = ['a,b\n', '"x\ny"," z","q""q"\n', ',plain,"\\."\n', 'last\n'];
    expect(await split(CsvSplitter, text(source))).toEqual(expected);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat()), async (places) => {
        expect(await split(CsvSplitter, cut(source, places))).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });

  it('says where a quote is wrong', async () => {
    const failure = await split(CsvSplitter, text('a"b\n')).catch((e: unknown) => e);
    expect(messageOf(failure)).toBe('parse error on line 1, column 2: bare " in non-quoted-field');
  });
});
