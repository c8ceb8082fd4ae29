/** pfs.ObjectAPI: the part that clients call; what only old workers called says so. */
import { invalidInput, unimplemented } from '../../core/errors.js';
import {
  ObjectAPIService,
  type Object as ObjectMessage,
  type ObjectAPIServer,
  type ObjectInfo,
  type PutObjectRequest,
  type Tag,
} from '../../proto/generated/pfs.js';
import type { StoredObject, StoredObjects } from '../objects/stored-objects.js';
import type { Handlers } from './handler.js';

/** Old clients expect at most this much per message. */
const REPLY_BYTES_MAX = 2 * 1024 * 1024;

const HASH = /^[0-9a-f]{64}([0-9a-f]{64})?$/;

export function objectHandlers(objects: StoredObjects): Handlers<ObjectAPIServer> {
  return {
    ...internal(),
    putObject: async (requests, ctx) => ({ hash: (await objects.put(parts(requests), ctx)).hash }),
    putObjectSplit: async (requests, ctx) => {
      const stored = await objects.putSplit(parts(requests), ctx);
      return { objects: stored.map(({ hash }) => ({ hash })) };
    },
    getObject: (object, ctx) => {
      const range = { signal: ctx.signal, offset: 0, size: 0 };
      return inMessages(objects.read([hashOf(object)], range));
    },
    getObjects: (request, ctx) => {
      const hashes = request.objects.map(hashOf);
      const range = { signal: ctx.signal, offset: request.offsetBytes, size: request.sizeBytes };
      return inMessages(objects.read(hashes, range));
    },
    getTag: async function* ({ name }, ctx) {
      const hash = await objects.tagged(name, ctx);
      yield* inMessages(objects.read([hash], { signal: ctx.signal, offset: 0, size: 0 }));
    },
    inspectObject: async (object, ctx) => toInfo(await objects.inspect(hashOf(object), ctx)),
    inspectTag: async ({ name }, ctx) =>
      toInfo(await objects.inspect(await objects.tagged(name, ctx), ctx)),
    checkObject: async ({ object }, ctx) => ({ exists: await objects.exists(hashOf(object), ctx) }),
    tagObject: async ({ object, tags }, ctx) => {
      await objects.tag(hashOf(object), names(tags), ctx);
      return {};
    },
    listObjects: async function* (_request, ctx) {
      for await (const object of objects.list(ctx)) yield toInfo(object);
    },
    listTags: async function* ({ prefix, includeObject }, ctx) {
      for await (const { tag, object } of objects.listTags(prefix, ctx)) {
        yield { tag: { name: tag }, object: includeObject ? { hash: object } : undefined };
      }
    },
    deleteObjects: async (request, ctx) => {
      await objects.delete(request.objects.map(hashOf), ctx);
      return {};
    },
    deleteTags: async ({ tags }, ctx) => {
      await objects.deleteTags(names(tags), ctx);
      return {};
    },
  };
}

/** Calls of old workers and of their storage: blocks, tar files, raw keys. */
const INTERNAL = [
  'putObjects',
  'createObject',
  'putBlock',
  'getBlock',
  'getBlocks',
  'listBlock',
  'compact',
  'putObjDirect',
  'getObjDirect',
  'deleteObjDirect',
] as const;

function internal(): Handlers<ObjectAPIServer> {
  const handlers = INTERNAL.map((name) => {
    const { path, responseStream } = ObjectAPIService[name];
    const fail = (): never => {
      throw unimplemented(
        `${path} is not there: it served the workers of old versions, and Tusk's workers read and ` +
          'write the object store themselves. Use PutObject and GetObject, or files',
      );
    };
    const handler = responseStream
      ? async function* () {
          fail();
        }
      : async () => fail();
    return [name, handler];
  });
  return Object.fromEntries(handlers) as Handlers<ObjectAPIServer>;
}

async function* inMessages(parts: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  for await (const part of parts) {
    for (let at = 0; at < part.length; at += REPLY_BYTES_MAX) {
      yield part.subarray(at, at + REPLY_BYTES_MAX);
    }
  }
}

async function* parts(
  requests: AsyncIterable<PutObjectRequest>,
): AsyncGenerator<{ value: Buffer; tags: string[] }> {
  for await (const { value, tags } of requests) yield { value, tags: names(tags) };
}

function hashOf(object: ObjectMessage | undefined): string {
  if (!object) throw invalidInput('object cannot be nil');
  if (!HASH.test(object.hash)) {
    throw invalidInput(`object hash (${object.hash.slice(0, 200)}) invalid: expected hex digits`);
  }
  return object.hash;
}

function names(tags: readonly Tag[]): string[] {
  return tags.map(({ name }) => name);
}

/** Tusk has no blocks: the object stands for itself. */
function toInfo({ hash, size }: StoredObject): ObjectInfo {
  return { object: { hash }, blockRef: { block: { hash }, range: { lower: 0, upper: size } } };
}
