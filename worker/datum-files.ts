/** The input files of a datum, as logs and questions about it name them. */
import type { LogLine, WorkDatum } from '../queue/messages.js';
import { decodeNode } from '../storage/node-format.js';

export type FileName = NonNullable<LogLine['data']>[number];

/** The files that people know a datum by, at most the first `max`. */
export function filesOf({ inputs }: WorkDatum, max = Infinity): FileName[] {
  const some = inputs.length > max ? inputs.slice(0, max) : inputs;
  return some.map(({ path, node }) => ({
    path,
    hash: decodeNode(Buffer.from(node, 'base64')).hash.toString('base64'),
  }));
}

/** Whether every filter names one of the files. */
export function haveAll(files: readonly FileName[], filters: readonly string[]): boolean {
  const names = new Set(files.flatMap(namesOf));
  return filters.every((filter) => names.has(filter));
}

/** How a filter may name a file: by its path, or its hash in base64 or hex. */
function namesOf({ path, hash }: FileName): string[] {
  return [path, hash, Buffer.from(hash, 'base64').toString('hex')];
}
