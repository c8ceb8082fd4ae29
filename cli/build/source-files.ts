/** The files of a source directory, without what nobody builds from and what .pachignore names. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import ignore from 'ignore';
import { invalidInput } from '../../core/errors.js';
import { fileErrorText } from '../put/file-error.js';
import { walkSource, type LocalFile } from '../put/walk.js';

const ALWAYS = ['.git', 'node_modules', '__pycache__', '.pachignore'];

/** Throws INVALID_INPUT when there is no such directory or nothing in it. */
export function sourceFiles(dir: string, note: (line: string) => void): LocalFile[] {
  if (!isDirectory(dir)) throw invalidInput(`transform.build.path: ${dir} is not a directory`);
  const rules = ignore().add(ALWAYS);
  const list = join(dir, '.pachignore');
  if (existsSync(list)) rules.add(readText(list));
  const skip = (path: string, directory: boolean): boolean =>
    rules.ignores(directory ? `${path}/` : path);
  const files = [...walkSource(dir, '', { recursive: true, note, skip })];
  if (files.length === 0) throw invalidInput(`transform.build.path: ${dir} holds no files`);
  return files;
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw invalidInput(fileErrorText('open', file, error));
  }
}
