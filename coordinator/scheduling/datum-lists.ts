/** Lists of datums that answer "which files are in datum n"; products are never kept. */
import { compareBytes, type Datum, type DatumFile } from './datum.js';

/** The datums of a job; `at` is cheap and may be called in any order. */
export interface DatumList {
  readonly length: number;
  at(index: number): Datum;
}

/** The files of a list of datums, one after the other, with the keys they are joined by. */
export interface Files {
  readonly length: number;
  at(index: number): DatumFile;
  joinKey(index: number): string;
  groupKey(index: number): string;
}

/** A list of one file per datum knows keys without making files. */
export interface FileList extends DatumList {
  readonly files: Files;
}

/** The datums of each list, one list after the other. */
export function unionList(lists: readonly DatumList[]): DatumList {
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

/** Every combination; the first list varies fastest. */
export function crossList(lists: readonly DatumList[]): DatumList {
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

/** Files of a datum stand by input name; a stable sort keeps equal names in child order. */
export function byName(files: DatumFile[]): DatumFile[] {
  return files.sort((a, b) => compareBytes(a.input.name, b.input.name));
}
