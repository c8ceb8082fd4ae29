/** put file: all sources of one call go through one PutFile stream and become one commit. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { invalidInput } from '../../core/errors.js';
import { Delimiter } from '../../proto/generated/pfs.js';
import type { Call } from '../grammar/command.js';
import { parseFileRef, type FileRef } from '../grammar/refs.js';
import { destinations, type Source } from '../put/destination.js';
import { fileErrorText } from '../put/file-error.js';
import { FrameMaker, type PutOptions } from '../put/frames.js';
import { NO_PROGRESS, type Progress, type Totals } from '../put/progress.js';
import { PutStream } from '../put/put-stream.js';
import { Pace, readAhead } from '../put/read-ahead.js';
import { sendFile, sendStream, type Upload } from '../put/upload.js';
import { walkSource } from '../put/walk.js';
import { readAll } from './prompt.js';

const DELIMITERS: Readonly<Record<string, Delimiter>> = {
  '': Delimiter.NONE,
  json: Delimiter.JSON,
  line: Delimiter.LINE,
  sql: Delimiter.SQL,
  csv: Delimiter.CSV,
};

export async function putFile(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const ref = parseFileRef(args[0] ?? '');
  if (ref.id === '') {
    throw invalidInput(
      `invalid format "${args[0] ?? ''}": branch cannot be empty (expected repo@branch[:path])`,
    );
  }
  const options = putOptions(call);
  if (flags.number('parallelism') < 1) throw invalidInput('--parallelism must be at least 1');
  const recursive = flags.bool('recursive');
  const sources = destinations(await sourceList(call), { path: ref.path, recursive });
  if (options.link) checkLinks(sources);
  const client = await session.client();
  const progress = await progressFor(call, sources);
  const stream = new PutStream(client);
  const frames = new FrameMaker({ repo: { name: ref.repo }, id: ref.id }, options);
  try {
    const pace = new Pace();
    const upload: Upload = { stream, frames, progress, signal: session.signal, pace };
    await sendAll(call, upload, sources, ref);
    progress.stop();
    await stream.finish(frames.end());
  } catch (error) {
    progress.stop();
    stream.cancel();
    throw error;
  }
}

function putOptions({ flags }: Call): PutOptions {
  const split = flags.text('split');
  const delimiter = DELIMITERS[split];
  if (delimiter === undefined) {
    throw invalidInput(
      `unrecognized delimiter '${split}'; only accepts one of {json,line,sql,csv}`,
    );
  }
  return {
    delimiter,
    targetFileDatums: flags.number('target-file-datums'),
    targetFileBytes: flags.number('target-file-bytes'),
    headerRecords: flags.number('header-records'),
    overwrite: flags.bool('overwrite'),
    link: flags.bool('link'),
  };
}

function checkLinks(sources: readonly Source[]): void {
  const other = sources.find(({ from }) => !from.startsWith('s3://'));
  if (other) throw invalidInput(`--link takes s3:// urls only, got ${other.from}`);
}

/** The sources: lines of `-i`, else values of `-f`, which may hold commas when such a file exists. */
async function sourceList(call: Call): Promise<string[]> {
  const { session, flags } = call;
  const list = flags.text('input-file');
  if (list === '') return flags.list('file', (value) => value.includes(',') && existsSync(value));
  const text = await listText(call, list);
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== '');
  if (lines.length === 0) throw invalidInput(`${list} names no files to put`);
  session.signal.throwIfAborted();
  return lines;
}

async function listText({ session }: Call, list: string): Promise<string> {
  if (list === '-') return (await readAll(session)).toString('utf8');
  if (/^https?:\/\//.test(list)) {
    const response = await fetch(list, { signal: session.signal });
    if (!response.ok)
      throw invalidInput(`could not fetch ${list}: ${response.status} ${response.statusText}`);
    return await response.text();
  }
  try {
    return readFileSync(list, 'utf8');
  } catch (error) {
    throw invalidInput(fileErrorText('open', list, error));
  }
}

async function sendAll(
  { session, flags }: Call,
  upload: Upload,
  sources: readonly Source[],
  ref: FileRef,
): Promise<void> {
  const recursive = flags.bool('recursive');
  const parallelism = flags.number('parallelism');
  const seen = sources.length > 1 ? new Set<string>() : undefined;
  const claim = (to: string): void => {
    if (seen?.has(to)) {
      throw invalidInput(
        `multiple files put with the path ${to}; aborting, nothing was put into ${ref.repo}`,
      );
    }
    seen?.add(to);
  };
  for (const source of sources) {
    if (source.kind === 'url') {
      claim(source.to);
      await upload.stream.send(upload.frames.url(source.to, source.from, recursive));
    } else if (source.kind === 'stdin') {
      claim(source.to);
      if (session.stdin.isTTY) session.note('Reading from stdin.');
      await sendStream(upload, session.stdin, source.to);
    } else {
      const files = walkSource(source.from, source.to, { recursive, note: session.note });
      for (const ahead of readAhead(files, { ...upload, parallelism })) {
        session.signal.throwIfAborted();
        claim(ahead.file.to);
        await sendFile(upload, ahead);
      }
    }
  }
}

/** Bars on a terminal. What there is to send is counted first, so that they can tell the rest. */
async function progressFor(call: Call, sources: readonly Source[]): Promise<Progress> {
  const { session, flags } = call;
  const wanted = flags.given('progress') ? flags.bool('progress') : session.stdout.isTTY;
  if (!wanted) return NO_PROGRESS;
  const { openProgress } = await import('../put/progress.js');
  return openProgress(count(sources, flags.bool('recursive')), process.stdout);
}

function count(sources: readonly Source[], recursive: boolean): Totals | undefined {
  if (sources.some(({ kind }) => kind !== 'path')) return undefined;
  let files = 0;
  let bytes = 0;
  for (const source of sources) {
    const options = { recursive, note: (): void => undefined };
    for (const file of walkSource(source.from, source.to, options)) {
      files += 1;
      bytes += statSync(file.from).size;
    }
  }
  return { files, bytes };
}
