import { describe, expect, it } from 'vitest';
import { ArchiveEncoder, readArchive, type ArchiveHeader, type Frame } from './archive-format.js';

const HEADER: ArchiveHeader = {
  format: 1,
  archive: 'b7c1a3e2-0000-4000-8000-000000000001',
  version: '0.1.0',
  cluster: 'b7c1a3e2-0000-4000-8000-000000000002',
  created: 1_700_000_000_000,
  metadata: '1',
  epoch: 3,
  objects: true,
  pipelines: true,
};
const OBJECT = 'blob/1/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824';

function example(header = HEADER): Buffer {
  const encoder = new ArchiveEncoder();
  return Buffer.concat([
    ...encoder.header(header),
    ...encoder.object(OBJECT, Buffer.from('hello')),
    ...encoder.names([['c/1/ab', 5]]),
    ...encoder.records('records', [{ key: 'cm/a/b', value: Buffer.from('{}'), made: 7 }]),
    ...encoder.records('roots', [{ key: 'repo/a', value: Buffer.from([0xff, 0]), made: 9 }]),
    ...encoder.end(),
  ]);
}

async function* pieces(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) {
    yield await Promise.resolve(bytes.subarray(at, at + size));
  }
}

async function read(bytes: Buffer, size = 1000): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of readArchive(pieces(bytes, size))) frames.push(frame);
  return frames;
}

/**
 * Format 1, written by the release that introduced it: header, the object `hello`, a commit `{}`
 * made at 7, a repo `{}` made at 9, end. Never edited: archives live longer than releases.
 */
const GOLDEN = Buffer.from(
  'VFVTS0FSQwpI0QAAAF8lTI17ImZvcm1hdCI6MSwiYXJjaGl2ZSI6ImI3YzFhM2UyLTAwMDAtNDAwMC04MDAw' +
    'LTAwMDAwMDAwMDAwMSIsInZlcnNpb24iOiIwLjEuMCIsImNsdXN0ZXIiOiJiN2MxYTNlMi0wMDAwLTQwMDAt' +
    'ODAwMC0wMDAwMDAwMDAwMDIiLCJjcmVhdGVkIjoxNzAwMDAwMDAwMDAwLCJtZXRhZGF0YSI6IjEiLCJlcG9j' +
    'aCI6Mywib2JqZWN0cyI6dHJ1ZSwicGlwZWxpbmVzIjp0cnVlfU9NAAAASleJvkdibG9iLzEvMmNmMjRkYmE1' +
    'ZmIwYTMwZTI2ZTgzYjJhYzViOWUyOWUxYjE2MWU1YzFmYTc0MjVlNzMwNDMzNjI5MzhiOTgyNGhlbGxvTRUA' +
    'AACU/ZdJi45WSs7VT9RPUtJRqq5V0jGPjQUAUhUAAACneNlyi45WKkotyNdPVNJRqq5V0rGMjQUARW8AAABS' +
    'X/ameyJvYmplY3RzIjoxLCJieXRlcyI6NSwicmVjb3JkcyI6Miwic2hhMjU2IjoiMTgxYTFhMzcxNTJjM2Qz' +
    'NGRjMTUzZGNmY2MyNzFlMjljNTE3MzA3MmQ4ZjNmZDY3Mzk5Y2ZmNDlhZmIyZWI0YyJ9',
  'base64',
);

describe('an archive', () => {
  it.each([1, 7, 100_000])('comes back in pieces of %i bytes', async (size) => {
    expect(await read(example(), size)).toMatchObject([
      { kind: 'header', header: HEADER },
      { kind: 'object', key: OBJECT, bytes: Buffer.from('hello') },
      { kind: 'names', names: [['c/1/ab', 5]] },
      { kind: 'records', records: [{ key: 'cm/a/b', value: Buffer.from('{}'), made: 7 }] },
      { kind: 'roots', records: [{ key: 'repo/a', value: Buffer.from([0xff, 0]), made: 9 }] },
      { kind: 'end', totals: { objects: 2, bytes: 10, records: 2 } },
    ]);
  });

  it('of format 1 is read for ever', async () => {
    expect(await read(GOLDEN)).toMatchObject([
      { kind: 'header', header: HEADER },
      { kind: 'object', key: OBJECT, bytes: Buffer.from('hello') },
      { kind: 'records', records: [{ key: 'cm/a/b', value: Buffer.from('{}'), made: 7 }] },
      { kind: 'roots', records: [{ key: 'repo/a', value: Buffer.from('{}'), made: 9 }] },
      { kind: 'end', totals: { objects: 1, bytes: 5, records: 2 } },
    ]);
  });

  it('never ends well when it was cut off anywhere', async () => {
    const bytes = example();
    for (let length = 0; length < bytes.length; length += 1) {
      await expect(read(bytes.subarray(0, length))).rejects.toThrow(
        `the archive ends at byte ${length}, within `,
      );
    }
  });

  it('never ends well when any byte has changed', async () => {
    const bytes = example();
    for (let at = 0; at < bytes.length; at += 1) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] as number) ^ 0x10;
      await expect(read(changed)).rejects.toThrow(/archive/);
    }
  });

  it('never ends well with a frame left out, or with bytes behind its end', async () => {
    const encoder = new ArchiveEncoder();
    const header = encoder.header(HEADER);
    encoder.object(OBJECT, Buffer.from('hello'));
    const without = Buffer.concat([...header, ...encoder.end()]);
    await expect(read(without)).rejects.toThrow('parts are missing or belong to another archive');
    const more = Buffer.concat([example(), Buffer.from('x')]);
    await expect(read(more)).rejects.toThrow('there are bytes behind its end');
  });

  it('of a later format says what made it', async () => {
    const later = example({ ...HEADER, format: 2, version: '9.9.9' });
    await expect(read(later)).rejects.toThrow('the archive has format 2, this version reads 1');
  });
});
