/**
 * One archive of a spout becomes one commit: bytes are stored as they come, changes are gathered in
 * runs, and only a whole archive is handed to the coordinator, which makes the commit.
 */
import { invalidInput, messageOf } from '../../core/errors.js';
import {
  RunWriter,
  runToText,
  type ContentWriter,
  type FileSink,
  type Storage,
} from '../../storage/index.js';
import { writablePath } from '../../storage/glob.js';
import type { Wait } from '../../storage/types.js';
import type { TarSink } from './tar-stream.js';

export interface SpoutSinkDeps {
  /** Storage to write this archive with. */
  readonly storage: () => Storage;
  readonly overwrite: boolean;
  readonly marker: string;
  readonly say: (message: string) => void;
  /** Makes the commit, however long the coordinator is away; answers its id. */
  readonly commit: (runs: { data: string; marker: string; epoch: number }) => Promise<string>;
}

interface Archive {
  /** Epoch of its objects. */
  readonly epoch: number;
  readonly writer: ContentWriter;
  readonly data: RunWriter;
  readonly marker: RunWriter;
  bytes: number;
}

export class SpoutSink implements TarSink {
  #archive: Archive | undefined;
  #file: { readonly path: string; readonly sink: FileSink } | undefined;

  constructor(
    readonly deps: SpoutSinkDeps,
    readonly wait: Wait,
  ) {}

  file(path: string): void {
    const archive = this.#open();
    this.#file = { path: clean(path), sink: archive.writer.beginFile() };
  }

  bytes(part: Buffer): Promise<void> | undefined {
    const archive = this.#open();
    archive.bytes += part.length;
    return this.#file?.sink.write(part) ?? undefined;
  }

  async fileEnd(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    if (!file) return;
    const archive = this.#open();
    const content = await file.sink.end();
    const { marker, overwrite } = this.deps;
    const marks = marker !== '' && file.path.slice(1).startsWith(marker);
    const run = marks ? archive.marker : archive.data;
    const op = marks || overwrite ? 'set' : 'append';
    await run.add({ op, path: file.path, seq: run.count, content });
  }

  /** Directories come with their files; like git, a spout does not keep empty ones. */
  directory(): void {
    this.#open();
  }

  skipped(path: string, kind: string): void {
    this.#open();
    this.deps.say(`${path} was left out: a spout can write files, not a ${kind}`);
  }

  async end(): Promise<void> {
    const archive = this.#open();
    this.#archive = undefined;
    try {
      await archive.writer.flush(this.wait);
      const { data, marker, bytes, epoch } = archive;
      const files = data.count + marker.count;
      if (files === 0) return;
      const text = async (run: RunWriter): Promise<string> =>
        run.count === 0 ? '' : runToText(await run.finish());
      const runs = { data: await text(data), marker: await text(marker), epoch };
      const commit = await this.deps.commit(runs);
      const where = commit === '' ? 'the marker' : `commit ${commit}`;
      this.deps.say(`${files} ${files === 1 ? 'file' : 'files'}, ${bytes} bytes became ${where}`);
    } finally {
      archive.writer.abort();
    }
  }

  /** Forgets an archive that did not end. */
  drop(): void {
    this.#archive?.writer.abort();
    this.#archive = undefined;
    this.#file = undefined;
  }

  #open(): Archive {
    if (this.#archive) return this.#archive;
    const storage = this.deps.storage();
    const writer = storage.newWriter({ signal: this.wait.signal });
    const flush = (): Promise<void> => writer.flush(this.wait);
    this.#archive = {
      epoch: storage.epoch,
      writer,
      data: new RunWriter(storage, { ...this.wait, flush }),
      marker: new RunWriter(storage, { ...this.wait, flush }),
      bytes: 0,
    };
    return this.#archive;
  }
}

/** The path of an entry in its repo. Throws INVALID_INPUT. */
function clean(path: string): string {
  try {
    return writablePath(`/${path.replace(/^(?:\.?\/+)+/, '')}`);
  } catch (error) {
    throw badPath(path, error);
  }
}

function badPath(path: string, error: unknown): Error {
  return invalidInput(`the entry "${path}" of the tar stream: ${messageOf(error)}`, {
    cause: error,
  });
}
