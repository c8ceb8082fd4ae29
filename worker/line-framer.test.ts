import fc from 'fast-check';
import { expect, it } from 'vitest';
import { LineFramer } from './line-framer.js';

function frame(chunks: readonly Buffer[], max = 1000): string[] {
  const lines: string[] = [];
  const framer = new LineFramer(max, (line) => lines.push(line));
  for (const chunk of chunks) framer.push(chunk);
  framer.end();
  return lines;
}

it('finds the same lines wherever the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: 'grapheme' })),
      fc.integer({ min: 1, max: 9 }),
      (list, size) => {
        const lines = list.map((line) => line.replaceAll(/[\n\r]/g, ''));
        const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''));
        const chunks: Buffer[] = [];
        for (let at = 0; at < bytes.length; at += size) chunks.push(bytes.subarray(at, at + size));
        expect(frame(chunks)).toEqual(lines);
      },
    ),
  );
});

it('keeps a last line without newline, drops carriage returns, cuts what is too long', () => {
  expect(frame([Buffer.from('a\r\n\nb')])).toEqual(['a', '', 'b']);
  expect(frame([Buffer.from('x'.repeat(25)), Buffer.from('y\nz\n')], 10)).toEqual([
    'x'.repeat(10),
    'x'.repeat(10),
    'xxxxxy',
    'z',
  ]);
});
