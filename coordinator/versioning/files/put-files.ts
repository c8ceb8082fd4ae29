/**
 * PutFile, DeleteFile, CopyFile: changes to the files of a commit.
 *
 * P1 All or nothing: no change is registered before the whole stream ended well and every byte is
 *    durable. Bytes of a put that failed are garbage nobody sees.
 * P2 Changes take effect in stream order.
 * P3 Repeating a request id registers nothing twice.
 */
import { invalidInput } from '../../../core/errors.js';
import { EMPTY_CONTENT, held } from '../../../storage/index.js';
import type { ContentWriter, FileSink, RunRef, Storage } from '../../../storage/index.js';
import { canonicalPath, isGlob, writablePath } from '../../../storage/glob.js';
import type { FileContent, Wait } from '../../../storage/types.js';
import type { CommitRef } from '../refs.js';
import type { Versioning } from '../versioning.js';
import type { WriteTarget } from '../write.js';
import { CsvSplitter } from './csv-splitter.js';
import { JsonSplitter } from './json-splitter.js';
import { LineSplitter, type Splitter } from './line-splitter.js';
import { OpLog } from './op-log.js';
import { RecordGrouper, type GroupLimits } from './record-grouper.js';
import { SqlSplitter } from './sql-splitter.js';
import { urlFiles } from './url-source.js';

/** How a put is cut into files. */
export interface SplitOptions extends GroupLimits {
  readonly delimiter: 'none' | 'json' | 'line' | 'sql' | 'csv';
  readonly headerRecords: number;
}

/** One message of a put: the start of a file, or more bytes of the current one. */
export interface PutItem {
  readonly file?: { readonly commit: CommitRef; readonly path: string };
  readonly value: Buffer;
  readonly url: string;
  readonly recursive: boolean;
  /** With an s3 url: leave the bytes there and keep a reference. */
  readonly link?: boolean;
  readonly split: SplitOptions;
  /** Absent = append. 0 = replace. n = keep the first n pieces. */
  readonly overwriteIndex?: number;
  readonly delete: boolean;
}

/** What this part needs of versioning. */
export type FilesVersioning = Pick<
  Versioning,
  'writeTarget' | 'registerRuns' | 'oneShot' | 'resolveCommit' | 'openTree' | 'ancestry'
>;

export interface FilesDeps {
  readonly versioning: FilesVersioning;
  readonly storage: Storage;
  /** The directory that local:// urls mean; none: they are refused. */
  readonly localSources?: string | undefined;
}

interface PutOptions extends Wait {
  readonly requestId: string;
}

/** Split pieces per op, so that one op stays a small part of a run. */
const SPLIT_FILES = 10_000;

/** Takes a stream of puts and makes them visible at its end. Does nothing for an empty stream. */
export async function putFiles(
  deps: FilesDeps,
  items: AsyncIterable<PutItem>,
  options: PutOptions,
): Promise<void> {
  const writer = deps.storage.newWriter({ signal: options.signal });
  const put = new PutStream(deps, writer, options);
  try {
    for await (const item of items) {
      const wait = item.file ? put.begin(item) : put.more(item.value);
      if (wait) await wait;
    }
    await put.commit();
  } finally {
    writer.abort();
  }
}

/** Deletes a path, or what matches a glob. */
export async function deleteFile(
  deps: FilesDeps,
  file: { readonly commit: CommitRef; readonly path: string },
  options: PutOptions,
): Promise<void> {
  const path = canonicalPath(file.path);
  const target = await deps.versioning.writeTarget(file.commit, {
    signal: options.signal,
    needBranch: 'head',
  });
  await register(deps, target, options, (log) => log.add(deletion(path)));
}

/** Copies a file or directory by reference; a missing source is silently nothing. */
export async function copyFile(
  deps: FilesDeps,
  request: {
    readonly src: { readonly commit: CommitRef; readonly path: string };
    readonly dst: { readonly commit: CommitRef; readonly path: string };
    readonly overwrite: boolean;
  },
  options: PutOptions,
): Promise<void> {
  await held(deps.storage.epochs, 'refs', () => copyHeld(deps, request, options));
}

