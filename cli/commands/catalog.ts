/** Every command there is. Only this table is loaded at start; the code behind a command later. */
import type { Command } from '../grammar/command.js';
import { miscCommands } from './catalog-misc.js';
import { pfsCommands } from './catalog-pfs.js';
import { ppsCommands } from './catalog-pps.js';
import { stackCommands } from './catalog-stack.js';

export const commands: readonly Command[] = [
  ...stackCommands,
  ...pfsCommands,
  ...ppsCommands,
  ...miscCommands,
];
