/** The file rpcs of pfs.API: requests in, use cases of versioning/files, replies out. */
import { invalidInput } from '../../core/errors.js';
import { encodeBytesValue } from '../../proto/codec-hot.js';
import type { Timestamp } from '../../proto/generated/google/protobuf/timestamp.js';
import {
  Delimiter,
  FileType,
  type APIServer,
  type File,
  type FileInfo,
  type PutFileRequest,
} from '../../proto/generated/pfs.js';
import type { CommitRef } from '../versioning/refs.js';
import {
  copyFile,
  deleteFile,
  putFiles,
  type FilesDeps,
  type PutItem,
  type SplitOptions,
} from '../versioning/files/put-files.js';
import type { UploadPosition, Uploads } from '../versioning/files/uploads.js';
import { diffFiles } from '../versioning/files/diff-files.js';
import {
  getFile,
  globFiles,
  inspectFile,
  listFiles,
  walkFiles,
  type FileEntry,
  type FileRef,
} from '../versioning/files/read-files.js';
import type { Handlers } from './handler.js';

/** Old clients refuse replies above 4 MiB, and expect at most this much per message. */
const REPLY_BYTES_MAX = 2 * 1024 * 1024;

const DELIMITERS: Readonly<Partial<Record<Delimiter, SplitOptions['delimiter']>>> = {
  [Delimiter.NONE]: 'none',
  [Delimiter.JSON]: 'json',
  [Delimiter.LINE]: 'line',
  [Delimiter.SQL]: 'sql',
  [Delimiter.CSV]: 'csv',
};

/** Metadata of an upload that can go on over a further call: its id, and where it goes on. */
const UPLOAD = 'tusk-upload';
const UPLOAD_AT = 'tusk-upload-at';

export function pfsFileHandlers(
  deps: FilesDeps & { readonly uploads: Uploads },
): Handlers<APIServer> {
  return {
    putFile: async (requests, ctx) => {
      const options = { signal: ctx.signal, requestId: ctx.requestId };
      const items = putItems(requests);
      const upload = ctx.metadata.get(UPLOAD)[0]?.toString();
      if (upload) {
        const at = uploadPosition(ctx.metadata.get(UPLOAD_AT)[0]?.toString());
        await deps.uploads.feed(upload, at, items, options);
      } else await putFiles(deps, items, options);
      return {};
    },
    deleteFile: async ({ file }, ctx) => {
      await deleteFile(deps, fileRef(file), { signal: ctx.signal, requestId: ctx.requestId });
      return {};
    },
    copyFile: async ({ src, dst, overwrite }, ctx) => {
      const request = { src: fileRef(src, 'src'), dst: fileRef(dst, 'dst'), overwrite };
      await copyFile(deps, request, { signal: ctx.signal, requestId: ctx.requestId });
      return {};
    },
    getFile: ({ file, offsetBytes, sizeBytes }, ctx) => {
      if (offsetBytes < 0 || sizeBytes < 0) {
        throw invalidInput('offset_bytes and size_bytes must not be negative');
      }
      const request = { file: fileRef(file), offset: offsetBytes, size: sizeBytes };
      return inMessages(getFile(deps, request, ctx));
    },
    inspectFile: async ({ file }, ctx) => toInfo(await inspectFile(deps, fileRef(file), ctx), true),
    listFile: async (request, ctx) => ({
      fileInfo: await collect(listInfos(deps, request, ctx)),
    }),
    listFileStream: (request, ctx) => listInfos(deps, request, ctx),
    walkFile: ({ file }, ctx) => infos(walkFiles(deps, fileRef(file), ctx), false),
    globFile: async (request, ctx) => ({
      fileInfo: await collect(infos(globFiles(deps, globRequest(request), ctx), false)),
    }),
    globFileStream: (request, ctx) => infos(globFiles(deps, globRequest(request), ctx), false),
    diffFile: async ({ newFile, oldFile, shallow }, ctx) => {
      const request = {
        newFile: fileRef(newFile, 'new file'),
        oldFile: oldFile && fileRef(oldFile, 'old file'),
        shallow,
      };
      const { newFiles, oldFiles } = await diffFiles(deps, request, ctx);
      return {
        newFiles: newFiles.map((entry) => toInfo(entry, false)),
        oldFiles: oldFiles.map((entry) => toInfo(entry, false)),
      };
    },
  };
}