async function copyHeld(
  deps: FilesDeps,
  request: Parameters<typeof copyFile>[1],
  options: PutOptions,
): Promise<void> {
  const to = writablePath(request.dst.path);
  const from = canonicalPath(request.src.path);
  const wait = { signal: options.signal };
  const source = await deps.versioning.resolveCommit(request.src.commit, wait);
  const tree = await deps.versioning.openTree(source, wait);
  const node = await deps.storage.trees.lookup(tree, from, wait);
  const target = await deps.versioning.writeTarget(request.dst.commit, {
    ...wait,
    needBranch: 'exists',
  });
  if (!node) return;
  await register(deps, target, options, async (log) => {
    if (request.overwrite) await log.add({ op: 'delete', path: to });
    await log.add({ op: 'graft', path: to, node });
  });
}

function deletion(
  path: string,
): { op: 'delete'; path: string } | { op: 'deleteGlob'; path: string } {
  return { op: isGlob(path) ? 'deleteGlob' : 'delete', path };
}

/** Makes a short list of changes visible in the target. */
async function register(
  deps: FilesDeps,
  target: WriteTarget,
  options: PutOptions,
  fill: (log: OpLog) => void | Promise<void>,
): Promise<void> {
  const writer = deps.storage.newWriter({ signal: options.signal });
  const log = new OpLog(deps.storage, writer, { signal: options.signal });
  try {
    await fill(log);
    await makeVisible(deps, target, await log.end(options), options);
  } finally {
    writer.abort();
  }
}

async function makeVisible(
  deps: FilesDeps,
  target: WriteTarget,
  runs: readonly RunRef[],
  options: PutOptions,
): Promise<void> {
  const wait = { signal: options.signal };
  if (target.kind === 'open') {
    await deps.versioning.registerRuns(target.commit, runs, options.requestId, wait);
    return;
  }
  await deps.versioning.oneShot(target.branch, runs, wait);
}

/** One put stream: the file that is being written, and the log of what is complete. */
class PutStream {
  readonly #deps: FilesDeps;
  readonly #writer: ContentWriter;
  readonly #options: PutOptions;
  readonly #log: OpLog;
  #first: CommitRef | undefined;
  #target: WriteTarget | undefined;
  #current: Current | undefined;

  constructor(deps: FilesDeps, writer: ContentWriter, options: PutOptions) {
    this.#deps = deps;
    this.#writer = writer;
    this.#options = options;
    this.#log = new OpLog(deps.storage, writer, { signal: options.signal });
  }

  /** A message that names a file. */
  async begin(item: PutItem): Promise<void> {
    await this.#endCurrent();
    const file = item.file as NonNullable<PutItem['file']>;
    await this.#checkTarget(file.commit);
    if (item.delete) {
      await this.#log.add(deletion(canonicalPath(file.path)));
      return;
    }
    checkItem(item);
    if (item.url !== '') {
      await this.#fetch(file.path, item);
      return;
    }
    await this.#open(writablePath(file.path), item);
    await this.more(item.value);
  }

