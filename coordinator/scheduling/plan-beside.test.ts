/** Jobs planned beside earlier ones that still run: in the end as if they had run one by one. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { WorkDatum } from '../../queue/messages.js';
import type { JobPlan, SegmentRef } from './model.js';
import { Life, type Changes, type LifeJob, type Seen } from './plan.life.js';
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
      { numRuns: 30 },
    );
  }, 120_000);

  it('number the datums of both parts differently, and join what they write in order', async () => {
    const history: Changes[] = [
      { '/a': '1' },
      { '/one': '4444' },
      { '/two': '1' },
      { '/three': '22' },
    ];
    const strict = new Life('/*', 'shared', 'quick');
    strict.failing.add(3);
    const expected: Seen[] = [];
    for (const step of history) expected.push(await strict.next(step));
    const life = new Life('/*', 'shared', 'quick');
    life.failing.add(3);
    const seen = [await life.next(history[0] ?? {})];
    const running: LifeJob[] = [];
    for (const step of history.slice(1)) {
      const job = await life.begin(step);
      await job.plan(running.length > 0 ? running.flatMap(({ told }) => told) : undefined);
      running.push(job);
    }
    const last = running[2] as LifeJob;
    expect(last.now).toMatchObject({ total: 4, skipped: 1, partial: 2 });
    expect([count(last.now.segments), count(last.now.withheld ?? [])]).toEqual([1, 2]);
    while (running.length > 0) await endFirst(running, seen);
    // The third job failed its datum, so the last one has it, beside its own.
    expect(last.now).toMatchObject({ total: 4, skipped: 2, renumbered: true });
    expect(last.now).not.toHaveProperty('partial');
    expect(last.now).not.toHaveProperty('withheld');
    const indexes: number[] = [];
    for (const { ref } of last.now.segments) {
      for (const { index } of await life.storage.getJson<WorkDatum[]>(ref, wait)) {
        indexes.push(index);
      }
    }
    expect(indexes).toHaveLength(2);
    expect(new Set(indexes).size).toBe(2);
    expect(seen).toEqual(expected);
    expect(seen.map(({ digest }) => digest === undefined)).toEqual([false, false, true, false]);
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
