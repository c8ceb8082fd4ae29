/**
 * A cluster as an archive: every metadata key as of one revision, and the objects of the store.
 *
 * X1 Bytes are stored before a key refers to them, so what a key of the revision needs was in the
 *    store before the listing of objects began.
 * X2 Nothing that the revision needs may be swept meanwhile: `hold/<id>` lies under a lease from
 *    before the revision until the end, and the extract ends when the lease is lost.
 * X3 Objects are checked against their names; a damaged one ends the extract with its name.
 */
import type { Clock } from '../../core/clock.js';
import { codeOf, corruptData } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import { sha256Hex } from '../../core/sha256.js';
import type { ObjectInfo, Storage } from '../../storage/index.js';
import { orderedAhead } from '../../storage/ordered-ahead.js';
import type { Wait } from '../../storage/types.js';
import type { Lease, Meta } from '../meta/index.js';
import { ARCHIVE_FORMAT, ArchiveEncoder, type ArchiveRecord } from './archive-format.js';
import { HOLDS, isOwn, withoutPipelines } from './keys.js';
import { RecordSpool } from './record-spool.js';

export interface AdminDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly clock: Clock;
  /** Of the installation. */
  readonly clusterId: string;
  readonly version: string;
  /** For files that are needed while an extract runs. */
  readonly dir: string;
}

export interface ExtractOptions {
  readonly noObjects: boolean;
  readonly noPipelines: boolean;
}

export interface ArchiveProgress {
  readonly objects: number;
  /** Of objects. */
  readonly bytes: number;
  readonly records: number;
}

/** A part of the archive, and what is in it with all parts before. */
export interface ExtractPart {
  readonly parts: readonly Buffer[];
  readonly progress: ArchiveProgress;
}

const LEASE_MS = 30_000;
const KINDS = ['c', 'p', 'page', 'run', 'blob'] as const;
const PARALLEL = 16;
const AHEAD_BYTES = 64 * 1024 * 1024;
const NAMES = 10_000;
const RECORDS_BYTES = 512 * 1024;

/** The archive, part by part. */
export async function* extract(
  deps: AdminDeps,
  options: ExtractOptions,
  wait: Wait,
): AsyncGenerator<ExtractPart> {
  await using lease = await deps.meta.lease(LEASE_MS, wait);
  const signal = AbortSignal.any([wait.signal, lease.lost]);
  const revision = await holdObjects(deps, { lease, what: 'extract' }, { signal });
  await using spool = await RecordSpool.open(deps.dir);
  const facts = await readMetadata(deps, spool, options, { signal, revision });
  const encoder = new ArchiveEncoder();
  const part = (parts: Buffer[]): ExtractPart => ({ parts, progress: encoder.progress });
  const header = {
    format: ARCHIVE_FORMAT,
    archive: newUuid(),
    version: deps.version,
    cluster: deps.clusterId,
    created: deps.clock.wallMs(),
    ...facts,
    objects: !options.noObjects,
    pipelines: !options.noPipelines,
  };
  yield part(encoder.header(header));
  for (const kind of KINDS) {
    const list = deps.storage.objects.list(`${kind}/`, { signal });
    if (options.noObjects) {
      for await (const names of batches(list, NAMES)) {
        yield part(encoder.names(names.map(({ key, size }) => [key, size])));
      }
    } else {
      for await (const found of readObjects(deps.storage, list, { signal })) {
        if (found.bytes) yield part(encoder.object(found.key, found.bytes));
      }
    }
  }
  for (const kind of ['records', 'roots'] as const) {
    for await (const records of recordBatches(spool.sorted(kind))) {
      signal.throwIfAborted();
      yield part(encoder.records(kind, records));
    }
  }
  signal.throwIfAborted();
  yield part(encoder.end());
}

/** From here on nothing is swept (X2); the revision to read at. */
export async function holdObjects(
  deps: Pick<AdminDeps, 'meta' | 'clock'>,
  { lease, what }: { readonly lease: Lease; readonly what: string },
  wait: Wait,
): Promise<number> {
  const key = `${HOLDS}${newUuid()}`;
  const value = { what, since: deps.clock.wallMs() };
  await deps.meta.transact(async (t) => t.putJson(key, value, { lease: lease.id }), {
    ...wait,
    label: `hold objects for an ${what}`,
  });
  return (await deps.meta.range(key, wait)).revision;
}

async function readMetadata(
  deps: AdminDeps,
  spool: RecordSpool,
  options: ExtractOptions,
  at: Wait & { readonly revision: number },
): Promise<{ metadata: string; epoch: number }> {
  let metadata = '';
  let epoch = 1;
  for await (const kv of deps.meta.scan('', { ...at, after: '' })) {
    if (kv.key === 'format') metadata = kv.value.toString();
    if (kv.key === 'gc/epoch') epoch = (JSON.parse(kv.value.toString()) as { epoch: number }).epoch;
    if (isOwn(kv.key) || kv.lease !== undefined) continue;
    const value = options.noPipelines ? withoutPipelines(kv.key, kv.value) : kv.value;
    if (value) await spool.add(kv, value);
  }
  return { metadata, epoch };
}

interface Found {
  readonly key: string;
  /** Absent: gone since it was listed, so nothing refers to it. */
  readonly bytes: Buffer | undefined;
}

async function* readObjects(
  storage: Storage,
  list: AsyncIterable<ObjectInfo>,
  wait: Wait,
): AsyncGenerator<Found> {
  const jobs = (async function* () {
    for await (const { key, size } of list) {
      yield { bytes: size, run: (signal: AbortSignal) => readObject(storage, key, { signal }) };
    }
  })();
  yield* orderedAhead(jobs, { ...wait, parallel: PARALLEL, bytes: AHEAD_BYTES });
}

async function readObject(storage: Storage, key: string, wait: Wait): Promise<Found> {
  const { objects } = storage;
  for (let attempt = 1; ; attempt += 1) {
    let bytes: Buffer;
    try {
      bytes = await objects.get(key, wait);
    } catch (error) {
      if (codeOf(error) === 'NOT_FOUND') return { key, bytes: undefined };
      throw error;
    }
    if (key.endsWith(`/${sha256Hex(bytes)}`)) return { key, bytes };
    if (attempt === 2) {
      throw corruptData(
        `object ${key} in ${objects.place} is damaged: its bytes do not match its name; ` +
          'the archive was not finished',
        { fields: { key } },
      );
    }
  }
}

async function* batches<T>(items: AsyncIterable<T>, size: number): AsyncGenerator<T[]> {
  let batch: T[] = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

async function* recordBatches(
  records: AsyncIterable<ArchiveRecord>,
): AsyncGenerator<ArchiveRecord[]> {
  let batch: ArchiveRecord[] = [];
  let bytes = 0;
  for await (const record of records) {
    batch.push(record);
    bytes += record.key.length + record.value.length;
    if (bytes < RECORDS_BYTES) continue;
    yield batch;
    batch = [];
    bytes = 0;
  }
  if (batch.length > 0) yield batch;
}
