/** An input as somebody tries it out before there is a pipeline. */
import { invalidInput } from '../../core/errors.js';
import type { Input } from '../../proto/generated/pps.js';
import { visit, withInputDefaults } from './inputs.js';
import { checkInput } from './validate.js';

/** The input with defaults, checked; not sorted. Throws INVALID_INPUT. */
export function previewInput(given: Input | undefined): Input {
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
