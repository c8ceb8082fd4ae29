import { describe, expect, it } from 'vitest';
import { JobInfo, JobState } from '../../proto/generated/pps.js';
import { paintWith } from './colour.js';
import { bar, LiveLines, pipelineLines } from './progress.js';

const plain = paintWith(false);
const job = (name: string, more: object) => JobInfo.fromPartial({ pipeline: { name }, ...more });

describe('a bar', () => {
  it.each([
    [{ good: 0, failed: 0, total: 0 }, '░░░░░░░░░░'],
    [{ good: 5, failed: 0, total: 10 }, '█████░░░░░'],
    [{ good: 9, failed: 0, total: 10_000 }, '░░░░░░░░░░'],
    [{ good: 10, failed: 0, total: 10 }, '██████████'],
    [{ good: 9999, failed: 1, total: 10_000 }, '██████████'],
    [{ good: 16, failed: 1, total: 17 }, '██████████'],
    [{ good: 12, failed: 3, total: 10 }, '██████████'],
  ])('of %j', (done, text) => {
    expect(bar(done, plain, 10)).toBe(text);
  });

  it('shows one failed datum of many', () => {
    expect(bar({ good: 9999, failed: 1, total: 10_000 }, paintWith(true), 10)).toContain(
      '\u001b[31m█\u001b[0m',
    );
  });
});

describe('pipelines', () => {
  const { JOB_RUNNING, JOB_SUCCESS } = JobState;
  const jobs = [
    job('edges', { state: JOB_SUCCESS, dataTotal: 4, dataProcessed: 3, dataSkipped: 1 }),
    job('edges', { state: JOB_RUNNING, dataTotal: 4, dataProcessed: 1, dataFailed: 1 }),
    job('montage', { state: JOB_RUNNING, reason: 'waiting for workers:\nnone has joined' }),
  ];

  it('have a line each, with all their jobs and what they wait for', () => {
    expect(pipelineLines(jobs, 120, plain)).toEqual([
      'edges   ██████████████░░░░░░ 6 / 8 running  job 2 of 2, 1 failed',
      'montage ░░░░░░░░░░░░░░░░░░░░ 0 / 0 running  waiting for workers: none has joined',
    ]);
  });

  it('never wrap', () => {
    for (const columns of [60, 70, 80]) {
      for (const line of pipelineLines(jobs, columns, plain)) {
        expect(line.length).toBeLessThan(columns);
      }
    }
  });
});

it('lines are drawn over themselves and go in the end', () => {
  let text = '';
  const live = new LiveLines((part) => (text += part));
  live.show(['a', 'b']);
  live.show(['c']);
  live.end();
  expect(text).toBe('a\nb\n\u001b[2A\u001b[Jc\n\u001b[1A\u001b[J');
});
