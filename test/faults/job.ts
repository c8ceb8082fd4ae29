/** The job that the fault tests disturb: slow enough to be hit in the middle, exact in its output. */
import { expect } from 'vitest';
import { CreatePipelineRequest } from '../../proto/generated/pps.js';
import { countsOf } from '../support/stack-client.js';
import { startStack, type Stack, type StackOptions } from '../support/stack.js';

/** Datums of a job. */
export const DATUMS = 60;

export function inputs(count: number, from = 0): Record<string, string> {
  const files: Record<string, string> = {};
  for (let i = from; i < from + count; i += 1) {
    const number = String(i).padStart(4, '0');
    files[`/f${number}`] = `line of ${number}\n`;
  }
  return files;
}

/**
 * Each datum waits, copies its file, and adds a line to one file that all datums share: a datum
 * counted twice, or not at all, shows in the shared file.
 */
export function slowCopy(
  pipeline: string,
  repo: string,
  seconds: number,
  slots = 4,
): CreatePipelineRequest {
  const lines = [
    `sleep ${seconds}`,
    `for f in /pfs/${repo}/*; do`,
    `  sed 's/^/copied /' "$f" > "/pfs/out/$(basename "$f")"`,
    `  cat "$f" >> /pfs/out/all`,
    'done',
  ];
  return CreatePipelineRequest.fromPartial({
    pipeline: { name: pipeline },
    transform: { cmd: ['sh'], stdin: lines },
    parallelismSpec: { constant: slots },
    input: { pfs: { repo, branch: 'master', glob: '/*', name: repo } },
  });
}

/** What `slowCopy` over `inputs(count)` gives. */
export function expectedOutput(count: number): Record<string, string> {
  const files: Record<string, string> = {};
  for (const [path, text] of Object.entries(inputs(count))) files[path] = `copied ${text}`;
  // Contents of one path are joined in the order of the datums.
  files['/all'] = Object.values(inputs(count)).join('');
  return files;
}

/** Checks that the first job of the pipeline `copy` ended as if nothing had happened. */
export async function expectUndisturbed(stack: Stack, datums = DATUMS): Promise<void> {
  const job = await stack.client.ended('copy');
  expect({ ...countsOf(job), reason: job.reason }).toEqual({
    ...{ state: 'JOB_SUCCESS', reason: '', processed: datums, skipped: 0, failed: 0 },
    ...{ recovered: 0, total: datums },
  });
  expect(await stack.client.files('copy', 'master')).toEqual(expectedOutput(datums));
  expect(await stack.client.jobs('copy')).toHaveLength(1);
}

/** Starts a stack and its slow job, disturbs it in the middle, and checks how it ends. */
export async function disturb(
  options: StackOptions,
  trouble: (stack: Stack) => Promise<void>,
): Promise<void> {
  await using stack = await startStack({ workers: 2, slots: 2, ...options });
  await stack.client.createRepo('in');
  await stack.client.put('in', inputs(DATUMS));
  await stack.client.createPipeline(slowCopy('copy', 'in', 0.2));
  await stack.client.running('copy', 8);
  await trouble(stack);
  await expectUndisturbed(stack);
}
