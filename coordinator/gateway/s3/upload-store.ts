/**
 * Multipart uploads under way. The bytes of parts lie in the object store; etcd holds one small key
 * per upload and one per part (docs/formats/etcd.md).
 *
 * U1 A part is registered only when its bytes are durable, and only while its upload exists.
 * U2 Completing removes the parts in the transaction that makes the commit, and leaves a note of
 *    what was made, so that the same request sent again gets the same answer.
 */
import type { Clock } from '../../../core/clock.js';
import { invariant } from '../../../core/errors.js';
import {
  decodeNode,
  encodeNode,
  refFromText,
  refToText,
  type Storage,
} from '../../../storage/index.js';
import type { FileContent, Wait } from '../../../storage/types.js';
import type { Meta, MetaTxn } from '../../meta/index.js';
import type { Bucket } from './bucket.js';
import { noSuchUpload } from '../../../http/s3/s3-error.js';

/** `s3/up/<repo>/<branch>/<id>` */
export interface UploadRecord {
  readonly id: string;
  readonly key: string;
  /** Wall time in milliseconds. */
  readonly started: number;
  /** Set once it is complete. */
  readonly made?: { readonly commit: string; readonly etag: string; readonly at: number };
}

/** `s3/part/<id>/<number>` */
interface PartRecord {
  readonly size: number;
  readonly etag: string;
  readonly at: number;
  /** The encoded file node: `i:` and base64, or the reference of a blob. */
  readonly node: string;
}

export interface Part {
  readonly number: number;
  readonly size: number;
  readonly etag: string;
  readonly at: number;
}

export interface StoredPart extends Part {
  readonly node: string;
}

export interface UploadDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly clock: Clock;
}

export const uploadsPrefix = ({ repo, ref }: Pick<Bucket, 'repo' | 'ref'>): string =>
  `s3/up/${repo}/${ref}/`;
const uploadKey = (bucket: Bucket, id: string): string => `${uploadsPrefix(bucket)}${id}`;
const partsPrefix = (id: string): string => `s3/part/${id}/`;
const partKey = (id: string, number: number): string =>
  `${partsPrefix(id)}${String(number).padStart(5, '0')}`;

/** Larger piece lists get an object of their own. */
const INLINE_BYTES_MAX = 1024;
/** How long a completed upload answers a repeated request. */
const REMEMBER_MS = 3_600_000;
const ID = /^[0-9a-f]{32}$/;

export class UploadStore {
  constructor(readonly deps: UploadDeps) {}

  /** Registers a new upload, and forgets those that were completed long ago. */
  async create(bucket: Bucket, upload: Omit<UploadRecord, 'started'>, wait: Wait): Promise<void> {
    const { meta, clock } = this.deps;
    const now = clock.wallMs();
    const old = (await this.#all(bucket, wait)).filter(
      ({ made }) => made && made.at < now - REMEMBER_MS,
    );
    await meta.transact(
      (t) => {
        t.putJson(uploadKey(bucket, upload.id), { ...upload, started: now });
        for (const { id } of old) t.delete(uploadKey(bucket, id));
        return Promise.resolve();
      },
      { ...wait, label: `upload ${upload.id}` },
    );
  }

  /** The upload of this key. Throws NoSuchUpload. */
  async get(bucket: Bucket, id: string, key: string, wait: Wait): Promise<UploadRecord> {
    const record = ID.test(id)
      ? await this.deps.meta.getJson<UploadRecord>(uploadKey(bucket, id), wait)
      : undefined;
    if (!record || record.key !== key) throw noSuchUpload(id);
    return record;
  }

