/**
 * What the stats tree of a job holds about one datum (docs/formats/work.md, "Stats"): small files
 * with what is known about it, its inputs and outputs by reference. Written by the worker that ran
 * the datum, and by the owner of the job where no worker could.
 */
import type { FileContent, RunOp, TreeNode } from './types.js';
import { EMPTY_CONTENT } from './content.js';

export interface DatumStatsTimes {
  readonly downloadMs: number;
  readonly processMs: number;
  readonly uploadMs: number;
  readonly downloadBytes: number;
  readonly uploadBytes: number;
}

export interface DatumStats {
  /** 64 hex digits: the name of its directory. */
  readonly id: string;
  /** The job that ran it. */
  readonly job: string;
  /** Its place in the enumeration of that job. */
  readonly index: number;
  readonly stats: DatumStatsTimes;
  /** Why it did not succeed. */
  readonly failure?: string;
  readonly inputs: readonly {
    readonly name: string;
    /** Absolute; `/` for the root. */
    readonly path: string;
    readonly node: TreeNode;
  }[];
  /** What it wrote: paths below /pfs/out. */
  readonly outputs: readonly RunOp[];
}

/** The failure text of a datum whose error was handled by err_cmd. */
export const RECOVERED_TEXT = 'the datum errored, and the error was handled successfully';

/** The changes that make a datum's directory, all but its log; `write` stores a small file. */
export async function* datumStatsOps(
  datum: DatumStats,
  write: (bytes: Buffer) => Promise<FileContent> | FileContent,
): AsyncGenerator<RunOp> {
  const dir = `/${datum.id}`;
  const seq = datum.index;
  const file = (name: string, content: FileContent): RunOp => ({
    op: 'set',
    path: `${dir}/${name}`,
    seq,
    content,
  });
  yield file(`job:${datum.job}`, EMPTY_CONTENT);
  yield file('index', await write(Buffer.from(String(datum.index))));
  yield file('stats', await write(Buffer.from(statsJson(datum.stats))));
  if (datum.failure !== undefined) {
    yield file('failure', await write(Buffer.from(datum.failure)));
  }
  for (const { name, path, node } of datum.inputs) {
    const place = `${dir}/pfs/${name}${path === '/' ? '' : path}`;
    yield { op: 'graft', path: place, seq, node };
  }
  for (const op of datum.outputs) yield { ...op, path: `${dir}/pfs/out${op.path}`, seq };
}

/** The change that adds a datum's log. */
export function datumLogOp(datum: { id: string; index: number }, content: FileContent): RunOp {
  return { op: 'set', path: `/${datum.id}/logs`, seq: datum.index, content };
}

/** ProcessStats as proto JSON. */
export function statsJson(stats: DatumStatsTimes): string {
  return JSON.stringify({
    downloadTime: seconds(stats.downloadMs),
    processTime: seconds(stats.processMs),
    uploadTime: seconds(stats.uploadMs),
    downloadBytes: String(stats.downloadBytes),
    uploadBytes: String(stats.uploadBytes),
  });
}

/** As protobuf writes a Duration: `1.500s`, with 0, 3 or 6 digits. */
function seconds(ms: number): string {
  const micros = Math.round(ms * 1000);
  const whole = Math.floor(micros / 1e6);
  const rest = micros % 1e6;
  if (rest === 0) return `${whole}s`;
  const digits = rest % 1000 === 0 ? 3 : 6;
  return `${whole}.${String(rest).padStart(6, '0').slice(0, digits)}s`;
}
