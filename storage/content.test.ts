import fc from 'fast-check';
import { createCipheriv, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../core/clock.js';
import { codeOf, messageOf } from '../core/errors.js';
import { silentLog } from '../core/log.js';
import { sha256 } from '../core/sha256.js';
import { CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Chunker, GEAR } from './chunker.js';
import { keyOf, objectOf, openStorage, type FileContent, type Storage } from './index.js';

let base = '';
let storage: Storage;
const signal = new AbortController().signal;
const wait = { signal };
beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'tusk-content-'));
  storage = await openStorage({
    url: `dir://${base}`,
    epoch: 3,
    log: silentLog,
    clock: systemClock,
  });
});
afterAll(async () => {
  await storage[Symbol.asyncDispose]();
  await rm(base, { recursive: true, force: true });
});

/** The bytes of golden vectors: AES-256-CTR of zeros, key sha256(name), zero counter block. */
function goldenBytes(size: number, name = 'tusk golden'): Buffer {
  const cipher = createCipheriv('aes-256-ctr', sha256(name), Buffer.alloc(16));
  return cipher.update(Buffer.alloc(size));
}

async function put(parts: readonly Uint8Array[]): Promise<FileContent> {
  const writer = storage.newWriter(wait);
  const sink = writer.beginFile();
  for (const part of parts) await sink.write(part);
  const content = await sink.end();
  await writer.flush(wait);
  return content;
}

async function read(content: FileContent, range = {}): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of storage.read(content, { signal, ...range })) parts.push(part);
  return Buffer.concat(parts);
}

/** Cuts bytes at the given fractions. */
function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [0, ...cuts.map((cut) => Math.floor(cut * bytes.length)), bytes.length];
  at.sort((a, b) => a - b);
  return at.slice(1).map((end, i) => bytes.subarray(at[i], end));
}

const fractions = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 12 });

describe('chunking and content hash', () => {
  it('keeps the golden vectors of docs/formats/objects.md', async () => {
    expect([GEAR[0], GEAR[1], GEAR[255]].map((v) => (v as number) >>> 0)).toMatchInlineSnapshot(`
      [
        3115732410,
        3374081912,
        2246311065,
      ]
    `);
    const golden = [];
    for (const size of [0, 1, 1_048_576, 4_194_304, 20_000_000, 50_000_000]) {
      const content = await put([goldenBytes(size)]);
      golden.push({
        size,
        pieces: content.pieces.map((piece) => piece.size).join(' '),
        hash: content.hash.toString('hex'),
      });
    }
    expect(golden).toMatchInlineSnapshot(`
      [
        {
          "hash": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
          "pieces": "",
          "size": 0,
        },
        {
          "hash": "08f271887ce94707da822d5263bae19d5519cb3614e0daedc4c7ce5dab7473f1",
          "pieces": "1",
          "size": 1,
        },
        {
          "hash": "ec4b2cc732db12bba2e3cc490ba574b3acd611d80235e3f68bc2703b9df6cda9",
          "pieces": "1048576",
          "size": 1048576,
        },
        {
          "hash": "69ec91643b83d748f806c0cf4f8bb01c22a149ff44a98a080a730d4e7b9ab22f",
          "pieces": "4194304",
          "size": 4194304,
        },
        {
          "hash": "92d4b5e39dc948b5b17fcc439e0304c6608667b19b4a9a3be03a851d7ade1b0e",
          "pieces": "15142595 4362650 494755",
          "size": 20000000,
        },
        {
          "hash": "0f57d6a5b27339a62d5e6320697b4020c2b56f978771fd74b8d3345b8c51cf84",
          "pieces": "15142595 4362650 6266954 4895956 10466138 8263907 601800",
          "size": 50000000,
        },
      ]
    `);
  });

  it('cuts the same whatever the sizes of the writes', async () => {
    const bytes = goldenBytes(30_000_000, 'writes');
    const expected = (await put([bytes])).hash.toString('hex');
    await fc.assert(
      fc.asyncProperty(fractions, async (cuts) => {
        const content = await put(cutAt(bytes, cuts));
        expect(content.hash.toString('hex')).toBe(expected);
      }),
      { numRuns: 6 },
    );
    const tiny = Array.from({ length: 300_000 }, (_unused, i) =>
      bytes.subarray(i * 100, i * 100 + 100),
    );
    expect((await put(tiny)).hash.toString('hex')).toBe(expected);
  });

  it('keeps chunk sizes within the limits and finds its step again after an insert', () => {
    const sizes = (bytes: Buffer): number[] => {
      const chunker = new Chunker();
      const cuts: number[] = [];
      for (let from = 0; ;) {
        const cut = chunker.next(bytes, from);
        if (cut < 0) return cuts;
        expect(cut - from).toBeGreaterThanOrEqual(CHUNK_BYTES_MIN);
        expect(cut - from).toBeLessThanOrEqual(CHUNK_BYTES_MAX);
        cuts.push(cut);
        from = cut;
      }
    };
    const bytes = randomBytes(100_000_000);
    const before = sizes(bytes);
    const after = sizes(
      Buffer.concat([bytes.subarray(0, 100), Buffer.from('!'), bytes.subarray(100)]),
    );
    expect(after.slice(-2)).toEqual(before.slice(-2).map((cut) => cut + 1));
    // Bytes that never make a boundary are cut at the maximum.
    expect(sizes(Buffer.alloc(40_000_000)).every((cut) => cut % CHUNK_BYTES_MAX === 0)).toBe(true);
  });
});

