/**
 * The stats of one task's datums: a run of their directories in the stats tree (storage/
 * datum-stats). Inputs and outputs go in by reference; only what is said about the datum is written.
 */
import { createInflateRaw } from 'node:zlib';
import { pipeline } from 'node:stream/promises';
import { LogTextReader } from '../queue/log-text.js';
import type { DatumResult, LogLine, WorkDatum } from '../queue/messages.js';
import {
  datumLogOp,
  datumStatsOps,
  RECOVERED_TEXT,
  refFromText,
  RunWriter,
  runToText,
  type ContentWriter,
  type FileContent,
  type FileSink,
  type Storage,
} from '../storage/index.js';
import { decodeNode } from '../storage/node-format.js';
import type { RunOp, Wait } from '../storage/types.js';
import { LineFramer } from './line-framer.js';

/** Room for one task's stats in memory before the run is written in parts. */
const RUN_BYTES = 4 * 1024 * 1024;
const LOG_CHUNK_CHARS = 256 * 1024;
/** A line carries what user code wrote (64 KiB at most) and the names of all files of its datum. */
const LINE_CHARS_MAX = 64 * 1024 * 1024;

export interface TaskStatsDeps extends Wait {
  readonly storage: Storage;
  readonly job: string;
  readonly writer: () => ContentWriter;
}

export class TaskStats {
  readonly #run: RunWriter;

  constructor(readonly deps: TaskStatsDeps) {
    this.#run = new RunWriter(deps.storage, {
      signal: deps.signal,
      partBytes: RUN_BYTES,
      flush: () => deps.writer().flush(deps),
    });
  }

  /** Notes a datum that ran. Twins share a directory; the first one fills it. */
  async add(work: WorkDatum, result: DatumResult, outputs: readonly RunOp[]): Promise<void> {
    if ((work.twin ?? 0) > 0) return;
    const { id, index, stats } = result;
    const failure = failureText(result);
    const inputs = work.inputs.map(({ name, path, node }) => ({
      ...{ name, path },
      node: decodeNode(Buffer.from(node, 'base64')),
    }));
    const datum = {
      ...{ id, index, stats, inputs, outputs, job: this.deps.job },
      ...(failure === undefined ? {} : { failure }),
    };
    const write = (bytes: Buffer) => this.deps.writer().writeBytes(bytes);
    for await (const op of datumStatsOps(datum, write)) await this.#op(op);
  }

  /** The run as text; `segments` refer to the task's log, in order. */
  async finish(
    results: readonly DatumResult[],
    segments: readonly string[],
  ): Promise<string | undefined> {
    if (this.#run.count === 0) return undefined;
    await this.#logs(results, segments);
    await this.deps.writer().flush(this.deps);
    return runToText(await this.#run.finish());
  }

  async #logs(results: readonly DatumResult[], segments: readonly string[]): Promise<void> {
    const starts = new Map(results.map((result) => [result.log?.[0] ?? -1, result]));
    let file: DatumLog | undefined;
    const end = async (): Promise<void> => {
      if (file) await this.#op(datumLogOp(file.datum, await file.end()));
      file = undefined;
    };
    for await (const lines of linesOf(segments, this.deps)) {
      for (const line of lines) {
        const begins = starts.get(line.line);
        if (begins && begins.log?.[1] !== begins.log?.[0]) {
          await end();
          file = new DatumLog(begins, this.deps.writer().beginFile());
        }
        await file?.add(line);
      }
    }
    await end();
  }

  async #op(op: RunOp): Promise<void> {
    const waiting = this.#run.add(op);
    if (waiting) await waiting;
  }
}

class DatumLog {
  #text = '';

  constructor(
    readonly datum: DatumResult,
    readonly sink: FileSink,
  ) {}

  async add(line: LogLine): Promise<void> {
    this.#text += `${logMessageJson(line)}\n`;
    if (this.#text.length > LOG_CHUNK_CHARS) await this.#write();
  }

  async end(): Promise<FileContent> {
    await this.#write();
    return this.sink.end();
  }

  async #write(): Promise<void> {
    const room = this.sink.write(Buffer.from(this.#text));
    this.#text = '';
    if (room) await room;
  }
}

function failureText(result: DatumResult): string | undefined {
  if (result.state === 'recovered') return RECOVERED_TEXT;
  return result.state === 'failed' ? (result.reason ?? 'failed') : undefined;
}

/** A log line as the proto JSON of the v1 API's LogMessage. */
export function logMessageJson(line: LogLine): string {
  return JSON.stringify({
    pipelineName: line.pipeline,
    jobId: line.job,
    workerId: line.worker,
    datumId: line.datum,
    data: line.data ?? [],
    ts: new Date(line.ts).toISOString(),
    user: line.user,
    message: line.message,
  });
}

/** Lines of deflated log segments, a batch at a time. */
async function* linesOf(
  segments: readonly string[],
  { storage, signal }: TaskStatsDeps,
): AsyncGenerator<LogLine[]> {
  for (const ref of segments) {
    const segment = await storage.getObject(refFromText(ref), { signal });
    const reader = new LogTextReader();
    let lines: LogLine[] = [];
    const framer = new LineFramer(LINE_CHARS_MAX, (row) => {
      const line = reader.read(row);
      if (line) lines.push(line);
    });
    const inflate = createInflateRaw();
    const fed = pipeline([segment], inflate);
    fed.catch(() => undefined);
    for await (const bytes of inflate) {
      framer.push(bytes as Buffer);
      const batch = lines;
      lines = [];
      yield batch;
    }
    await fed;
  }
}
