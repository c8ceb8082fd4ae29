/** Archives made by a real tar, cut and joined at every boundary that matters. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TarReader, type TarSink } from './tar-stream.js';

let dir = '';
let first: Buffer;
let second: Buffer;

const tar = (args: readonly string[]): Buffer =>
  execFileSync('tar', ['-C', dir, '-cf', '-', ...args], { maxBuffer: 1 << 26 });

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tusk-tar-'));
  mkdirSync(join(dir, 'd'));
  writeFileSync(join(dir, 'a'), 'alpha');
  writeFileSync(join(dir, 'empty'), '');
  writeFileSync(join(dir, 'd', 'block'), 'b'.repeat(512));
  writeFileSync(join(dir, 'd', 'large'), 'c'.repeat(100_000));
  writeFileSync(join(dir, `n${'o'.repeat(150)}`), 'long name');
  first = tar(['a', 'empty', 'd']);
  second = tar([`n${'o'.repeat(150)}`]);
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

class Kept implements TarSink {
  readonly archives: Record<string, number>[] = [];
  #files: Record<string, number> = {};
  #path = '';
  file(path: string): void {
    this.#path = path;
    this.#files[path] = 0;
  }
  bytes(part: Buffer): Promise<void> {
    this.#files[this.#path] = (this.#files[this.#path] ?? 0) + part.length;
    return Promise.resolve();
  }
  fileEnd(): Promise<void> {
    this.#path = '';
    return Promise.resolve();
  }
  directory(): void {
    // Directories come with their files.
  }
  skipped(path: string, kind: string): void {
    this.#files[`${path} (${kind})`] = -1;
  }
  end(): Promise<void> {
    this.archives.push(this.#files);
    this.#files = {};
    return Promise.resolve();
  }
}

async function read(bytes: Buffer, chunk: number): Promise<Kept> {
  const kept = new Kept();
  const reader = new TarReader(kept);
  for (let at = 0; at < bytes.length; at += chunk)
    await reader.push(bytes.subarray(at, at + chunk));
  await reader.finish();
  return kept;
}

const FIRST = { a: 5, empty: 0, 'd/block': 512, 'd/large': 100_000 };

describe('TarReader', () => {
  it.each([1, 7, 511, 512, 513, 10_240, 1 << 20])('takes pieces of %i bytes', async (chunk) => {
    const { archives } = await read(Buffer.concat([first, second, first]), chunk);
    expect(archives).toEqual([FIRST, { [`n${'o'.repeat(150)}`]: 9 }, FIRST]);
  });

  it('takes an archive that stops between entries without its end marker', async () => {
    const end = first.lastIndexOf('c') + 1;
    const { archives } = await read(first.subarray(0, Math.ceil(end / 512) * 512), 4096);
    expect(archives).toEqual([FIRST]);
  });

  it('refuses one that stops inside an entry, at any place', async () => {
    for (const length of [100, 512 + 100, 512 + 4, 512 * 4 + 100, 20_000]) {
      await expect(read(first.subarray(0, length), 4096)).rejects.toThrow('no tar stream');
    }
  });

  it('refuses what is no tar, keeping what was complete before', async () => {
    const kept = new Kept();
    const reader = new TarReader(kept);
    const noise = Buffer.alloc(2048, 'no tar at all ');
    await expect(reader.push(Buffer.concat([first, noise]))).rejects.toThrow('no tar stream');
    expect(kept.archives).toEqual([FIRST]);
  });

  it('says what to do about compression', async () => {
    const zipped = execFileSync('tar', ['-C', dir, '-czf', '-', 'd']);
    await expect(read(zipped, 4096)).rejects.toThrow('compressed with gzip');
  });

  it('leaves out what is no file', async () => {
    execFileSync('ln', ['-sf', 'a', join(dir, 'link')]);
    const { archives } = await read(tar(['link', 'a']), 512);
    expect(archives).toEqual([{ 'link (SymbolicLink)': -1, a: 5 }]);
  });
});
