/**
 * Joins and groups: which files meet, as positions in the lists they come from. Files are made when
 * a datum is asked for, so what is held is some numbers per file and one key per meeting.
 */
import { setImmediate } from 'node:timers/promises';
import type { Wait } from '../../storage/types.js';
import { compareBytes, type DatumFile } from './datum.js';
import { byName, type DatumList, type FileList, type Files } from './datum-lists.js';

/** For each child the positions of its files with one key. */
type Columns = readonly number[][];

/**
 * Inner equi-join, first child fastest; keys in first-seen order. A key that a child lacks is kept
 * for the children that set `outer`.
 */
export async function joinList(
  lists: readonly DatumList[],
  outer: readonly boolean[],
  wait: Wait,
): Promise<DatumList> {
  const children = await flat(lists, wait);
  const table = await byKey(children, (files, index) => files.joinKey(index), wait);
  const meetings: Columns[] = [];
  const starts: number[] = [];
  let length = 0;
  for (const columns of table.values()) {
    const inner = columns.every((column) => column.length > 0);
    const kept = inner ? columns : columns.map((column, i) => (outer[i] ? column : []));
    const datums = product(kept);
    if (datums === 0) continue;
    meetings.push(kept);
    starts.push(length);
    length += datums;
  }
  return {
    length,
    at(index) {
      const meeting = lastAtOrBefore(starts, index);
      let rest = index - (starts[meeting] ?? 0);
      const files: DatumFile[] = [];
      for (const [child, column] of (meetings[meeting] ?? []).entries()) {
        if (column.length === 0) continue;
        files.push((children[child] as Files).at(column[rest % column.length] as number));
        rest = Math.floor(rest / column.length);
      }
      if (rest > 0 || files.length === 0) throw new RangeError(`index ${index} out of range`);
      return byName(files);
    },
  };
}

/** One datum per key, keys ascending: all its files, child after child. */
export async function groupList(lists: readonly DatumList[], wait: Wait): Promise<DatumList> {
  const children = await flat(lists, wait);
  const table = await byKey(children, (files, index) => files.groupKey(index), wait);
  const groups = [...table].sort(([a], [b]) => compareBytes(a, b)).map(([, columns]) => columns);
  return {
    length: groups.length,
    at(index) {
      const columns = groups[index];
      if (!columns) throw new RangeError(`index ${index} out of range`);
      return columns.flatMap((column, child) =>
        column.map((position) => (children[child] as Files).at(position)),
      );
    },
  };
}

/** Positions by key, in first-seen order. */
async function byKey(
  children: readonly Files[],
  keyOf: (files: Files, index: number) => string,
  wait: Wait,
): Promise<Map<string, number[][]>> {
  const table = new Map<string, number[][]>();
  for (const [child, files] of children.entries()) {
    for (let index = 0; index < files.length; index += 1) {
      const key = keyOf(files, index);
      let columns = table.get(key);
      if (!columns) table.set(key, (columns = children.map(() => [])));
      columns[child]?.push(index);
      if ((index & 4095) === 4095) await pause(wait);
    }
  }
  return table;
}

async function flat(lists: readonly DatumList[], wait: Wait): Promise<Files[]> {
  const children: Files[] = [];
  for (const list of lists) {
    children.push('files' in list ? (list as FileList).files : await flattened(list, wait));
  }
  return children;
}

/** The files of a composite, each under its own key: datum and place in it, by position. */
async function flattened(list: DatumList, wait: Wait): Promise<Files> {
  const datums: number[] = [];
  const places: number[] = [];
  for (let index = 0; index < list.length; index += 1) {
    const { length } = list.at(index);
    for (let place = 0; place < length; place += 1) {
      datums.push(index);
      places.push(place);
    }
    if ((index & 1023) === 1023) await pause(wait);
  }
  const at = (position: number): DatumFile => {
    const file = list.at(datums[position] ?? -1)[places[position] ?? -1];
    if (!file) throw new RangeError(`index ${position} out of range`);
    return file;
  };
  return {
    length: datums.length,
    at,
    joinKey: (position) => at(position).joinKey,
    groupKey: (position) => at(position).groupKey,
  };
}

/** Datums of a meeting: columns without files do not take part. */
function product(columns: Columns): number {
  const lengths = columns.map(({ length }) => length).filter((length) => length > 0);
  return lengths.length === 0 ? 0 : lengths.reduce((all, length) => all * length, 1);
}

/** The last place whose start is at or below `index`. */
function lastAtOrBefore(starts: readonly number[], index: number): number {
  let low = 0;
  let high = starts.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((starts[middle] ?? 0) <= index) low = middle;
    else high = middle - 1;
  }
  return low;
}

async function pause(wait: Wait): Promise<void> {
  wait.signal.throwIfAborted();
  await setImmediate();
}
