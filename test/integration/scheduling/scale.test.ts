/** What a change costs after many datums: it follows the change, not the number of datums. */
import { describe, expect, it } from 'vitest';
import {
  commit,
  copy,
  datums,
  ended,
  output,
  pfs,
  pipeline,
  remove,
  schedulingServers,
} from './stack.js';

const DATUMS = 5_000;
/** A change takes tenths of a second here; the bound only has to tell it from a full pass. */
const CHANGE_MS_MAX = 5_000;
const servers = schedulingServers();

describe('thousands of datums', () => {
  it('adds one, changes one and removes one without touching the others', async () => {
    const stack = await servers.stack();
    const at = await stack.coordinator();
    const worker = await stack.worker(at, { slots: 20, code: copy });
    const files: Record<string, string> = {};
    for (let i = 0; i < DATUMS; i += 1) files[`/d${i % 10}/f${i}`] = `content ${i}`;
    await commit(stack, 'in', files);
    const parallelismSpec = { constant: 20, coefficient: 0 };
    await pipeline(at, 'copy', pfs('in', '/*/*'), { parallelismSpec });
    const first = await ended(stack, 'copy', 1, 100_000);
    expect(first).toMatchObject({ state: 'SUCCESS', processed: DATUMS, total: DATUMS });
    expect(await output(stack, first)).toEqual(files);
    expect(await datums(at, first)).toHaveLength(DATUMS);

    worker.ran.length = 0;
    const changes = [
      () => commit(stack, 'in', { '/d0/new': 'new' }),
      () => commit(stack, 'in', { '/d1/f1': 'changed' }),
      () => remove(stack, 'in', '/d2/f2'),
    ];
    for (const [n, change] of changes.entries()) {
      const startMs = performance.now();
      await change();
      const job = await ended(stack, 'copy', n + 2);
      expect(performance.now() - startMs).toBeLessThan(CHANGE_MS_MAX);
      expect(job).toMatchObject({ state: 'SUCCESS', processed: n < 2 ? 1 : 0 });
      if (n < 2) continue;
      const { '/d2/f2': _gone, ...rest } = files;
      expect(await output(stack, job)).toEqual({ ...rest, '/d0/new': 'new', '/d1/f1': 'changed' });
    }
    expect(worker.ran).toEqual(['/d0/new', '/d1/f1']);
  });
});
