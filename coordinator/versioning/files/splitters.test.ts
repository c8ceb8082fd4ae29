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
import { SqlSplitter } from './sql-splitter.js';

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

async function textOf(content: FileContent | undefined): Promise<string | undefined> {
  if (!content) return undefined;
  const bytes: Buffer[] = [];
  for await (const part of storage.read(content, wait)) bytes.push(part);
  return Buffer.concat(bytes).toString();
}

/** As split, with header and footer. */
async function splitAround(
  kind: Kind | 'sql',
  parts: readonly Buffer[],
  records: number,
): Promise<{ header?: string | undefined; files: string[]; footer?: string | undefined }> {
  const writer = storage.newWriter(wait);
  const files: FileContent[] = [];
  const limits = { datums: 0, bytes: 0 };
  const grouper = new RecordGrouper(writer, limits, (file) => void files.push(file), records);
  const splitter = kind === 'sql' ? new SqlSplitter(grouper, writer) : new kind(grouper);
  for (const part of parts) await splitter.write(part);
  await splitter.end();
  const header = await grouper.header();
  const footer = splitter instanceof SqlSplitter ? await splitter.footer() : undefined;
  await writer.flush(wait);
  const texts: string[] = [];
  for (const file of files) texts.push((await textOf(file)) ?? '');
  return { header: await textOf(header), files: texts, footer: await textOf(footer) };
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

describe('headers', () => {
  it('are the first records, fewer when the input ends', async () => {
    expect(await splitAround(LineSplitter, text('h1\nh2\na\nb'), 2)).toMatchObject({
      header: 'h1\nh2\n',
      files: ['a\n', 'b'],
    });
    expect(await splitAround(LineSplitter, text('h1\nh2'), 3)).toMatchObject({
      header: 'h1\nh2',
      files: [],
    });
    const empty = await splitAround(LineSplitter, [], 3);
    expect(empty).toMatchObject({ header: undefined, files: [] });
    expect(await splitAround(CsvSplitter, text('a,b\r\n1,"2"\r\n'), 1)).toMatchObject({
      header: 'a,b\n',
      files: ['1,2\n'],
    });
    expect(await splitAround(JsonSplitter, text('[1, 2] {"a": 1}\n3 '), 1)).toMatchObject({
      header: '[1, 2]',
      files: ['{"a": 1}', '3'],
    });
  });

  it('do not depend on how the input is cut', async () => {
    const value = 'head,er\n1,2\n3,"4\n5"\n6,7';
    const expected = await splitAround(CsvSplitter, text(value), 1);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 30 }), { maxLength: 5 }), async (at) => {
        expect(await splitAround(CsvSplitter, cut(value, at), 1)).toEqual(expected);
      }),
      { numRuns: 30 },
    );
  });
});

describe('dumps of tables', () => {
  const head = '--\n-- PostgreSQL database dump\n--\n\nCOPY public.cars (name, mpg) FROM stdin;\n';
  const foot = '\\.\n\n--\n-- complete\n';

  it('give header, rows and footer, however they arrive', async () => {
    const expected = { header: head, files: ['Tesla\t1\n', 'Ford\t2\n'], footer: foot };
    const value = `${head}Tesla\t1\nFord\t2\r\n${foot}`;
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat({ max: 200 }), { maxLength: 6 }), async (at) => {
        expect(await splitAround('sql', cut(value, at), 0)).toEqual(expected);
      }),
      { numRuns: 50 },
    );
    expect(await splitAround('sql', text(value), 1)).toEqual({
      header: `${head}Tesla\t1\n`,
      files: ['Ford\t2\n'],
      footer: foot,
    });
    const bare = await splitAround('sql', text(`${head}Tesla\t1\n\\.`), 0);
    expect(bare).toEqual({ header: head, files: ['Tesla\t1\n'], footer: '\\.' });
  });

  it('must be whole', async () => {
    const failing = (value: string): Promise<string> =>
      splitAround('sql', text(value), 0).then(
        () => 'no error',
        (error: unknown) => messageOf(error),
      );
    expect(await failing('')).toBe('invalid header - missing row inserts');
    expect(await failing('-- nothing\nSELECT 1;\n')).toBe('invalid header - missing row inserts');
    expect(await failing(head)).toBe('invalid pgdump - missing footer');
    expect(await failing(`${head}Tesla\t1\n`)).toBe('invalid pgdump - missing footer');
    expect(await failing(`${head}Tesla\t1`)).toBe('invalid pgdump - missing footer');
  });
});
