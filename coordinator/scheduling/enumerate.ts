/**
 * Datums of a job, in the order of the pipeline's rules: pfs by size descending then path, cross
 * with the first child fastest, union by concatenation, join by first-seen key, group by sorted key.
 * Lists of matches are kept, products never: a list answers "which files are in datum n".
 */
import { setImmediate } from 'node:timers/promises';
import type { Input, PFSInput } from '../../proto/generated/pps.js';
import { expandCaptures } from '../../storage/glob.js';
import type { TreeNode, Wait } from '../../storage/types.js';
import { FileColumns } from './file-columns.js';
import { compareBytes, type Datum, type DatumFile, type InputRef } from './datum.js';

/** The datums of a job; `at` is cheap and may be called in any order. */
export interface DatumList {
  readonly length: number;
  at(index: number): Datum;
}

/** A match of a glob in an input's tree. */
export interface Match {
  /** Absolute path; `/` for the root. */
  readonly path: string;
  readonly node: TreeNode;
  /** `[0]` is the whole path, `[1]` the first group. */
  readonly captures: readonly string[];
}

/** Where matches come from: the commits of the job, or branch heads for a preview. */
export interface MatchSource {
  /** Nothing when the input has no commit (headless branch) or the commit has no tree. */
  matches(input: InputRef, glob: string, wait: Wait): AsyncIterable<Match>;
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
  if (input.join.length > 0) return joinList(input.join, source, wait);
  if (input.group.length > 0) return groupList(input.group, source, wait);
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
}

/** The leaf inputs of a tree with the branch each reads. */
export function leaves(input: Input | undefined): Leaf[] {
  if (!input) return [];
  if (input.pfs) {
    const { name, repo, branch, lazy, emptyFiles } = input.pfs;
    return [{ name: name || repo, repo, branch: branch || 'master', lazy, emptyFiles }];
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
  return { name: pfs.name || repo, repo, branch, commit, lazy, emptyFiles };
}

/** Order of the datums of one pfs input: size descending, then path in byte order. */
export function compareFiles(a: DatumFile, b: DatumFile): number {
  return b.node.size - a.node.size || compareBytes(a.path, b.path);
}

async function pfsList(pfs: PFSInput, source: MatchSource, wait: Wait): Promise<DatumList> {
  const input = inputRefOf(pfs, source);
  const files = new FileColumns(input, { join: pfs.joinOn !== '', group: pfs.groupBy !== '' });
  if (input.commit !== '') {
    for await (const match of source.matches(input, pfs.s3 ? '/' : pfs.glob, wait)) {
      files.add({
        path: match.path,
        node: match.node,
        joinKey: expand(pfs.joinOn, match),
        groupKey: expand(pfs.groupBy, match),
      });
      if ((files.length & 1023) === 0) await pause(wait);
    }
  }
  await files.sort(wait);
  return { length: files.length, at: (index) => [files.at(index)] };
}

/** Whether the same files may make several datums of one job. */
export function mayRepeat(input: Input | undefined): boolean {
  if (!input) return false;
  if (input.union.length > 0) return true;
  return [...input.cross, ...input.join, ...input.group].some(mayRepeat);
}

function unionList(lists: readonly DatumList[]): DatumList {
  const length = lists.reduce((sum, list) => sum + list.length, 0);
  return {
    length,
    at(index) {
      let rest = index;
      for (const list of lists) {
        if (rest < list.length) return list.at(rest);
        rest -= list.length;
      }
      throw new RangeError(`index ${index} out of range`);
    },
  };
}

function crossList(lists: readonly DatumList[]): DatumList {
  const length = lists.reduce((product, list) => product * list.length, 1);
  return {
    length,
    at(index) {
      if (index >= length) throw new RangeError(`index ${index} out of range`);
      let rest = index;
      const files: DatumFile[] = [];
      for (const list of lists) {
        files.push(...list.at(rest % list.length));
        rest = Math.floor(rest / list.length);
      }
      return byName(files);
    },
  };
}

async function joinList(
  inputs: readonly Input[],
  source: MatchSource,
  wait: Wait,
): Promise<DatumList> {
  const lists = await children(inputs, source, wait);
  const outer = inputs.map((input) => input.pfs?.outerJoin === true);
  const table = await byKey(lists, (file) => file.joinKey, wait);
  const parts: DatumList[] = [];
  for (const columns of table.values()) {
    const inner = columns.every((column) => column.length > 0);
    const kept = inner ? columns : columns.filter((column, i) => outer[i] && column.length > 0);
    if (kept.length > 0) parts.push(crossList(kept.map(single)));
  }
  return chained(parts);
}

async function groupList(
  inputs: readonly Input[],
  source: MatchSource,
  wait: Wait,
): Promise<DatumList> {
  const lists = await children(inputs, source, wait);
  const table = await byKey(lists, (file) => file.groupKey, wait);
  const groups = [...table].sort(([a], [b]) => compareBytes(a, b)).map(([, c]) => c.flat());
  return { length: groups.length, at: (index) => must(groups[index], index) };
}

/** Files by key (first-seen order), one column per child; nested composites are flattened. */
async function byKey(
  lists: readonly DatumList[],
  keyOf: (file: DatumFile) => string,
  wait: Wait,
): Promise<Map<string, DatumFile[][]>> {
  const table = new Map<string, DatumFile[][]>();
  for (const [child, list] of lists.entries()) {
    for (let index = 0; index < list.length; index += 1) {
      for (const file of list.at(index)) {
        const key = keyOf(file);
        const columns = table.get(key) ?? lists.map(() => []);
        table.set(key, columns);
        columns[child]?.push(file);
      }
      if ((index & 4095) === 4095) await pause(wait);
    }
  }
  return table;
}

function single(files: readonly DatumFile[]): DatumList {
  return { length: files.length, at: (index) => [must(files[index], index)] };
}

/** A union of many lists, found by binary search. */
function chained(parts: readonly DatumList[]): DatumList {
  const starts: number[] = [];
  let length = 0;
  for (const part of parts) {
    starts.push(length);
    length += part.length;
  }
  return {
    length,
    at(index) {
      let low = 0;
      let high = parts.length - 1;
      while (low < high) {
        const middle = (low + high + 1) >> 1;
        if ((starts[middle] ?? 0) <= index) low = middle;
        else high = middle - 1;
      }
      return must(parts[low], index).at(index - (starts[low] ?? 0));
    },
  };
}

/** Files of a datum stand by input name; a stable sort keeps equal names in child order. */
function byName(files: DatumFile[]): DatumFile[] {
  return files.sort((a, b) => compareBytes(a.input.name, b.input.name));
}

/** A template over the captures of a match; none = the empty key. */
function expand(template: string, match: Match): string {
  return template === '' ? '' : expandCaptures(template, match.captures);
}

function must<T>(value: T | undefined, index: number): T {
  if (value === undefined) throw new RangeError(`index ${index} out of range`);
  return value;
}

/** Lets other work run during long loops. */
async function pause(wait: Wait): Promise<void> {
  wait.signal.throwIfAborted();
  await setImmediate();
}
