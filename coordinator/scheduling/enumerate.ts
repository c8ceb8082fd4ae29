/**
 * Datums of a job, in the order of the pipeline's rules: pfs by size descending then path, cross
 * with the first child fastest, union by concatenation, join by first-seen key, group by sorted key.
 * Lists of matches are kept, products never: a list answers "which files are in datum n".
 */
import { setImmediate } from 'node:timers/promises';
import type { Input, PFSInput } from '../../proto/generated/pps.js';
import { expandCaptures } from '../../storage/glob.js';
import type { MatchBatch } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import { FileColumns } from './file-columns.js';
import { crossList, unionList, type DatumList, type FileList } from './datum-lists.js';
import { groupList, joinList } from './join-lists.js';

export type { DatumList } from './datum-lists.js';
import { compareBytes, type DatumFile, type InputRef } from './datum.js';

/** Where matches come from: the commits of the job, or branch heads for a preview. */
export interface MatchSource {
  /** Nothing when the input has no commit (headless branch) or the commit has no tree. */
  matches(input: InputRef, glob: string, wait: Wait): AsyncIterable<MatchBatch>;
  /** The commit an input is read at; empty when its branch has no head. */
  commitOf(repo: string, branch: string): string;
}

/** Enumerates an input tree as stored (children already sorted by the pipeline's rules). */
export async function enumerate(
  input: Input | undefined,
  source: MatchSource,
  wait: Wait,
): Promise<DatumList> {
  if (!input) return EMPTY;
  if (input.pfs) return pfsList(input.pfs, source, wait);
  if (input.cron) {
    const { name, repo } = input.cron;
    return pfsList({ ...PLAIN, name, repo, branch: 'master', glob: '/*' }, source, wait);
  }
  if (input.git) {
    const { name, branch } = input.git;
    return pfsList({ ...PLAIN, name, repo: name, branch, glob: '/commit.json' }, source, wait);
  }
  if (input.union.length > 0) return unionList(await children(input.union, source, wait));
  if (input.cross.length > 0) return crossList(await children(input.cross, source, wait));
  if (input.join.length > 0) {
    const outer = input.join.map((child) => child.pfs?.outerJoin === true);
    return joinList(await children(input.join, source, wait), outer, wait);
  }
  if (input.group.length > 0) return groupList(await children(input.group, source, wait), wait);
  return EMPTY;
}

/** The names of a tree's leaf inputs, in stored order, each once. */
export function inputNames(input: Input | undefined): string[] {
  return [...new Set(leaves(input).map((leaf) => leaf.name))];
}

export interface Leaf {
  readonly name: string;
  readonly repo: string;
  readonly branch: string;
  readonly lazy?: boolean;
  readonly emptyFiles?: boolean;
  readonly s3?: boolean;
}

/** The leaf inputs of a tree with the branch each reads. */
export function leaves(input: Input | undefined): Leaf[] {
  if (!input) return [];
  if (input.pfs) {
    const { name, repo, branch, lazy, emptyFiles, s3 } = input.pfs;
    return [{ name: name || repo, repo, branch: branch || 'master', lazy, emptyFiles, s3 }];
  }
  if (input.cron) return [{ name: input.cron.name, repo: input.cron.repo, branch: 'master' }];
  if (input.git) {
    return [{ name: input.git.name, repo: input.git.name, branch: input.git.branch || 'master' }];
  }
  return [...input.cross, ...input.union, ...input.join, ...input.group].flatMap(leaves);
}

const EMPTY: DatumList = {
  length: 0,
  at: (index) => {
    throw new RangeError(`index ${index} out of range`);
  },
};

const PLAIN: PFSInput = {
  name: '',
  repo: '',
  branch: '',
  commit: '',
  glob: '',
  lazy: false,
  emptyFiles: false,
  joinOn: '',
  s3: false,
  groupBy: '',
  outerJoin: false,
};

async function children(
  inputs: readonly Input[],
  source: MatchSource,
  wait: Wait,
): Promise<DatumList[]> {
  const lists: DatumList[] = [];
  for (const child of inputs) lists.push(await enumerate(child, source, wait));
  return lists;
}

/** A pfs leaf at the commit of the source; `commit` is empty when its branch has no head. */
export function inputRefOf(pfs: PFSInput, source: Pick<MatchSource, 'commitOf'>): InputRef {
  const { repo, lazy, emptyFiles } = pfs;
  const branch = pfs.branch || 'master';
  const commit = source.commitOf(repo, branch);
  const ref = { name: pfs.name || repo, repo, branch, commit, lazy, emptyFiles };
  return pfs.s3 ? { ...ref, s3: true } : ref;
}

/** Order of the datums of one pfs input: size descending, then path in byte order. */
export function compareFiles(a: DatumFile, b: DatumFile): number {
  return b.node.size - a.node.size || compareBytes(a.path, b.path);
}

async function pfsList(pfs: PFSInput, source: MatchSource, wait: Wait): Promise<FileList> {
  const input = inputRefOf(pfs, source);
  const join = template(pfs.joinOn);
  const group = template(pfs.groupBy);
  const files = new FileColumns(input, { ...(join && { join }), ...(group && { group }) });
  if (input.commit !== '') {
    for await (const batch of source.matches(input, pfs.s3 ? '/' : pfs.glob, wait)) {
      files.add(batch);
      await pause(wait);
    }
  }
  await files.sort(wait);
  return {
    length: files.length,
    at: (index) => [files.at(index)],
    files: {
      length: files.length,
      at: (index) => files.at(index),
      joinKey: (index) => files.joinKey(index),
      groupKey: (index) => files.groupKey(index),
    },
  };
}

/** Whether the same files may make several datums of one job. */
export function mayRepeat(input: Input | undefined): boolean {
  if (!input) return false;
  if (input.union.length > 0) return true;
  return [...input.cross, ...input.join, ...input.group].some(mayRepeat);
}

/** The key that a template makes of captures; undefined for none, when all keys are empty. */
function template(text: string): ((captures: readonly string[]) => string) | undefined {
  return text === '' ? undefined : (captures) => expandCaptures(text, captures);
}

/** Lets other work run during long loops. */
async function pause(wait: Wait): Promise<void> {
  wait.signal.throwIfAborted();
  await setImmediate();
}
