/**
 * The objects and tags of pfs.ObjectAPI: bytes under the sha512 that old clients know them by, and
 * names for them. Nothing of Tusk's own lives here; files and commits do not need it.
 *
 * O1 An object's record is written after its bytes are durable, and never changes.
 * O2 A tag names an object by hash; when the object is deleted the tag stays and names nothing.
 */
import { createHash } from 'node:crypto';
import { invalidInput, notFound, stateConflict } from '../../core/errors.js';
import {
  decodeNode,
  encodeNode,
  refFromText,
  refToText,
  type FileContent,
  type FileSink,
  type Storage,
} from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';

export interface ObjectsDeps {
  readonly meta: Meta;
  readonly storage: Storage;
}

export interface StoredObject {
  /** sha512 of the bytes, lowercase hex. */
  readonly hash: string;
  readonly size: number;
}

/** `object/<hash>`: the bytes as a tree node, or the blob that holds it when it is long. */
interface ObjectRecord {
  readonly size: number;
  readonly node?: string;
  readonly blob?: string;
}

const OBJECTS = 'object/';
const TAGS = 'tag/';
/** A longer list of pieces goes to a blob, so that values in etcd stay small. */
const NODE_BYTES_MAX = 16 * 1024;
/** Keys changed in one transaction. */
const KEYS_MAX = 500;
/** PutObjectSplit cuts here. */
export const OBJECT_BYTES_MAX = 512 * 1024 * 1024;

export class StoredObjects {
  readonly #deps: ObjectsDeps;

  constructor(deps: ObjectsDeps) {
    this.#deps = deps;
  }

  /** Stores all bytes as one object, under these tags too. No bytes make the empty object. */
  async put(
    parts: AsyncIterable<{ readonly value: Buffer; readonly tags: readonly string[] }>,
    wait: Wait,
  ): Promise<StoredObject> {
    const tags = new Set<string>();
    const writer = this.#deps.storage.newWriter(wait);
    try {
      const object = new OpenObject(writer.beginFile());
      for await (const part of parts) {
        for (const tag of part.tags) tags.add(checkTag(tag));
        await object.write(part.value);
      }
      const ended = await object.end();
      await writer.flush(wait);
      await this.#record([ended], [...tags], wait);
      return ended.object;
    } finally {
      writer.abort();
    }
  }

  /** Stores the bytes as objects of OBJECT_BYTES_MAX and a shorter, perhaps empty, last one. */
  async putSplit(
    parts: AsyncIterable<{ readonly value: Buffer; readonly tags: readonly string[] }>,
    wait: Wait,
    bytesMax = OBJECT_BYTES_MAX,
  ): Promise<StoredObject[]> {
    const writer = this.#deps.storage.newWriter(wait);
    try {
      const done: Ended[] = [];
      let open = new OpenObject(writer.beginFile());
      for await (const { value } of parts) {
        for (let from = 0; from < value.length;) {
          const to = Math.min(value.length, from + bytesMax - open.size);
          await open.write(value.subarray(from, to));
          from = to;
          if (open.size < bytesMax) continue;
          done.push(await open.end());
          open = new OpenObject(writer.beginFile());
        }
      }
      done.push(await open.end());
      await writer.flush(wait);
      await this.#record(done, [], wait);
      return done.map(({ object }) => object);
    } finally {
      writer.abort();
    }
  }

