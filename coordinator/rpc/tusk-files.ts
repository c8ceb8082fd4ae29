/** The service tusk.Files: whole trees in one call, uploads whose connection broke off. */
import { notFound } from '../../core/errors.js';
import { EMPTY_CONTENT } from '../../storage/index.js';
import { canonicalPath } from '../../storage/glob.js';
import type { TreeNode, Wait } from '../../storage/types.js';
import {
  FilesService as Definition,
  TreePart,
  type FilesServer,
  type GetTreeRequest,
} from '../../proto/generated/tusk.js';
import type { FilesDeps } from '../versioning/files/put-files.js';
import type { Uploads } from '../versioning/files/uploads.js';
import { naming, openCommit, shown } from '../versioning/files/read-files.js';
import type { Handlers } from './handler.js';

const PART_BYTES_MAX = 2 * 1024 * 1024;

/** Handlers yield messages that are encoded already, so that what waits to be sent is counted. */
export const TuskFilesService: typeof Definition = {
  ...Definition,
  getTree: {
    ...Definition.getTree,
    responseSerialize: (message: unknown) => message as Buffer,
  },
};

export function tuskFilesHandlers(
  deps: FilesDeps & { readonly uploads: Uploads },
): Handlers<FilesServer> {
  return {
    getTree: (request, ctx) => parts(deps, request, ctx) as AsyncGenerator<never>,
    resumePut: ({ id }, ctx) => deps.uploads.resume(id, ctx),
    abandonPut: async ({ id }) => {
      await deps.uploads.abandon(id);
      return {};
    },
  };
}

async function* parts(
  deps: FilesDeps,
  request: GetTreeRequest,
  wait: Wait,
): AsyncGenerator<Buffer> {
  const ref = { repo: request.repo, id: request.commit };
  const { commit, root } = await openCommit(deps, ref, wait);
  const walk = (): AsyncIterable<Entry> =>
    deps.storage.trees.walk(root, canonicalPath(request.path), wait);
  let found = false;
  try {
    for await (const { key, bytes, chunks } of deps.storage.readMany(items(walk()), wait)) {
      found = true;
      const path = shown(key.path);
      const dir = key.node.type === 'dir';
      if (bytes) yield encode({ path, dir, value: bytes });
      else yield* inParts(path, chunks ?? []);
    }
  } catch (error) {
    throw await naming(commit, error, request.path, walk);
  }
  if (!found || commit.kind === 'empty') {
    throw notFound(`file ${request.path} not found in repo ${commit.repo} at commit ${commit.id}`);
  }
}

interface Entry {
  readonly path: string;
  readonly node: TreeNode;
}

async function* items(entries: AsyncIterable<Entry>) {
  for await (const key of entries) {
    yield { key, content: key.node.type === 'file' ? key.node : EMPTY_CONTENT };
  }
}

async function* inParts(
  path: string,
  chunks: AsyncIterable<Buffer> | Iterable<Buffer>,
): AsyncGenerator<Buffer> {
  yield encode({ path, dir: false, value: Buffer.alloc(0) });
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += PART_BYTES_MAX) {
      yield encode({ path: '', dir: false, value: chunk.subarray(at, at + PART_BYTES_MAX) });
    }
  }
}

function encode(part: TreePart): Buffer {
  return Buffer.from(TreePart.encode(part).finish());
}
