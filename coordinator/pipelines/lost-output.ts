/** Pipelines whose output branch somebody has deleted. */
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import { branchKey } from '../versioning/model.js';
import type { PipelineRecord } from './model.js';

/** Why the pipeline can not write anything, for people; undefined when it can. */
export async function lostOutput(
  meta: Pick<Meta, 'get'>,
  { name, outputBranch }: Pick<PipelineRecord, 'name' | 'outputBranch'>,
  wait: Wait,
): Promise<string | undefined> {
  if (await meta.get(branchKey({ repo: name, name: outputBranch }), wait)) return undefined;
  return (
    `output branch ${name}@${outputBranch} was deleted: ` +
    'no commit of an input makes a job until an update of the pipeline makes it again'
  );
}