describe('canonical concatenation', () => {
  it('equals one put of the same bytes, for any cuts', async () => {
    const bytes = goldenBytes(34_000_000, 'appends');
    const expected = await put([bytes]);
    await fc.assert(
      fc.asyncProperty(fractions, async (cuts) => {
        const contents = [];
        for (const part of cutAt(bytes, cuts)) contents.push(await put([part]));
        const joined = await storage.canonical(contents, wait);
        expect(joined.hash.equals(expected.hash)).toBe(true);
        expect(joined.size).toBe(bytes.length);
        expect(joined.pieces.map((p) => p.size)).toEqual(expected.pieces.map((p) => p.size));
      }),
      { numRuns: 5 },
    );
  });

  it('gathers very many tiny appends', async () => {
    const writer = storage.newWriter(wait);
    const contents: FileContent[] = [];
    for (let i = 0; i < 20_000; i += 1)
      contents.push(await writer.writeBytes(Buffer.from(`line ${i}\n`)));
    await writer.flush(wait);
    const joined = await storage.canonical(contents, wait);
    expect(joined.pieces.length).toBe(1);
    const text = Array.from({ length: 20_000 }, (_unused, i) => `line ${i}\n`).join('');
    expect((await read(joined)).toString()).toBe(text);
    expect(joined.hash.equals((await put([Buffer.from(text)])).hash)).toBe(true);
  });
});

