/** Jobs planned beside earlier ones that still run: in the end as if they had run one by one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WorkDatum } from '../../queue/messages.js';
import type { JobPlan, SegmentRef } from './model.js';
import { Life, type LifeJob, type Seen } from './plan.life.js';
import { grown } from './plan-beside.js';

const wait = { signal: new AbortController().signal };
const PATHS = ['/a', '/b', '/d/a', '/d/b', '/d/e/a', '/f'];
const changes = fc.dictionary(
  fc.constantFrom(...PATHS),
  fc.option(fc.constantFrom('1', '22', '333')),
  { maxKeys: 3 },
);
/** A commit, tasks that run of each job after it, and jobs that may end then. */
const steps = fc.array(
  fc.record({
    changes,
    tasks: fc.array(fc.constantFrom(0, 1, 2, 100), { maxLength: 6 }),
    ends: fc.nat({ max: 3 }),
  }),
  { minLength: 1, maxLength: 7 },
);
const codes = fc.constantFrom(
  ...(['own', 'shared', 'sometimes shared', 'sometimes failing'] as const),
);
const globs = fc.constantFrom('/*', '/**', '/', '/d/*');
const hows = fc.constantFrom('quick' as const, 'plain' as const);

/** Ends the oldest job, as its owner does when its turn has come. */
async function endFirst(running: LifeJob[], seen: Seen[]): Promise<void> {
  const first = running.shift();
  if (!first) return;
  if (first.now.partial !== undefined) await first.plan();
  await first.run();
  seen.push(await first.end());
}

describe('plans beside running jobs', () => {
  it('lead to what jobs one by one lead to, and no datum runs twice', async () => {
    await fc.assert(
      fc.asyncProperty(steps, codes, globs, hows, async (history, code, glob, how) => {
        const strict = new Life(glob, code, how);
        const expected: Seen[] = [];
        for (const step of history) expected.push(await strict.next(step.changes));
        const life = new Life(glob, code, how);
        const running: LifeJob[] = [];
        const seen: Seen[] = [];
        for (const step of history) {
          const job = await life.begin(step.changes);
          const beside = running.flatMap(({ told }) => told);
          await job.plan(running.length > 0 ? beside : undefined);
          running.push(job);
          for (const [at, tasks] of step.tasks.entries()) await running[at]?.run(tasks);
          for (let end = 0; end < step.ends; end += 1) await endFirst(running, seen);
        }
        while (running.length > 0) await endFirst(running, seen);
        expect(seen).toEqual(expected);
      }),
      { numRuns: Number(process.env['RUNS'] ?? 30) },
    );
  }, 120_000);

  it('number the datums of both parts differently', async () => {
    const life = new Life('/*', 'failing at first', 'quick');
    const first = await life.begin({ '/a': '1', '/b': '22', '/c': '333', '/e': '1', '/f': '22' });
    await first.plan();
    const second = await life.begin({ '/g': '1', '/h': '22' });
    await second.plan(first.told);
    expect(second.now).toMatchObject({ total: 7, skipped: 0, partial: 2 });
    expect(count(second.now.segments)).toBe(2);
    expect(count(second.now.withheld ?? [])).toBe(5);
    await first.run();
    const { digest } = await first.end();
    expect(digest).toBeUndefined();
    await second.plan();
    expect(second.now).not.toHaveProperty('partial');
    expect(second.now).not.toHaveProperty('withheld');
    const indexes: number[] = [];
    for (const { ref } of second.now.segments) {
      for (const { index } of await life.storage.getJson<WorkDatum[]>(ref, wait)) {
        indexes.push(index);
      }
    }
    expect(indexes.length).toBeGreaterThan(2);
    expect(new Set(indexes).size).toBe(indexes.length);
    expect(second.now.renumbered).toBe(true);
  });

  it('keep tasks that were cut while the rest was planned', () => {
    const part = { format: 1, spec: 's', carried: 'c', total: 9, skipped: 0 } as const;
    const before: JobPlan = {
      ...{ ...part, partial: 2, withheld: [], segments: [{ ref: 'a', count: 4 }] },
      tasks: [
        [0, 0, 2],
        [0, 2, 4],
      ],
    };
    const last: JobPlan = {
      ...{ ...part, segments: [...before.segments, { ref: 'b', count: 1 }] },
      tasks: [...before.tasks, [1, 0, 1]],
    };
    const now: JobPlan = {
      ...before,
      ...{
        tasks: [
          [0, 0, 1],
          [0, 2, 4],
          [0, 1, 2],
        ],
        since: [[0, 3]],
      },
    };
    expect(grown(now, last, before)).toEqual({
      ...last,
      ...{ tasks: [...now.tasks, [1, 0, 1]], since: [[0, 3]] },
    });
  });
});

function count(segments: readonly SegmentRef[]): number {
  return segments.reduce((sum, segment) => sum + segment.count, 0);
}
