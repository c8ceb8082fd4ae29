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
import { Pace, readAhead } from '../put/read-ahead.js';
import { Replay } from '../put/replay.js';
import { Received, resumable, type At } from '../put/resumable.js';
import { sendFile, sendStream, type Upload } from '../put/upload.js';
import { walkSource, type LocalFile } from '../put/walk.js';
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
  const frames = new FrameMaker({ repo: { name: ref.repo }, id: ref.id }, options);
  const pace = new Pace();
  const input = new Replay(() => session.stdin);
  const startedMs = session.clock.wallMs();
  await resumable(session, client, async ({ stream, at }) => {
    const progress = await progressFor(call, sources);
    try {
      const upload: Upload = { stream, frames, progress, signal: session.signal, pace };
      await sendAll(call, upload, sources, { ref, at, startedMs, input });
      progress.stop();
      await stream.finish(frames.end());
    } finally {
      progress.stop();
    }
  });
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

/** What one call of an upload has to send. */
interface Task {
  readonly ref: FileRef;
  /** Behind this; undefined: everything. */
  readonly at: At;
  /** When the upload began; files that changed since can not be continued. Milliseconds, wall time. */
  readonly startedMs: number;
  readonly input: Replay;
}

async function sendAll(
  { session, flags }: Call,
  upload: Upload,
  sources: readonly Source[],
  task: Task,
): Promise<void> {
  const recursive = flags.bool('recursive');
  const parallelism = flags.number('parallelism');
  const claim = claims(sources, task.ref);
  const received = new Received(task.at);
  for (const source of sources) {
    if (source.kind === 'url') {
      claim(source.to);
      if (received.of(source.to) !== undefined) continue;
      await upload.stream.send(upload.frames.url(source.to, source.from, recursive));
    } else if (source.kind === 'stdin') {
      claim(source.to);
      if (session.stdin.isTTY && !task.at) session.note('Reading from stdin.');
      await sendInput(upload, source.to, task, received.of(source.to));
    } else {
      const files = walkSource(source.from, source.to, { recursive, note: session.note });
      const left = unsent(files, { upload, claim, received });
      for (const ahead of readAhead(left, { ...upload, parallelism })) {
        session.signal.throwIfAborted();
        await sendFile(upload, ahead, task.startedMs);
      }
    }
  }
}

/** Refuses a second source for one path. */
function claims(sources: readonly Source[], ref: FileRef): (to: string) => void {
  const seen = sources.length > 1 ? new Set<string>() : undefined;
  return (to) => {
    if (seen?.has(to)) {
      throw invalidInput(
        `multiple files put with the path ${to}; aborting, nothing was put into ${ref.repo}`,
      );
    }
    seen?.add(to);
  };
}

/** Leaves out the files that earlier calls of the upload have sent. */
function* unsent(
  files: Iterable<LocalFile>,
  how: { upload: Upload; claim: (to: string) => void; received: Received },
): Generator<LocalFile> {
  const { progress } = how.upload;
  for (const file of files) {
    how.claim(file.to);
    const got = how.received.of(file.to);
    if (got === undefined) yield file;
    else if (got === 'all') {
      const { size } = statSync(file.from);
      progress.begin(file.to, size);
      progress.sent(size);
      progress.end();
    } else yield { ...file, sentBytes: got };
  }
}

async function sendInput(
  upload: Upload,
  to: string,
  { input }: Task,
  got: 'all' | number | undefined,
): Promise<void> {
  if (got === 'all') return;
  if (!input.rewind(got ?? 0)) {
    throw invalidInput(
      'the connection broke off, and standard input can not be read again from its beginning; ' +
        'nothing was stored',
    );
  }
  await sendStream(upload, input, to, got);
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
