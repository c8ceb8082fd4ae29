/**
 * Fills an empty cluster from an archive.
 *
 * R1 Objects first, then the records that nobody sees without their repo, then every repo and
 *    pipeline in one transaction, and only behind the archive's right end: before it the cluster is
 *    empty to everybody, after it whole.
 * R2 From the first to the last step the key `restore` exists. It keeps others from making repos
 *    and garbage collection from sweeping; each transaction compares its revision, so of two
 *    restores the older one fails.
 * R3 Every step may be repeated: a restore that broke off goes on with the same archive, and what
 *    another archive left behind is removed first.
 * R4 Keys whose order of creation means something are made in the order of the archive, those of
 *    one revision together, so listings and open commits come back as they were.
 */
import { corruptData, stateConflict, wrap } from '../../core/errors.js';
import { newUuid } from '../../core/ids.js';
import { sha256 } from '../../core/sha256.js';
import { Semaphore } from '../../core/semaphore.js';
import { childController } from '../../core/signals.js';
import type { Wait } from '../../storage/types.js';
import type { MetaTxn } from '../meta/index.js';
import type { PipelineRecord } from '../pipelines/model.js';
import {
  readArchive,
  type ArchiveHeader,
  type ArchiveRecord,
  type Frame,
} from './archive-format.js';
import type { AdminDeps, ArchiveProgress } from './extract.js';
import { RUN_KEY } from '../gc/model.js';
import { SPEC_REPO } from '../versioning/model.js';
import { RESTORE_KEY, type RestoreMark } from '../versioning/restore-mark.js';
import { isOrdered, isOwn, occupies } from './keys.js';

/** Keys and bytes of one transaction. */
const KEYS_MAX = 500;
const BYTES_MAX = 1024 * 1024;
/** Repos and pipelines together; more than etcd takes in one transaction (docs/operating.md). */
const ROOTS_MAX = 8_000;
const ROOT_BYTES_MAX = 7 * 1024 * 1024;
const PARALLEL_PUTS = 16;
const BYTES_IN_FLIGHT = 64 * 1024 * 1024;
const KEY = /^(c|p|page|run|blob)\/\d{1,9}\/[0-9a-f]{64}$/;

/** Restores; yields what has gone through. Errors as of the rpc. */
export async function* restore(
  deps: AdminDeps,
  source: AsyncIterable<Buffer>,
  wait: Wait,
): AsyncGenerator<ArchiveProgress> {
  using inner = childController(wait.signal);
  let run: RestoreRun | undefined;
  try {
    for await (const frame of readArchive(source)) {
      if (frame.kind === 'header') run = await RestoreRun.begin(deps, frame.header, inner);
      else await run?.take(frame);
      if (run) yield run.progress;
    }
  } finally {
    inner.abort(wait.signal.reason);
    await run?.idle();
  }
}

/** Gives up a restore that broke off: what it left is removed. */
export async function abortRestore(deps: AdminDeps, wait: Wait): Promise<void> {
  const revision = await mark(deps, undefined, wait);
  if (revision === undefined) throw stateConflict('no restore is under way');
  await clear(deps, revision, wait);
  await deps.meta.transact(
    async (t) => {
      t.requireUnchanged(RESTORE_KEY, revision);
      t.delete(RESTORE_KEY);
    },
    { ...wait, label: 'give up a restore' },
  );
}

/** Sets the mark for a new try; undefined when there was none and `archive` is not given. */
async function mark(
  deps: AdminDeps,
  archive: string | undefined,
  wait: Wait,
): Promise<number | undefined> {
  const attempt = newUuid();
  const set = await deps.meta.transact(
    async (t) => {
      const before = await t.getJson<RestoreMark>(RESTORE_KEY);
      if (archive === undefined && !before) return false;
      const value: RestoreMark = {
        archive: archive ?? '',
        attempt,
        started: deps.clock.wallMs(),
      };
      t.putJson(RESTORE_KEY, value);
      await checkNotCollecting(t);
      if (before) return true;
      await checkEmpty(t);
      return true;
    },
    { ...wait, label: 'begin a restore' },
  );
  if (!set) return undefined;
  const kv = await deps.meta.get(RESTORE_KEY, wait);
  const ours = kv && (JSON.parse(kv.value.toString()) as RestoreMark).attempt === attempt;
  if (!ours) throw another();
  return kv.modRevision;
}

