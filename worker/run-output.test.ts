import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { tempDir } from '../test/support/temp-dir.js';
import { RunOutput } from './run-output.js';
import { RUN_OUTPUT_BYTES_MAX, RUN_TAIL_BYTES_MAX } from './spawner-protocol.js';

describe('the output of a run', () => {
  it('stays in memory while it is small, and knows its last lines', async () => {
    await using dir = await tempDir('run-output');
    const output = new RunOutput(join(dir.path, 'lines'), () => 7);
    for (let i = 0; i < 20; i += 1) output.add(`line ${i}`);
    const { lines, file, count, last } = output.finish();
    expect(file).toBeUndefined();
    expect(count).toBe(20);
    expect(lines[0]).toEqual([7, 'line 0']);
    expect(last).toEqual(['line 15', 'line 16', 'line 17', 'line 18', 'line 19']);
  });

  it('keeps its beginning and its end when it is endless, and says what it left out', async () => {
    await using dir = await tempDir('run-output');
    const output = new RunOutput(join(dir.path, 'lines'), () => 7);
    const text = 'x'.repeat(60_000);
    const all = Math.ceil((2 * RUN_OUTPUT_BYTES_MAX) / text.length);
    for (let i = 0; i < all; i += 1) output.add(`${i} ${text}`);
    const { lines, file, count, last } = output.finish();
    expect(lines).toEqual([]);
    const written = readFileSync(file ?? '', 'utf8')
      .trim()
      .split('\n');
    expect(written).toHaveLength(count);
    const messages = written.map((line) => (JSON.parse(line) as [number, string])[1]);
    const at = messages.findIndex((line) => line.includes('lines left out]'));
    const left = Number(/… (\d+) lines/.exec(messages[at] ?? '')?.[1]);
    // All that is not there was counted; the line before says why.
    expect(messages[at - 1]).toMatch(/more than 64 MiB of output/);
    expect(count - 2 + left).toBe(all);
    expect(messages.at(-1)?.startsWith(`${all - 1} `)).toBe(true);
    expect(messages.slice(at + 1).join('').length).toBeLessThan(RUN_TAIL_BYTES_MAX);
    expect(last.at(-1)?.startsWith(`${all - 1} `)).toBe(true);
  });

  it('of 1 GB needs little memory and little disk', async () => {
    await using dir = await tempDir('run-output');
    const output = new RunOutput(join(dir.path, 'lines'), () => 7);
    const chunk = Buffer.alloc(64 * 1024, 'x');
    const lines = 2 ** 30 / chunk.length;
    let most = 0;
    // Each line is a text of its own, as it comes from a pipe.
    for (let i = 0; i < lines; i += 1) {
      output.add(chunk.toString('latin1'));
      if (i % 4096 === 4095) most = Math.max(most, held());
    }
    const before = held();
    const { file, last } = output.finish();
    expect(statSync(file ?? '').size).toBeLessThan(RUN_OUTPUT_BYTES_MAX * 1.1);
    expect(last).toHaveLength(5);
    expect(Math.max(most, before)).toBeLessThan(32 * 2 ** 20);
  });
});

/** Bytes of the heap that are still in use. */
function held(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external - baseline;
}
const collectGarbage = gcOf();
const { heapUsed, external } = process.memoryUsage();
const baseline = heapUsed + external;

function gcOf(): () => void {
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as () => void;
}
