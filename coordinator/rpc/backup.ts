/** The service tusk.Backup: archives of the whole cluster, out and in. */
import { invalidInput } from '../../core/errors.js';
import type {
  ArchiveProgress,
  BackupServer,
  ExtractEvent,
  RestoreEvent,
  RestoreRequest,
} from '../../proto/generated/tusk.js';
import type { Admin, ArchiveProgress as Progress } from '../admin/index.js';
import type { Handlers } from './handler.js';

/** Bytes of an archive in one message. */
const MESSAGE_BYTES = 1024 * 1024;
/** Progress of a restore is told after so many bytes, and whenever records were written. */
const TELL_BYTES = 16 * 1024 * 1024;
const NO_BYTES = Buffer.alloc(0);

export function backupHandlers(admin: Admin): Handlers<BackupServer> {
  return {
    extract: async function* ({ url, noObjects, noPipelines }, { signal }) {
      const options = { noObjects, noPipelines };
      let last: Progress | undefined;
      if (url !== '') {
        for await (const progress of tellingSome(admin.extractTo(url, options, { signal }))) {
          last = progress;
          yield { value: NO_BYTES, progress: message(progress) };
        }
      } else {
        for await (const { parts, progress } of admin.extract(options, { signal })) {
          last = progress;
          yield* events(parts, progress);
        }
      }
      if (last) yield { value: NO_BYTES, progress: { ...message(last), done: true } };
    },
    restore: async function* (requests, { signal }) {
      const source = requests[Symbol.asyncIterator]();
      try {
        yield* restoring(admin, source, { signal });
      } catch (error) {
        // The rest of the archive need not travel only to hear the status.
        yield { progress: undefined, refused: true };
        await drain(source);
        throw error;
      }
      await drain(source);
    },
  };
}

async function* restoring(
  admin: Admin,
  source: AsyncIterator<RestoreRequest>,
  wait: { readonly signal: AbortSignal },
): AsyncGenerator<RestoreEvent> {
  const first = await source.next();
  const start = first.done ? undefined : first.value.start;
  if (!start) throw invalidInput('the first request of a restore says from where');
  let last: Progress = { objects: 0, bytes: 0, records: 0 };
  if (start.abort) await admin.abortRestore(wait);
  else {
    const restored =
      start.url === '' ? admin.restore(values(source), wait) : admin.restoreFrom(start.url, wait);
    for await (const progress of tellingSome(restored)) {
      last = progress;
      yield { progress: message(progress), refused: false };
    }
  }
  yield { progress: { ...message(last), done: true }, refused: false };
}

/** Reads to the end: a call can only be answered when its requests were taken. */
async function drain(source: AsyncIterator<RestoreRequest>): Promise<void> {
  while (!(await source.next()).done);
}

function message(progress: Progress): ArchiveProgress {
  return { ...progress, done: false };
}

/** Cuts parts into messages; small ones are joined. */
function* events(parts: readonly Buffer[], progress: Progress): Generator<ExtractEvent> {
  let held: Buffer[] = [];
  let bytes = 0;
  for (const part of parts) {
    for (let from = 0; from < part.length;) {
      const take = Math.min(part.length - from, MESSAGE_BYTES - bytes);
      held.push(part.subarray(from, from + take));
      bytes += take;
      from += take;
      if (bytes < MESSAGE_BYTES) continue;
      yield { value: Buffer.concat(held), progress: undefined };
      held = [];
      bytes = 0;
    }
  }
  yield { value: Buffer.concat(held), progress: message(progress) };
}

/** Not every step is worth a message; the last one is always told. */
async function* tellingSome(steps: AsyncIterable<Progress>): AsyncGenerator<Progress> {
  let told: Progress | undefined;
  let last: Progress | undefined;
  for await (const step of steps) {
    last = step;
    const far = step.bytes - (told?.bytes ?? 0) >= TELL_BYTES;
    if (told && !far && step.records === told.records) continue;
    told = step;
    yield step;
  }
  if (last && last !== told) yield last;
}

/** The archive's bytes. What is left when the restore has ended early is not read. */
async function* values(source: AsyncIterator<RestoreRequest>): AsyncGenerator<Buffer> {
  for (;;) {
    const next = await source.next();
    if (next.done) return;
    const { value } = next.value;
    if (value === undefined)
      throw invalidInput('only bytes of the archive follow the first request');
    yield Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  }
}
