import { describe, expect, it } from 'vitest';
import { contentOf } from './content.js';
import { datumStatsOps, statsJson } from './datum-stats.js';
import { EMPTY_DIR } from './node-format.js';

const TIMES = {
  downloadMs: 0,
  processMs: 1500,
  uploadMs: 0.25,
  downloadBytes: 3,
  uploadBytes: 2 ** 40,
};

describe('stats of a datum', () => {
  it('are proto JSON', () => {
    expect(JSON.parse(statsJson(TIMES))).toEqual({
      downloadTime: '0s',
      processTime: '1.500s',
      uploadTime: '0.000250s',
      downloadBytes: '3',
      uploadBytes: '1099511627776',
    });
  });

  it('lie in one directory, inputs and outputs by reference', async () => {
    const written: string[] = [];
    const write = (bytes: Buffer) => {
      written.push(bytes.toString());
      return contentOf([]);
    };
    const datum = {
      ...{ id: 'ab', job: 'j1', index: 7, stats: TIMES, failure: 'exit status 1' },
      inputs: [
        { name: 'a', path: '/', node: EMPTY_DIR },
        { name: 'b', path: '/x/y', node: EMPTY_DIR },
      ],
      outputs: [{ op: 'mkdir', path: '/d', seq: 7 } as const],
    };
    const paths: string[] = [];
    for await (const op of datumStatsOps(datum, write)) paths.push(`${op.op} ${op.path} ${op.seq}`);
    expect(paths).toEqual([
      'set /ab/job:j1 7',
      'set /ab/index 7',
      'set /ab/stats 7',
      'set /ab/failure 7',
      'graft /ab/pfs/a 7',
      'graft /ab/pfs/b/x/y 7',
      'mkdir /ab/pfs/out/d 7',
    ]);
    expect(written).toEqual(['7', statsJson(TIMES), 'exit status 1']);
  });
});