  /** NOT_FOUND when there is no such object. */
  async inspect(hash: string, wait: Wait): Promise<StoredObject> {
    return { hash, size: (await this.#existing(hash, wait)).size };
  }

  async exists(hash: string, wait: Wait): Promise<boolean> {
    return (await this.#deps.meta.get(OBJECTS + hash, wait)) !== undefined;
  }

  /** The object that a tag names; NOT_FOUND when it names none. */
  async tagged(tag: string, wait: Wait): Promise<string> {
    const found = await this.#deps.meta.get(TAGS + tag, wait);
    if (!found) throw notFound(`tag ${tag} not found`, { fields: { tag } });
    return (JSON.parse(found.value.toString()) as { object: string }).object;
  }

  /** The bytes of objects one after another, or a range of these; `size` 0 = to the end. */
  async *read(
    hashes: readonly string[],
    range: Wait & { readonly offset: number; readonly size: number },
  ): AsyncGenerator<Buffer> {
    const { signal, offset } = range;
    const end = range.size === 0 ? Infinity : offset + range.size;
    let at = 0;
    for (const hash of hashes) {
      const record = await this.#existing(hash, range);
      const from = Math.max(offset - at, 0);
      const length = Math.min(end - at, record.size) - from;
      if (length > 0) {
        const content = await this.#content(record, range);
        yield* this.#deps.storage.read(content, { signal, offset: from, length });
      }
      at += record.size;
      if (at >= end) return;
    }
  }

  /** Names an object that exists. */
  async tag(hash: string, tags: readonly string[], wait: Wait): Promise<void> {
    const names = tags.map(checkTag);
    await this.#deps.meta.transact(
      async (t) => {
        if (!(await t.get(OBJECTS + hash))) {
          throw stateConflict(`object ${hash} does not exist`, { fields: { hash } });
        }
        for (const name of names) t.putJson(TAGS + name, { object: hash });
      },
      { ...wait, label: 'objects' },
    );
  }

  /** All objects, by hash. */
  async *list(wait: Wait): AsyncGenerator<StoredObject> {
    for await (const { key, value } of this.#deps.meta.scan(OBJECTS, wait)) {
      const { size } = JSON.parse(value.toString()) as ObjectRecord;
      yield { hash: key.slice(OBJECTS.length), size };
    }
  }

  /** Tags that begin so, by name. */
  async *listTags(prefix: string, wait: Wait): AsyncGenerator<{ tag: string; object: string }> {
    for await (const { key, value } of this.#deps.meta.scan(TAGS + prefix, wait)) {
      const { object } = JSON.parse(value.toString()) as { object: string };
      yield { tag: key.slice(TAGS.length), object };
    }
  }

  /** Those that do not exist are ignored. */
  async delete(hashes: readonly string[], wait: Wait): Promise<void> {
    await this.#remove(
      hashes.map((hash) => OBJECTS + hash),
      wait,
    );
  }

  /** Those that do not exist are ignored. */
  async deleteTags(tags: readonly string[], wait: Wait): Promise<void> {
    await this.#remove(
      tags.map((tag) => TAGS + tag),
      wait,
    );
  }

  async #remove(keys: readonly string[], wait: Wait): Promise<void> {
    for (let from = 0; from < keys.length; from += KEYS_MAX) {
      await this.#deps.meta.transact(
        async (t) => {
          for (const key of keys.slice(from, from + KEYS_MAX)) t.delete(key);
        },
        { ...wait, label: 'objects' },
      );
    }
  }

  async #record(objects: readonly Ended[], tags: readonly string[], wait: Wait): Promise<void> {
    const records: { key: string; record: ObjectRecord }[] = [];
    for (const { object, content } of objects) {
      const bytes = encodeNode({ type: 'file', changed: 0, ...content });
      const { size } = object;
      const record =
        bytes.length <= NODE_BYTES_MAX
          ? { size, node: bytes.toString('base64') }
          : { size, blob: refToText(await this.#deps.storage.putObject('blob', bytes, wait)) };
      records.push({ key: OBJECTS + object.hash, record });
    }
    const [first] = objects;
    await this.#deps.meta.transact(
      async (t) => {
        for (const { key, record } of records) if (!(await t.get(key))) t.putJson(key, record);
        for (const tag of tags) t.putJson(TAGS + tag, { object: first?.object.hash });
      },
      { ...wait, label: 'objects' },
    );
  }

  async #existing(hash: string, wait: Wait): Promise<ObjectRecord> {
    const found = await this.#deps.meta.get(OBJECTS + hash, wait);
    if (found) return JSON.parse(found.value.toString()) as ObjectRecord;
    const hint = /^[0-9a-f]{64}$/.test(hash)
      ? ': it looks like a piece of a file; get the file instead'
      : '';
    throw notFound(`object ${hash} not found${hint}`, { fields: { hash } });
  }

  async #content(record: ObjectRecord, wait: Wait): Promise<FileContent> {
    const { node, blob } = record;
    const bytes =
      blob === undefined
        ? Buffer.from(node ?? '', 'base64')
        : await this.#deps.storage.getObject(refFromText(blob), wait);
    return decodeNode(bytes) as FileContent & ReturnType<typeof decodeNode>;
  }
}

interface Ended {
  readonly object: StoredObject;
  readonly content: FileContent;
}

/** One object being written. */
class OpenObject {
  readonly #sink: FileSink;
  readonly #hash = createHash('sha512');
  size = 0;

  constructor(sink: FileSink) {
    this.#sink = sink;
  }

  async write(bytes: Buffer): Promise<void> {
    if (bytes.length === 0) return;
    this.size += bytes.length;
    this.#hash.update(bytes);
    await this.#sink.write(bytes);
  }

  async end(): Promise<Ended> {
    const content = await this.#sink.end();
    return { object: { hash: this.#hash.digest('hex'), size: this.size }, content };
  }
}

function checkTag(tag: string): string {
  if (tag === '') throw invalidInput('a tag must have a name');
  return tag;
}