  /** Uploads under way, by key and then by age. */
  async list(bucket: Bucket, wait: Wait): Promise<UploadRecord[]> {
    const open = (await this.#all(bucket, wait)).filter(({ made }) => !made);
    const order = (a: string, b: string): number => Buffer.compare(Buffer.from(a), Buffer.from(b));
    return open.sort((a, b) => order(a.key, b.key) || order(a.id, b.id));
  }

  async #all(bucket: Bucket, wait: Wait): Promise<UploadRecord[]> {
    const records: UploadRecord[] = [];
    for await (const kv of this.deps.meta.scan(uploadsPrefix(bucket), wait)) {
      records.push(JSON.parse(kv.value.toString()) as UploadRecord);
    }
    return records;
  }

  /** Registers a part whose bytes are stored; one with the same number is replaced. */
  async addPart(
    bucket: Bucket,
    id: string,
    part: { readonly number: number; readonly etag: string; readonly content: FileContent },
    wait: Wait,
  ): Promise<number> {
    const { storage, meta, clock } = this.deps;
    const bytes = encodeNode({ ...part.content, type: 'file', changed: 0 });
    const node =
      bytes.length <= INLINE_BYTES_MAX
        ? `i:${bytes.toString('base64')}`
        : refToText(await storage.putObject('blob', bytes, wait));
    const at = clock.wallMs();
    const record: PartRecord = { size: part.content.size, etag: part.etag, at, node };
    await meta.transact(
      async (t) => {
        await this.#needOpenIn(t, bucket, id);
        t.putJson(partKey(id, part.number), record);
      },
      { ...wait, label: `part ${id} ${part.number}` },
    );
    return at;
  }

  /** Parts in order of their numbers, those after `after`. */
  async *parts(id: string, o: Wait & { readonly after?: number }): AsyncGenerator<StoredPart> {
    const after = o.after === undefined ? {} : { after: partKey(id, o.after) };
    for await (const kv of this.deps.meta.scan(partsPrefix(id), { signal: o.signal, ...after })) {
      const record = JSON.parse(kv.value.toString()) as PartRecord;
      yield { number: Number(kv.key.slice(-5)), ...record };
    }
  }

  /** Where a part's bytes lie. */
  async contentOf({ node }: StoredPart, wait: Wait): Promise<FileContent> {
    const bytes = node.startsWith('i:')
      ? Buffer.from(node.slice(2), 'base64')
      : await this.deps.storage.getObject(refFromText(node), wait);
    const decoded = decodeNode(bytes);
    invariant(decoded.type === 'file', 'a part is a file');
    return decoded;
  }

  /** Part of the transaction that makes the commit: the upload must still be there (U2). */
  async completeIn(
    t: MetaTxn,
    bucket: Bucket,
    id: string,
    made: { readonly commit: string; readonly etag: string },
  ): Promise<void> {
    const record = await this.#needOpenIn(t, bucket, id);
    const at = this.deps.clock.wallMs();
    t.putJson(uploadKey(bucket, id), { ...record, made: { ...made, at } });
    t.deletePrefix(partsPrefix(id));
  }

  /** As `completeIn`, for a commit that is still open and so is no transaction of ours. */
  async complete(
    bucket: Bucket,
    id: string,
    made: { readonly commit: string; readonly etag: string },
    wait: Wait,
  ): Promise<void> {
    await this.deps.meta.transact((t) => this.completeIn(t, bucket, id, made), {
      ...wait,
      label: `upload ${id}`,
    });
  }

  /** Forgets an upload and its parts. Throws NoSuchUpload. */
  async abort(bucket: Bucket, id: string, wait: Wait): Promise<void> {
    await this.deps.meta.transact(
      async (t) => {
        await this.#needOpenIn(t, bucket, id);
        t.delete(uploadKey(bucket, id));
        t.deletePrefix(partsPrefix(id));
      },
      { ...wait, label: `upload ${id}` },
    );
  }

  async #needOpenIn(t: MetaTxn, bucket: Bucket, id: string): Promise<UploadRecord> {
    const record = await t.getJson<UploadRecord>(uploadKey(bucket, id));
    if (!record || record.made) throw noSuchUpload(id);
    return record;
  }
}