  more(bytes: Buffer): void | Promise<void> {
    const current = this.#current;
    if (!current) {
      if (this.#first === undefined) throw invalidInput('must send a request with a file first');
      return undefined;
    }
    return bytes.length === 0 ? undefined : current.write(bytes);
  }

  async commit(): Promise<void> {
    await this.#endCurrent();
    if (!this.#target) return;
    const runs = await this.#log.end(this.#options);
    await makeVisible(this.#deps, this.#target, runs, this.#options);
  }

  /** Puts what is behind the item's url. */
  async #fetch(path: string, item: PutItem): Promise<void> {
    const { url, recursive, link = false } = item;
    const base = recursive ? canonicalPath(path) : writablePath(path);
    const deps = { sources: this.#deps.storage.sources, localSources: this.#deps.localSources };
    for await (const found of urlFiles(deps, { url, recursive, link }, this.#options)) {
      const target = writablePath(`${base}/${found.suffix}`);
      if (link && found.link) {
        await this.#record(target, item, await found.link());
        continue;
      }
      await this.#open(target, item);
      for await (const bytes of found.read()) await this.more(bytes);
      await this.#endCurrent();
    }
    // What a client sends as value beside a url is ignored.
    this.#current = IGNORE;
  }

  async #open(path: string, item: PutItem): Promise<void> {
    const split = item.split.delimiter !== 'none';
    this.#current = split ? await this.#split(path, item) : this.#plain(path, item);
  }

  /** Logs a whole file. */
  async #record(path: string, item: PutItem, content: FileContent): Promise<void> {
    const { overwriteIndex } = item;
    if (overwriteIndex !== undefined && overwriteIndex > 0) {
      await this.#log.add({ op: 'truncate', path, keep: overwriteIndex });
    }
    const op = overwriteIndex === 0 ? 'set' : 'append';
    const wait = this.#log.add({ op, path, content });
    if (wait) await wait;
  }

  async #endCurrent(): Promise<void> {
    const current = this.#current;
    this.#current = undefined;
    await current?.end();
  }

  async #checkTarget(commit: CommitRef): Promise<void> {
    if (!this.#first) {
      this.#target = await this.#deps.versioning.writeTarget(commit, {
        signal: this.#options.signal,
      });
      this.#first = commit;
      return;
    }
    const first = this.#first;
    if (commit.id !== first.id) throw mixed('commit ID', first.id, commit.id);
    if (commit.repo !== first.repo) throw mixed('repo name', first.repo, commit.repo);
  }

  #plain(path: string, item: PutItem): Current {
    let first: Buffer | undefined;
    let sink: FileSink | undefined;
    return {
      write: (bytes) => {
        // Most small files are one message: they need no sink of their own.
        if (!first && !sink) {
          first = bytes;
          return undefined;
        }
        if (sink) return sink.write(bytes);
        sink = this.#writer.beginFile();
        const held = sink.write(first as Buffer);
        const now = sink.write(bytes);
        return held && now ? Promise.all([held, now]).then(() => undefined) : (held ?? now);
      },
      end: async () => {
        const content = sink ? sink.end() : this.#writer.writeBytes(first ?? NO_BYTES);
        await this.#record(path, item, await content);
      },
    };
  }

  async #split(path: string, item: PutItem): Promise<Current> {
    if (item.overwriteIndex === 0) await this.#log.add({ op: 'delete', path });
    let files: FileContent[] = [];
    const { headerRecords, delimiter } = item.split;
    const inherits = headerRecords > 0 || delimiter === 'sql';
    const emit = (): void | Promise<void> => {
      const gathered = files;
      files = [];
      const split = { op: 'split', path, files: gathered } as const;
      return this.#log.add(inherits ? { ...split, inherits } : split);
    };
    const onFile = (content: FileContent): void | Promise<void> => {
      files.push(content);
      return files.length >= SPLIT_FILES ? emit() : undefined;
    };
    const grouper = new RecordGrouper(this.#writer, item.split, onFile, headerRecords);
    const splitter = splitterFor(item.split, grouper, this.#writer);
    // A footer is known last, yet it belongs to the directory before its files do.
    const place = inherits ? this.#log.reserve() : 0;
    return {
      write: (bytes) => splitter.write(bytes),
      end: async () => {
        await splitter.end();
        if (files.length > 0) await emit();
        const header = await grouper.header();
        if (!header) return;
        const footer = splitter instanceof SqlSplitter ? await splitter.footer() : undefined;
        await this.#log.addAt(place, {
          op: 'edges',
          path,
          header,
          footer: footer ?? EMPTY_CONTENT,
        });
      },
    };
  }
}

interface Current {
  write(bytes: Buffer): void | Promise<void>;
  end(): Promise<void>;
}

const NO_BYTES = Buffer.alloc(0);
const IGNORE: Current = { write: () => undefined, end: () => Promise.resolve() };

function splitterFor(split: SplitOptions, files: RecordGrouper, writer: ContentWriter): Splitter {
  switch (split.delimiter) {
    case 'json':
      return new JsonSplitter(files);
    case 'csv':
      return new CsvSplitter(files);
    case 'sql':
      return new SqlSplitter(files, writer);
    case 'line':
    case 'none':
      return new LineSplitter(files);
  }
}

function checkItem({ split, url, link }: PutItem): void {
  if (link && url === '') throw invalidInput('only what is behind an s3:// url can be linked');
  if (link && split.delimiter !== 'none') {
    throw invalidInput('a linked file keeps its bytes where they are: it can not be split');
  }
  const { datums, bytes, headerRecords } = split;
  if (split.delimiter === 'none' && (datums > 0 || bytes > 0 || headerRecords > 0)) {
    throw invalidInput(
      'cannot set split options--targetFileBytes, targetFileDatums, or headerRecords--with ' +
        'delimiter == NONE, split disabled',
    );
  }
  if (datums < 0 || bytes < 0 || headerRecords < 0) {
    throw invalidInput(
      'target_file_datums, target_file_bytes, header_records must not be negative',
    );
  }
}

function mixed(what: string, expected: string, got: string): Error {
  return invalidInput(
    `all requests in a put files call must have the same ${what}; expected '${expected}', got '${got}'`,
  );
}