async function checkEmpty(t: MetaTxn): Promise<void> {
  for (const prefix of ['repo/', 'pl/', 'tx/', 'object/', 'tag/', 'sec/']) {
    for (const key of await t.keys(prefix)) {
      const what = occupies(key);
      if (what === undefined) continue;
      throw stateConflict(
        `only an empty cluster can be restored into, and this one has ${what}: ` +
          "start a fresh one, or empty it with 'tusk delete all'",
      );
    }
  }
}

/** A collection would take away what the restore has stored so far. */
async function checkNotCollecting(t: MetaTxn): Promise<void> {
  if (!(await t.get(RUN_KEY))) return;
  throw stateConflict('a garbage collection is running: restore when it has ended');
}

function another(): Error {
  return stateConflict('another restore into this cluster has begun; this one has ended');
}

/** Removes every key but those of the installation. Keys of repos or pipelines are not there. */
async function clear(deps: AdminDeps, revision: number, wait: Wait): Promise<void> {
  let batch: string[] = [];
  const flush = async (): Promise<void> => {
    const keys = batch;
    batch = [];
    await write(deps, revision, wait, (t) => {
      for (const key of keys) t.delete(key);
    });
  };
  for await (const kv of deps.meta.scan('', { ...wait, after: '', keysOnly: true })) {
    if (isOwn(kv.key) || kv.lease !== undefined || kv.key === `repo/${SPEC_REPO}`) continue;
    batch.push(kv.key);
    if (batch.length >= KEYS_MAX) await flush();
  }
  if (batch.length > 0) await flush();
}

async function write(
  deps: AdminDeps,
  revision: number,
  wait: Wait,
  work: (t: MetaTxn) => void | Promise<void>,
): Promise<void> {
  try {
    await deps.meta.transact(
      async (t) => {
        t.requireUnchanged(RESTORE_KEY, revision);
        await work(t);
      },
      { ...wait, label: 'restore' },
    );
  } catch (error) {
    const { fields } = error as { fields?: { fenced?: unknown } };
    throw fields?.fenced === true ? another() : error;
  }
}

class RestoreRun {
  readonly #putting = new Set<Promise<void>>();
  readonly #slots = new Semaphore(PARALLEL_PUTS);
  #bytesInFlight = 0;
  #failure: unknown;
  #objects = 0;
  #bytes = 0;
  #records = 0;
  #batch: ArchiveRecord[] = [];
  #batchBytes = 0;
  /** Revision that made the ordered keys of the batch. */
  #made: number | undefined;
  #roots: ArchiveRecord[] = [];
  #rootBytes = 0;
  #missing = 0;
  #firstMissing = '';

  private constructor(
    readonly deps: AdminDeps,
    readonly header: ArchiveHeader,
    readonly revision: number,
    readonly controller: AbortController,
    /** Some objects may be there from an earlier try. */
    readonly again: boolean,
  ) {}

  /** Checks that the archive fits the cluster, and bars others from it (R2). */
  static async begin(
    deps: AdminDeps,
    header: ArchiveHeader,
    controller: AbortController,
  ): Promise<RestoreRun> {
    const { signal } = controller;
    const format = (await deps.meta.get('format', { signal }))?.value.toString() ?? '';
    if (header.metadata !== format) {
      throw stateConflict(
        `the archive holds metadata of format ${header.metadata}, this cluster has ${format}: ` +
          `restore it with Tusk ${header.version}`,
      );
    }
    const before = await deps.meta.getJson<RestoreMark>(RESTORE_KEY, { signal });
    const again = before?.archive === header.archive;
    const revision = (await mark(deps, header.archive, { signal })) as number;
    if (!again) await clear(deps, revision, { signal });
    return new RestoreRun(deps, header, revision, controller, again);
  }

