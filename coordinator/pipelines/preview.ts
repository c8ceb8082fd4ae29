/** An input as somebody tries it out before there is a pipeline. */
import { invalidInput } from '../../core/errors.js';
import type { Input } from '../../proto/generated/pps.js';
import type { Wait } from '../../storage/types.js';
import type { Versioning } from '../versioning/index.js';
import { inputBranches, visit, withInputDefaults } from './inputs.js';
import type { InputCommit } from './model.js';
import { checkInput } from './validate.js';

export interface Preview {
  readonly input: Input;
  readonly commits: readonly InputCommit[];
}

/**
 * The input with defaults, checked but not sorted, and the heads of its branches. Throws
 * INVALID_INPUT, or NOT_FOUND for a branch that is missing or has no head.
 */
export async function preview(
  versioning: Pick<Versioning, 'resolveCommit'>,
  given: Input | undefined,
  wait: Wait,
): Promise<Preview> {
  const input = previewInput(given);
  const commits: InputCommit[] = [];
  for (const { repo, branch } of inputBranches(input)) {
    const commit = await versioning.resolveCommit({ repo, id: branch }, wait);
    commits.push({ repo, branch, commit: commit.id });
  }
  return { input, commits };
}

function previewInput(given: Input | undefined): Input {
  if (!given) throw invalidInput('must specify either job or input to list datums from');
  for (const node of visit(given)) {
    if (node.cron) {
      throw invalidInput(
        "can't list datums with a cron input, there will be no datums until the pipeline is created",
      );
    }
  }
  const input = withInputDefaults('', 0, given);
  checkInput(input);
  return input;
}
