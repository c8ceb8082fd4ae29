/** extract and restore: the whole cluster as an archive, to and from a file, a pipe or a bucket. */
import { createReadStream, fstatSync, renameSync, rmSync } from 'node:fs';
import type { ClientDuplexStream } from '@grpc/grpc-js';
import { invalidInput } from '../../core/errors.js';
import { addAbortListener } from '../../core/signals.js';
import {
  BackupClient,
  ExtractRequest,
  RestoreRequest,
  type ArchiveProgress,
  type RestoreEvent,
} from '../../proto/generated/tusk.js';
import { END_MARKER } from '../../proto/streams.js';
import type { Client } from '../client/client.js';
import type { Call } from '../grammar/command.js';
import { fileErrorText } from '../put/file-error.js';
import { FileSink } from '../put/file-sink.js';
import { formatSize } from '../render/size.js';
import type { Session } from '../session.js';

/** Bytes of an archive in one message. */
const MESSAGE_BYTES = 1024 * 1024;

export async function extract({ session, flags }: Call): Promise<void> {
  const url = flags.text('url');
  const output = flags.text('output');
  if (url !== '' && output !== '') throw invalidInput('give either --url or --output, not both');
  if (url === '' && output === '' && session.stdout.isTTY) {
    throw invalidInput(
      'an archive is bytes, not text for a terminal: name a file with -o, a bucket with --url, ' +
        'or send it on with > or |',
    );
  }
  const client = await session.client();
  const request = ExtractRequest.fromPartial({
    url,
    noObjects: flags.bool('no-objects'),
    noPipelines: flags.bool('no-pipelines'),
  });
  const status = new Status(session, 'extracted');
  // A file has its name when it is whole, not before.
  const partial = `${output}.partial`;
  const sink = output === '' ? undefined : FileSink.open(partial, { append: false });
  const direct = url === '' && !sink ? stdoutSink(session) : undefined;
  try {
    const backup = client.service(BackupClient);
    for await (const { value, progress } of client.stream(backup.extract, request)) {
      if (value.length > 0) await (sink ?? direct)?.write(Buffer.from(value));
      if (progress) status.tell(progress);
    }
    await (sink ?? direct)?.close();
    if (sink) renameSync(partial, output);
  } catch (error) {
    status.stop();
    sink?.abandon();
    if (sink) rmSync(partial, { force: true });
    throw error;
  }
  status.done(url || output);
}

interface Sink {
  write(bytes: Buffer): Promise<void>;
  close(): Promise<void>;
}

function stdoutSink(session: Session): Sink {
  if (fstatSync(1).isFile()) return FileSink.ofDescriptor(1);
  return {
    write: async (bytes) => {
      if (!session.stdout.write(bytes)) {
        await new Promise<void>((resolve) => process.stdout.once('drain', resolve));
      }
    },
    close: () => Promise.resolve(),
  };
}

export async function restore({ session, flags }: Call): Promise<void> {
  const url = flags.text('url');
  const file = flags.text('file');
  const abort = flags.bool('abort');
  if ([url !== '', file !== '', abort].filter(Boolean).length > 1) {
    throw invalidInput('give only one of --url, --file and --abort');
  }
  const local = url === '' && !abort;
  if (local && file === '' && session.stdin.isTTY) {
    throw invalidInput('name the archive with -f, a bucket with --url, or send it with < or |');
  }
  const input = local ? (file === '' ? session.stdin : openFile(file)) : undefined;
  const client = await session.client();
  const status = new Status(session, 'restored');
  try {
    await sendArchive(client, RestoreRequest.fromPartial({ start: { url, abort } }), input, status);
  } catch (error) {
    status.stop();
    throw error;
  }
  if (abort) session.note('The restore is given up; the cluster is empty.');
  else status.done('');
}

function openFile(path: string): AsyncIterable<unknown> {
  const stream = createReadStream(path, { highWaterMark: MESSAGE_BYTES });
  return (async function* () {
    try {
      yield* stream as AsyncIterable<Buffer>;
    } catch (error) {
      throw invalidInput(fileErrorText('open', path, error));
    }
  })();
}

type RestoreCall = ClientDuplexStream<RestoreRequest, RestoreEvent>;

/** Sends while it listens: the server's error counts at once, and it may come before the end. */
async function sendArchive(
  client: Client,
  start: RestoreRequest,
  input: AsyncIterable<unknown> | undefined,
  status: Status,
): Promise<void> {
  const metadata = client.metadata();
  metadata.set(END_MARKER, '1');
  const call: RestoreCall = client.service(BackupClient).restore(metadata);
  const stop = addAbortListener(client.signal, () => call.cancel());
  let done = false;
  let wanted = true;
  let refuse = (): void => undefined;
  const refused = new Promise<void>((resolve) => {
    refuse = () => {
      wanted = false;
      resolve();
    };
  });
  const answered = (async () => {
    for await (const { progress, refused } of call as AsyncIterable<RestoreEvent>) {
      if (progress) status.tell(progress);
      if (refused) refuse();
      done ||= progress?.done === true;
    }
  })();
  let over = false;
  const settled = answered.then(
    () => void (over = true),
    () => void (over = true),
  );
  try {
    call.write(start);
    if (input) {
      for await (const part of input) {
        if (over || !wanted) break;
        const room = call.write(RestoreRequest.fromPartial({ value: Buffer.from(part as Buffer) }));
        if (!room) await Promise.race([drained(call), settled, refused]);
      }
    }
    if (!over) {
      call.write(RestoreRequest.fromPartial({ end: true }));
      call.end();
    }
    await answered;
    if (!done) throw invalidInput('the server ended the restore before its end');
  } catch (error) {
    call.cancel();
    await settled;
    throw client.translate(error);
  } finally {
    stop();
  }
}

function drained(call: RestoreCall): Promise<void> {
  return new Promise((resolve) => call.once('drain', resolve));
}

/** One line on a terminal that tells how far it is. */
class Status {
  readonly #startMs = performance.now();
  #toldMs = 0;
  #shown = false;
  #last: ArchiveProgress | undefined;

  constructor(
    readonly session: Session,
    readonly verb: string,
  ) {}

  tell(progress: ArchiveProgress): void {
    this.#last = progress;
    const nowMs = performance.now();
    if (!this.session.stderr.isTTY || nowMs - this.#toldMs < 200) return;
    this.#toldMs = nowMs;
    this.#shown = true;
    this.session.stderr.write(`\r${this.#text(progress)}\x1b[K`);
  }

  stop(): void {
    if (this.#shown) this.session.stderr.write('\r\x1b[K');
    this.#shown = false;
  }

  done(where: string): void {
    this.stop();
    const to = where === '' ? '' : ` to ${where}`;
    if (this.#last) this.session.note(`${this.#text(this.#last)}${to}`);
  }

  #text({ objects, bytes, records }: ArchiveProgress): string {
    const seconds = Math.max(0.001, (performance.now() - this.#startMs) / 1000);
    const speed = formatSize(Math.round(bytes / seconds));
    return `${this.verb} ${objects} objects (${formatSize(bytes)}, ${speed}/s) and ${records} records`;
  }
}
