/** get file: to standard output, into a file, or a whole directory with several downloads at once. */
import { fstatSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { codeOf, invalidInput, notFound } from '../../core/errors.js';
import { makeDir } from '../../core/make-dir.js';
import { Semaphore } from '../../core/semaphore.js';
import {
  FileType,
  GetFileRequest,
  InspectFileRequest,
  WalkFileRequest,
  type FileInfo,
} from '../../proto/generated/pfs.js';
import { asBytes } from '../client/bytes.js';
import type { Client } from '../client/client.js';
import type { Call } from '../grammar/command.js';
import { parseFileRef, type FileRef } from '../grammar/refs.js';
import { FileSink } from '../put/file-sink.js';
import { NO_PROGRESS, type Progress } from '../put/progress.js';
import { fileOf } from './file.js';
import { getWholeTree } from './get-tree.js';

export async function getFile(call: Call): Promise<void> {
  const { session, args, flags } = call;
  const ref = parseFileRef(args[0] ?? '');
  const output = flags.text('output');
  const client = await session.client();
  if (flags.bool('recursive')) {
    if (output === '')
      throw invalidInput('an output path needs to be specified when using the --recursive flag');
    await getRecursive(call, client, ref, output);
  } else if (output === '') await getToStdout(call, client, ref);
  else await getToFile(call, client, ref, output);
}

function requestOf(ref: FileRef, offset: number) {
  return GetFileRequest.fromPartial({ file: fileOf(ref), offsetBytes: offset });
}

async function getToStdout(call: Call, client: Client, ref: FileRef): Promise<void> {
  const { session, flags } = call;
  const chunks = client.stream(client.pfs.getFile, requestOf(ref, flags.number('offset')));
  await toStdout(session, chunks);
}

/** Writes a stream of bytes to standard output. */
export async function toStdout(
  session: Call['session'],
  chunks: AsyncIterable<unknown>,
): Promise<void> {
  // A redirect into a file is written beside the network; pipes and terminals take their time.
  if (fstatSync(1).isFile()) {
    const sink = FileSink.ofDescriptor(1);
    for await (const chunk of chunks) await sink.write(asBytes(chunk));
    await sink.close();
    return;
  }
  for await (const chunk of chunks) session.out(asBytes(chunk));
}

async function getToFile(call: Call, client: Client, ref: FileRef, output: string): Promise<void> {
  const { flags } = call;
  const resume = flags.bool('retry') ? sizeOf(output) : undefined;
  const offset = flags.number('offset') + (resume ?? 0);
  const progress = await progressFor(call);
  if (progress !== NO_PROGRESS) {
    const info = await client
      .unary(client.pfs.inspectFile, InspectFileRequest.fromPartial({ file: fileOf(ref) }))
      .catch(() => undefined);
    const left = info === undefined ? undefined : Math.max(0, info.sizeBytes - offset);
    progress.begin(output, left);
  }
  try {
    const chunks = client.stream(client.pfs.getFile, requestOf(ref, offset));
    await writeChunks(chunks, output, { append: resume !== undefined, progress });
    progress.end();
  } finally {
    progress.stop();
  }
}

function sizeOf(path: string): number | undefined {
  try {
    return statSync(path).size;
  } catch {
    return undefined;
  }
}

/** Writes a download. The file is opened when the first bytes are there, so a refused one keeps it. */
async function writeChunks(
  chunks: AsyncIterable<unknown>,
  path: string,
  how: { append: boolean; progress: Progress },
): Promise<void> {
  let sink: FileSink | undefined;
  try {
    for await (const chunk of chunks) {
      sink ??= FileSink.open(path, how);
      const bytes = asBytes(chunk);
      await sink.write(bytes);
      how.progress.sent(bytes.length);
    }
    sink ??= FileSink.open(path, how);
    await sink.close();
  } catch (error) {
    sink?.abandon();
    throw error;
  }
}

/** In one call, or with --parallelism, and from servers that have no such call, file by file. */
async function getRecursive(
  call: Call,
  client: Client,
  ref: FileRef,
  output: string,
): Promise<void> {
  if (!call.flags.given('parallelism')) {
    try {
      await getWholeTree(client, ref, output);
      return;
    } catch (error) {
      if (codeOf(error) !== 'UNIMPLEMENTED') throw error;
    }
  }
  await getTree(call, client, ref, output);
}

/** Downloads everything under a path; `output` becomes that directory (or that file). */
async function getTree(call: Call, client: Client, ref: FileRef, output: string): Promise<void> {
  const { session, flags } = call;
  const parallelism = flags.number('parallelism');
  if (parallelism < 1) throw invalidInput('--parallelism must be at least 1');
  const root = posix.join('/', ref.path);
  const slots = new Semaphore(parallelism);
  const failed = new AbortController();
  const signal = AbortSignal.any([session.signal, failed.signal]);
  const running = new Set<Promise<void>>();
  let found = false;
  const walk = client.stream(
    client.pfs.walkFile,
    WalkFileRequest.fromPartial({ file: fileOf({ ...ref, path: root }) }),
  );
  try {
    for await (const info of walk) {
      found = true;
      await slots.acquire({ signal });
      const task = fetchNode(client, info, root, output)
        .catch((error: unknown) => failed.abort(error))
        .finally(() => {
          slots.release();
          running.delete(task);
        });
      running.add(task);
    }
  } finally {
    await Promise.all(running);
  }
  signal.throwIfAborted();
  if (!found) throw notFound(`file ${ref.path} not found in repo ${ref.repo} at commit ${ref.id}`);
}

async function fetchNode(
  client: Client,
  info: FileInfo,
  root: string,
  output: string,
): Promise<void> {
  const path = info.file?.path ?? '';
  const target = join(output, posix.relative(root, path));
  if (info.fileType === FileType.DIR) {
    makeDir(target, 0o700);
    return;
  }
  makeDir(join(target, '..'), 0o700);
  const request = GetFileRequest.fromPartial({ file: { ...info.file, path: literal(path) } });
  const chunks = client.stream(client.pfs.getFile, request);
  await writeChunks(chunks, target, { append: false, progress: NO_PROGRESS });
}

/** Paths given to get are patterns; names that hold special characters are escaped. */
function literal(path: string): string {
  return path.replace(/[*?[\]{}!()@+^\\]/g, '\\$&');
}

async function progressFor(call: Call): Promise<Progress> {
  const { session, flags } = call;
  const wanted = flags.given('progress') ? flags.bool('progress') : session.stdout.isTTY;
  if (!wanted) return NO_PROGRESS;
  const { openProgress } = await import('../put/progress.js');
  return openProgress(undefined, process.stdout);
}