  get progress(): ArchiveProgress {
    return { objects: this.#objects, bytes: this.#bytes, records: this.#records };
  }

  async take(frame: Frame): Promise<void> {
    this.controller.signal.throwIfAborted();
    switch (frame.kind) {
      case 'object':
        return this.#object(frame.key, frame.bytes);
      case 'names':
        return this.#names(frame.names);
      case 'records':
        await this.#settle();
        for (const record of frame.records) await this.#record(record);
        return undefined;
      case 'roots':
        return this.#root(frame.records);
      case 'end':
        await this.#settle();
        await this.#flush();
        return this.#publish();
      case 'header':
        return undefined;
    }
  }

  /** Waits until nothing runs any more, whatever came of it. */
  async idle(): Promise<void> {
    await Promise.allSettled(this.#putting);
  }

  async #object(key: string, bytes: Buffer): Promise<void> {
    const digest = sha256(bytes);
    if (!KEY.test(key) || !key.endsWith(`/${digest.toString('hex')}`)) {
      throw corruptData(
        `object ${key.slice(0, 120)} in the archive is damaged: its bytes do not match its name; ` +
          'nothing was restored',
      );
    }
    while (this.#bytesInFlight > BYTES_IN_FLIGHT) await Promise.race(this.#putting);
    if (this.#failure !== undefined) throw this.#failure;
    this.#bytesInFlight += bytes.length;
    const put = this.#put(key, bytes, digest)
      .catch((error: unknown) => (this.#failure ??= error))
      .then(() => {
        this.#bytesInFlight -= bytes.length;
        this.#putting.delete(put);
      });
    this.#putting.add(put);
  }

  async #put(key: string, bytes: Buffer, digest: Buffer): Promise<void> {
    const { signal } = this.controller;
    const { objects } = this.deps.storage;
    await this.#slots.with({ signal }, async () => {
      const there = this.again && (await objects.head(key, { signal }))?.size === bytes.length;
      if (!there) await objects.put(key, bytes, { signal, sha256: digest });
      this.#objects += 1;
      this.#bytes += bytes.length;
    });
  }

  /** The objects must be in this cluster's store already. */
  async #names(names: readonly (readonly [string, number])[]): Promise<void> {
    const { signal } = this.controller;
    const { objects } = this.deps.storage;
    await Promise.all(
      names.map(([key, size]) =>
        this.#slots.with({ signal }, async () => {
          if ((await objects.head(key, { signal }))?.size === size) return;
          this.#missing += 1;
          this.#firstMissing ||= key;
        }),
      ),
    );
    this.#objects += names.length;
  }

  async #settle(): Promise<void> {
    await Promise.all(this.#putting);
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#missing === 0) return;
    throw stateConflict(
      `the archive was made without objects, and ${this.#missing} of them are not in ` +
        `${this.deps.storage.objects.place}, the first ${this.#firstMissing}; it can be restored ` +
        'only by a cluster with the same object store',
    );
  }

  async #record(record: ArchiveRecord): Promise<void> {
    if (isOwn(record.key))
      throw corruptData(`the archive holds a key that it must not: ${record.key}`);
    const ordered = isOrdered(record.key);
    const full = this.#batch.length >= KEYS_MAX || this.#batchBytes >= BYTES_MAX;
    const apart = ordered && this.#made !== undefined && this.#made !== record.made;
    if (full || apart) await this.#flush();
    if (ordered) this.#made = record.made;
    this.#batch.push(record);
    this.#batchBytes += record.key.length + record.value.length;
  }

  async #flush(): Promise<void> {
    const batch = this.#batch;
    this.#batch = [];
    this.#batchBytes = 0;
    this.#made = undefined;
    if (batch.length === 0) return;
    await write(this.deps, this.revision, { signal: this.controller.signal }, (t) => {
      for (const { key, value } of batch) t.put(key, value);
    });
    this.#records += batch.length;
  }

  #root(records: readonly ArchiveRecord[]): void {
    for (const record of records) {
      this.#roots.push(record);
      this.#rootBytes += record.key.length + record.value.length;
    }
    if (this.#roots.length <= ROOTS_MAX && this.#rootBytes <= ROOT_BYTES_MAX) return;
    throw stateConflict(
      `the archive has more than ${ROOTS_MAX} repos and pipelines: they would have to appear in ` +
        'one transaction of etcd, and it does not take so many',
    );
  }

  /** Everything becomes visible (R1). */
  async #publish(): Promise<void> {
    try {
      await write(this.deps, this.revision, { signal: this.controller.signal }, async (t) => {
        const gc = await t.getJson<{ epoch: number }>('gc/epoch');
        const epoch = Math.max(gc?.epoch ?? 1, this.header.epoch);
        if (epoch !== gc?.epoch) t.putJson('gc/epoch', { ...gc, epoch });
        this.#roots.forEach(({ key, value }, order) => t.put(key, inOrder(key, value, order)));
        t.delete(RESTORE_KEY);
      });
    } catch (error) {
      throw wrap('the last step of the restore failed', error);
    }
    this.#records += this.#roots.length;
  }
}

/** Pipelines of one transaction have no order of creation; they keep that of the archive. */
function inOrder(key: string, value: Buffer, order: number): Buffer | string {
  if (!key.startsWith('pl/')) return value;
  const record = JSON.parse(value.toString()) as PipelineRecord;
  return JSON.stringify({ ...record, order } satisfies PipelineRecord);
}