describe('reading', () => {
  it('gives any range', async () => {
    const bytes = goldenBytes(21_000_000, 'ranges');
    const content = await put([bytes]);
    expect((await read(content)).equals(bytes)).toBe(true);
    await fc.assert(
      fc.asyncProperty(fc.nat(22_000_000), fc.nat(22_000_000), async (offset, length) => {
        const got = await read(content, { offset, length });
        expect(got.equals(bytes.subarray(offset, offset + length))).toBe(true);
      }),
      { numRuns: 8 },
    );
  });

  it('gives many small files with few requests, big and empty ones among them', async () => {
    const writer = storage.newWriter(wait);
    const files: { key: number; content: FileContent; bytes: Buffer }[] = [];
    for (let i = 0; i < 3000; i += 1) {
      const size = i === 1500 ? 9_000_000 : i % 100 === 7 ? 0 : 100 + (i % 5000);
      const bytes = goldenBytes(size, `file ${i}`);
      const sink = writer.beginFile();
      await sink.write(bytes);
      files.push({ key: i, content: await sink.end(), bytes });
    }
    await writer.flush(wait);
    let requests = 0;
    const get = storage.objects.get.bind(storage.objects);
    storage.objects.get = (key, options) => {
      requests += 1;
      return get(key, options);
    };
    let next = 0;
    for await (const item of storage.readMany(async_(files), wait)) {
      const file = files[next] as (typeof files)[number];
      expect(item.key).toBe(next);
      let bytes = item.bytes;
      if (item.chunks) {
        const parts = [];
        for await (const part of item.chunks) parts.push(part);
        bytes = Buffer.concat(parts);
      }
      expect(bytes?.equals(file.bytes)).toBe(true);
      next += 1;
    }
    storage.objects.get = get;
    expect(next).toBe(3000);
    expect(requests).toBeLessThan(12);
  });

  it('reads again what was garbled on the way', async () => {
    const bytes = goldenBytes(5000, 'garbled');
    const content = await put([bytes]);
    const get = storage.objects.get;
    let reads = 0;
    storage.objects.get = async (...args) => {
      const got = Buffer.from(await get.apply(storage.objects, args));
      reads += 1;
      if (reads === 1) got[100] = (got[100] ?? 0) ^ 1;
      return got;
    };
    try {
      expect((await read(content)).equals(bytes)).toBe(true);
    } finally {
      storage.objects.get = get;
    }
    expect(reads).toBe(2);
  });

  it('names the object that is damaged or missing', async () => {
    const content = await put([goldenBytes(5000, 'damaged')]);
    const [piece] = content.pieces;
    if (!piece?.location) throw new Error('a small file has one piece with a location');
    const key = keyOf(objectOf(piece.location));
    await storage.objects.delete([key], wait);
    const missing = await read(content).catch((error: unknown) => error);
    expect(codeOf(missing)).toBe('CORRUPT_DATA');
    expect(messageOf(missing)).toContain(key);
    await storage.objects.put(key, Buffer.alloc(5000), wait);
    const damaged = await read(content).catch((error: unknown) => error);
    expect(codeOf(damaged)).toBe('CORRUPT_DATA');
    expect(messageOf(damaged)).toContain(key);
    const ref = await storage.putObject('blob', Buffer.from('a blob of its own'), wait);
    await storage.objects.delete([keyOf(ref)], wait);
    expect(codeOf(await storage.getObject(ref, wait).catch((e: unknown) => e))).toBe(
      'CORRUPT_DATA',
    );
  });
});

describe('the writer', () => {
  it('stores equal small pieces once and shares packs', async () => {
    const writer = storage.newWriter(wait);
    const a = await writer.writeBytes(Buffer.from('same'));
    const b = await writer.writeBytes(Buffer.from('other'));
    const c = await writer.writeBytes(Buffer.from('same'));
    expect(a.pieces[0]?.location).toBeUndefined();
    await writer.flush(wait);
    expect(c.pieces[0]?.location).toEqual(a.pieces[0]?.location);
    expect(b.pieces[0]?.location?.digest).toEqual(a.pieces[0]?.location?.digest);
  });

  it('fails every later step when an upload failed', async () => {
    const broken = Object.create(storage.objects) as typeof storage.objects;
    broken.put = () => Promise.reject(new Error('no store'));
    const { ContentWriter } = await import('./content-writer.js');
    const writer = new ContentWriter(broken, { signal, epoch: 1 });
    await writer.writeBytes(Buffer.from('x'));
    await expect(writer.flush(wait)).rejects.toThrow('no store');
    await expect(writer.writeBytes(Buffer.from('y'))).rejects.toThrow('no store');
  });

  it('keeps JSON values', async () => {
    const value = { list: [1, 2, 3], text: 'ü' };
    expect(await storage.getJson(await storage.putJson(value, wait), wait)).toEqual(value);
  });
});

async function* async_<T>(items: Iterable<T>): AsyncGenerator<T> {
  yield* items;
}