function uploadPosition(text: string | undefined): UploadPosition | undefined {
  if (text === undefined) return undefined;
  const [, files, bytes] = /^(\d+)\/(\d+)$/.exec(text) ?? [];
  if (files === undefined) {
    throw invalidInput(`${UPLOAD_AT} must be files/bytes, for example 3/1048576; got "${text}"`);
  }
  return { files: Number(files), bytes: Number(bytes) };
}

async function* putItems(requests: AsyncIterable<PutFileRequest>): AsyncGenerator<PutItem> {
  for await (const request of requests) yield toPutItem(request);
}

const NO_SPLIT: SplitOptions = { delimiter: 'none', datums: 0, bytes: 0, headerRecords: 0 };

function toPutItem(request: PutFileRequest): PutItem {
  const { file, value, url, recursive, link, overwriteIndex } = request;
  if (!file) return { value, url: '', recursive: false, split: NO_SPLIT, delete: false };
  return {
    file: fileRef(file),
    value,
    url,
    recursive,
    link,
    split: toSplit(request),
    delete: request.delete,
    ...(overwriteIndex === undefined ? {} : { overwriteIndex: overwriteIndex.index }),
  };
}

function toSplit(request: PutFileRequest): SplitOptions {
  const delimiter = DELIMITERS[request.delimiter];
  if (!delimiter) {
    throw invalidInput(`unrecognized delimiter ${request.delimiter}`);
  }
  return {
    delimiter,
    datums: request.targetFileDatums,
    bytes: request.targetFileBytes,
    headerRecords: request.headerRecords,
  };
}

function fileRef(file: File | undefined, what = 'file'): FileRef {
  if (!file) throw invalidInput(`${what} cannot be nil`);
  return { commit: commitRef(file.commit, `${what} commit`), path: file.path };
}

function commitRef(
  commit: { repo?: { name: string } | undefined; id: string } | undefined,
  what: string,
): CommitRef {
  if (!commit) throw invalidInput(`${what} cannot be nil`);
  if (!commit.repo) throw invalidInput(`${what} repo cannot be nil`);
  return { repo: commit.repo.name, id: commit.id };
}

function globRequest(request: {
  commit?: { repo?: { name: string } | undefined; id: string } | undefined;
  pattern: string;
}): { commit: CommitRef; pattern: string } {
  return { commit: commitRef(request.commit, 'commit'), pattern: request.pattern };
}

function listInfos(
  deps: FilesDeps,
  request: { file?: File | undefined; full: boolean; history: number },
  wait: { signal: AbortSignal },
): AsyncGenerator<FileInfo> {
  const list = { file: fileRef(request.file), history: request.history };
  return infos(listFiles(deps, list, wait), request.full);
}

async function* infos(entries: AsyncIterable<FileEntry>, full: boolean): AsyncGenerator<FileInfo> {
  for await (const entry of entries) yield toInfo(entry, full);
}

/** What the API shows of an entry; `full` adds the pieces of a file. */
export function toInfo({ commit, path, node }: FileEntry, full: boolean): FileInfo {
  const pieces = full && node.type === 'file' ? node.pieces : [];
  return {
    file: { commit: { repo: { name: commit.repo }, id: commit.id }, path },
    fileType: node.type === 'file' ? FileType.FILE : FileType.DIR,
    sizeBytes: node.size,
    children: [],
    hash: node.hash,
    objects: pieces.map((piece) => ({ hash: piece.hash.toString('hex') })),
    blockRefs: [],
    committed: commit.finished === undefined ? undefined : timestamp(commit.finished),
  };
}

function timestamp(wallMs: number): Timestamp {
  return { seconds: Math.floor(wallMs / 1000), nanos: (wallMs % 1000) * 1_000_000 };
}

/** The messages of a download, encoded at once: the parts are used again behind our back. */
async function* inMessages(parts: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const part of parts) {
    for (let at = 0; at < part.length; at += REPLY_BYTES_MAX) {
      yield encodeBytesValue(part.subarray(at, at + REPLY_BYTES_MAX));
    }
  }
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}
