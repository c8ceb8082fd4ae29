import { describe, expect, it } from 'vitest';
import { codeOf } from '../../core/errors.js';
import { JobInfo, JobState, PipelineInfo, PipelineState } from '../../proto/generated/pps.js';
import { compileFilter } from './filter.js';

const job = JobInfo.fromPartial({
  job: { id: 'a1' },
  pipeline: { name: 'edges' },
  outputCommit: { repo: { name: 'edges' }, id: 'c1' },
  state: JobState.JOB_FAILURE,
  dataTotal: 7,
});

describe('list filters', () => {
  it.each([
    ['', true],
    ['.state == "JOB_FAILURE"', true],
    ['.state == "JOB_SUCCESS"', false],
    ['.state == "JOB_SUCCESS" or .state == "JOB_FAILURE"', true],
    ['.state != "JOB_FAILURE" and true', false],
    ['.pipeline.name == "edges" and (.data_total > 6)', true],
    ['.["data_total"] <= 6', false],
    ['.state == "JOB_FAILURE" | not', false],
    ['select(.data_total == 7)', true],
    ['select(.data_total == 8)', false],
    ['.finished', false],
    ['.job.id | length == 2', true],
  ])('%s gives %s', (program, kept) => {
    expect(compileFilter(program)(job)).toBe(kept);
  });

  it('sees the symbolic state of pipelines, also the first one', () => {
    const info = PipelineInfo.fromPartial({ state: PipelineState.PIPELINE_STARTING });
    expect(compileFilter('.state == "PIPELINE_STARTING"')(info)).toBe(true);
  });

  it.each(['.state ==', '.state == "x', 'map(.x)', '(.a', '.a )', '$x', '('.repeat(200)])(
    'refuses %s',
    (program) => {
      let caught: unknown;
      try {
        compileFilter(program);
      } catch (error) {
        caught = error;
      }
      expect(codeOf(caught)).toBe('INVALID_INPUT');
    },
  );
});
