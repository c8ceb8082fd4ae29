/**
 * Reads sources and sends them through one PutFile call: small files in one message each (see
 * read-ahead.ts), big ones in large blocks, the next being read while one is on its way.
 */
import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { invalidInput } from '../../core/errors.js';
import { abortable } from '../../core/signals.js';
import { fileErrorText } from './file-error.js';
import type { FrameMaker } from './frames.js';
import type { Progress } from './progress.js';
import type { PutStream } from './put-stream.js';
import { SMALL_BYTES, type Ahead, type Pace } from './read-ahead.js';
import type { LocalFile } from './walk.js';

/** Bytes in one message of a big file. */
const BLOCK_BYTES = 4 * 1024 * 1024;
/** Standard input arrives in small pieces; this many bytes make a message. */
const STDIN_BYTES = 1024 * 1024;

export interface Upload {
  readonly stream: PutStream;
  readonly frames: FrameMaker;
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly pace: Pace;
}

/**
 * Sends one local file, or the rest of one. An upload that began at `startedMs` (wall time) can not go
 * on with a file that was changed later.
 */
export async function sendFile(
  upload: Upload,
  { file, content }: Ahead,
  startedMs: number,
): Promise<void> {
  if (file.sentBytes !== undefined) {
    await sendRestFrom(upload, file, { from: file.sentBytes, startedMs });
    return;
  }
  const prepared = await content;
  if (prepared) {
    upload.progress.begin(file.to, prepared.bytes);
    await upload.stream.send(prepared.message);
    upload.progress.sent(prepared.bytes);
    upload.progress.end();
    return;
  }
  const from = performance.now();
  const fd = openOrThrow(file.from);
  let big = false;
  try {
    const stats = fstatSync(fd);
    if (stats.isDirectory()) throw invalidInput(`read ${file.from}: is a directory`);
    if (!stats.isFile() || stats.size > SMALL_BYTES) big = true;
    else await sendSmall(upload, file, { fd, size: stats.size, from });
  } finally {
    closeSync(fd);
  }
  if (big) await sendBig(upload, file);
}

function openOrThrow(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw invalidInput(fileErrorText('open', path, error));
  }
}

async function sendSmall(
  upload: Upload,
  file: LocalFile,
  at: { readonly fd: number; readonly size: number; readonly from: number },
): Promise<void> {
  const { fd, size } = at;
  upload.progress.begin(file.to, size);
  // One byte more than expected shows whether the file has grown meanwhile.
  const frame = upload.frames.first(file.to, size + 1);
  const length = fill(fd, frame.value, file.from);
  upload.pace.measured(performance.now() - at.from);
  await upload.stream.send(frame.sealed(length));
  upload.progress.sent(length);
  if (length > size) await sendRest(upload, fd, file.from);
  upload.progress.end();
}

function fill(fd: number, target: Buffer, path: string): number {
  let length = 0;
  try {
    while (length < target.length) {
      const got = readSync(fd, target, length, target.length - length, null);
      if (got === 0) break;
      length += got;
    }
  } catch (error) {
    throw invalidInput(fileErrorText('read', path, error));
  }
  return length;
}

async function sendRest(upload: Upload, fd: number, path: string): Promise<void> {
  for (;;) {
    upload.signal.throwIfAborted();
    const frame = upload.frames.next(SMALL_BYTES);
    const length = fill(fd, frame.value, path);
    if (length === 0) return;
    await upload.stream.send(frame.sealed(length));
    upload.progress.sent(length);
  }
}

/**
 * Sends what is behind the first `from` bytes of a file, whose first message was received by an
 * earlier call of the upload. Throws INVALID_INPUT when the file was changed since.
 */
async function sendRestFrom(
  upload: Upload,
  file: LocalFile,
  at: { readonly from: number; readonly startedMs: number },
): Promise<void> {
  const stats = statSync(file.from);
  if (stats.mtimeMs > at.startedMs || stats.size < at.from) {
    throw invalidInput(
      `${file.from} was changed while it was put and the connection broke; put it again`,
    );
  }
  await sendBig(upload, file, at.from);
}

/** Reads block n+1 while block n is on its way. */
async function sendBig(upload: Upload, file: LocalFile, from?: number): Promise<void> {
  const handle = await open(file.from, 'r').catch((error: unknown) => {
    throw invalidInput(fileErrorText('open', file.from, error));
  });
  try {
    const stats = await handle.stat();
    upload.progress.begin(file.to, stats.size);
    const begun = from !== undefined;
    let place = from ?? 0;
    const read = async (frame: ReturnType<FrameMaker['next']>): Promise<Buffer | undefined> => {
      let length = 0;
      while (length < frame.value.length) {
        // Pipes and devices have no positions.
        const position = begun ? place : null;
        const room = frame.value.length - length;
        const { bytesRead } = await handle.read(frame.value, length, room, position);
        place += bytesRead;
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return length === 0 ? undefined : frame.sealed(length);
    };
    upload.progress.sent(place);
    const head = begun
      ? upload.frames.next(BLOCK_BYTES)
      : upload.frames.first(file.to, BLOCK_BYTES);
    const first = await read(head);
    for (let block = first ?? (begun ? undefined : head.sealed(0)); block !== undefined;) {
      upload.signal.throwIfAborted();
      const current = block;
      const ahead = read(upload.frames.next(BLOCK_BYTES));
      ahead.catch(() => undefined);
      await upload.stream.send(current);
      upload.progress.sent(current.length);
      block = await ahead;
    }
    upload.progress.end();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).syscall === 'read') {
      throw invalidInput(fileErrorText('read', file.from, error));
    }
    throw error;
  } finally {
    await handle.close();
  }
}

/**
 * Sends everything that arrives on a stream as one file; with `from`, as the rest of a file whose
 * first `from` bytes an earlier call of the upload has sent.
 */
export async function sendStream(
  upload: Upload,
  input: AsyncIterable<Uint8Array | string>,
  to: string,
  from?: number,
): Promise<void> {
  upload.progress.begin('stdin', undefined);
  upload.progress.sent(from ?? 0);
  const begun = from !== undefined;
  let frame = begun ? upload.frames.next(STDIN_BYTES) : upload.frames.first(to, STDIN_BYTES);
  let length = 0;
  let sentAny = begun;
  const flush = async (): Promise<void> => {
    await upload.stream.send(frame.sealed(length));
    upload.progress.sent(length);
    sentAny = true;
    frame = upload.frames.next(STDIN_BYTES);
    length = 0;
  };
  const parts = input[Symbol.asyncIterator]();
  for (;;) {
    // An interrupt counts at once, also while a terminal or pipe has nothing to say.
    const next = await abortable(parts.next(), upload.signal);
    if (next.done === true) break;
    const part = next.value;
    const bytes = typeof part === 'string' ? Buffer.from(part) : part;
    for (let from = 0; from < bytes.length;) {
      const take = Math.min(bytes.length - from, frame.value.length - length);
      frame.value.set(bytes.subarray(from, from + take), length);
      length += take;
      from += take;
      if (length === frame.value.length) await flush();
    }
  }
  if (length > 0 || !sentAny) await flush();
  upload.progress.end();
}
