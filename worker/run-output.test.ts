import { readFileSync } from 'node:fs';
import { join } from 'node:path';
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
});
