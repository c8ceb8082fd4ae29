/** Directories of this machine that a stack may read from or write to, beside its own data. */
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { invalidInput } from '../../core/errors.js';
import type { Call } from '../grammar/command.js';

const DIRS = [
  { flag: 'local-sources', setting: 'localSources' },
  { flag: 'local-targets', setting: 'localTargets' },
] as const;

/** Setting of the coordinator → directory. */
export type LocalDirs = Readonly<Partial<Record<(typeof DIRS)[number]['setting'], string>>>;

/** Reads the flags. Throws INVALID_INPUT for what is no directory. */
export function localDirs({ flags }: Call): LocalDirs {
  const named = DIRS.flatMap(({ flag, setting }) => {
    const given = flags.text(flag);
    if (given === '') return [];
    const dir = resolve(given);
    if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) {
      throw invalidInput(`--${flag} ${given}: there is no such directory`);
    }
    return [[setting, dir] as const];
  });
  return Object.fromEntries(named);
}

/** The flags that say the same. */
export function localDirFlags(dirs: LocalDirs): string[] {
  return DIRS.flatMap(({ flag, setting }) => {
    const dir = dirs[setting];
    return dir === undefined ? [] : [`--${flag}`, dir];
  });
}
