/**
 * Random histories of a pipeline with one input, planned and merged the quick way (by changes, from
 * the output before) and the plain way (everything), on real trees in memory: always the same.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Life } from './plan.life.js';

const PATHS = ['/a', '/b', '/d/a', '/d/b', '/d/e/a', '/f'];
/** One commit: path → new content, or null to remove it. */
const commits = fc.array(
  fc.dictionary(fc.constantFrom(...PATHS), fc.option(fc.constantFrom('1', '22', '333')), {
    maxKeys: 3,
  }),
  { minLength: 1, maxLength: 6 },
);
const codes = fc.constantFrom(
  ...(['own', 'shared', 'sometimes shared', 'sometimes failing'] as const),
);
const globs = fc.constantFrom('/*', '/**', '/', '/d/*', '/d');

describe('planning and merging by changes', () => {
  it('gives what planning and merging everything gives', async () => {
    await fc.assert(
      fc.asyncProperty(commits, codes, globs, async (history, code, glob) => {
        const quick = new Life(glob, code, 'quick');
        const plain = new Life(glob, code, 'plain');
        for (const changes of history) {
          expect(await quick.next(changes)).toEqual(await plain.next(changes));
        }
      }),
      { numRuns: 60 },
    );
  }, 60_000);
});
