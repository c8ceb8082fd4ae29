import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate, setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { NEVER } from '../../core/signals.js';
import { makePipe, SpoutPipe } from './spout-pipe.js';
import type { SpoutSink } from './spout-sink.js';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'tusk-pipe-'));
});
afterEach(() => {
  rmSync(dir, { recursive: true });
});

/** Counts archives and their bytes; each takes a while to be stored. */
function slowSink(archives: number[], ms: number): SpoutSink {
  let bytes = 0;
  const sink = {
    file: () => undefined,
    bytes: (part: Buffer) => void (bytes += part.length),
    fileEnd: () => Promise.resolve(),
    directory: () => undefined,
    skipped: () => undefined,
    end: async () => {
      await (ms > 0 ? setTimeout(ms) : setImmediate());
      archives.push(bytes);
      bytes = 0;
    },
    drop: () => (bytes = 0),
  };
  return sink as unknown as SpoutSink;
}

const run = (script: string) => promisify(execFile)('sh', ['-c', script], { cwd: dir });

/** A reader of `dir`/out that takes `ms` to store an archive; `archives` gets their sizes. */
async function beginReading(ms: number) {
  const path = join(dir, 'out');
  await makePipe(path);
  const archives: number[] = [];
  const pipe = new SpoutPipe(path);
  const sink = slowSink(archives, ms);
  const reading = pipe.read({ sink, signal: NEVER, intact: () => Promise.resolve(true) });
  return { archives, pipe, reading };
}

describe('the pipe of a spout', () => {
  it.each([
    ['as fast as they come', 0],
    ['slower than they come', 20],
  ])('gives every archive, stored %s', async (_how, ms) => {
    const { archives, pipe, reading } = await beginReading(ms);
    await run('echo hello > x; for i in $(seq 60); do tar cf - x > out; done');
    // The process has ended: what it wrote last is still in the pipe.
    pipe.close();
    await reading;
    expect(archives).toEqual(Array(60).fill(6));
  });

  it('loses nothing that is written while an end is noticed', async () => {
    const { archives, pipe, reading } = await beginReading(0);
    await run('echo hello > x; tar -b 1 -cf y x');
    // Each comes and goes at once, at another moment of what the reader does.
    const writer = `const fs = require('node:fs');
      const bytes = fs.readFileSync('y');
      for (let n = 0; n < 2000; n += 1) {
        const fd = fs.openSync('out', 'w');
        fs.writeSync(fd, bytes);
        fs.closeSync(fd);
        for (const end = process.hrtime.bigint() + BigInt(n % 40) * 10000n; process.hrtime.bigint() < end;);
      }`;
    await promisify(execFile)(process.execPath, ['-e', writer], { cwd: dir });
    pipe.close();
    await reading;
    expect(archives).toEqual(Array(2000).fill(6));
  });

  it('ends without writers', async () => {
    const { archives, pipe, reading } = await beginReading(0);
    pipe.close();
    await reading;
    expect(archives).toEqual([]);
  });
});
