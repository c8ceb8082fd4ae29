/** Walks local sources into files, depth first, names in byte order. */
import { readdirSync, statSync, type Dirent, type Stats } from 'node:fs';
import { join, posix } from 'node:path';
import { invalidInput } from '../../core/errors.js';
import { fileErrorText } from './file-error.js';

export interface LocalFile {
  /** Path on this machine. */
  readonly from: string;
  /** Path in the repo. */
  readonly to: string;
  /** This many bytes were sent by an earlier call of the upload. */
  readonly sentBytes?: number;
}

export interface WalkOptions {
  readonly recursive: boolean;
  /** Hears about things that are left out. */
  readonly note: (line: string) => void;
  /** Leaves out what it says, directories with everything in them; `path` as in the repo. */
  readonly skip?: (path: string, directory: boolean) => boolean;
}

/** The files of one source. Throws INVALID_INPUT for missing sources and broken links. */
export function* walkSource(from: string, to: string, options: WalkOptions): Generator<LocalFile> {
  const stats = statOf(from, options.recursive ? `${from} doesn't exist` : undefined);
  if (!stats.isDirectory()) {
    yield { from, to };
    return;
  }
  if (!options.recursive) {
    throw invalidInput(`read ${from}: is a directory (use -r to put it with everything in it)`);
  }
  yield* walkDirectory(from, to, options);
}

function* walkDirectory(from: string, to: string, options: WalkOptions): Generator<LocalFile> {
  for (const entry of sortedEntries(from)) {
    const child = join(from, entry.name);
    const target = to === '' ? entry.name : posix.join(to, entry.name);
    if (options.skip?.(target, entry.isDirectory())) continue;
    if (entry.isDirectory()) yield* walkDirectory(child, target, options);
    else if (entry.isSymbolicLink() && statOf(child).isDirectory()) {
      options.note(`skipping ${child}: it is a link to a directory`);
    } else yield { from: child, to: target };
  }
}

function sortedEntries(folder: string): Dirent[] {
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    throw invalidInput(fileErrorText('open', folder, error));
  }
  // Code units and bytes sort alike unless surrogates are involved.
  const plain = entries.every(({ name }) => !/[\ud800-\uffff]/.test(name));
  return plain
    ? entries.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    : entries.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
}

function statOf(path: string, missing?: string): Stats {
  try {
    return statSync(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    throw invalidInput(
      code === 'ENOENT' && missing !== undefined ? missing : fileErrorText('open', path, error),
    );
  }
}
