/**
 * Random histories of a pipeline with one input, planned and merged the quick way (by changes, from
 * the output before) and the plain way (everything), on real trees in memory: always the same.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { DatumResult, TaskResult, WorkDatum } from '../../queue/messages.js';
import { decodeNode, encodeNode, runToText, Storage, writeRun } from '../../storage/index.js';
import { MemoryStore } from '../../storage/memory-store.js';
import type { DirNode, RunOp } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import { TaskBoard } from './board.js';
import { buildManifest, SegmentReader } from './manifest.js';
import { mergeDeps } from './merge-deps.js';
import { mergeOutputs } from './merge.js';
import type { ManifestHeader, ManifestHistory } from './model.js';
import { entriesOf, makePlan, type MadePlan } from './plan.js';
import { enumerate } from './enumerate.js';
import { CommitSource } from './source.js';
import { sortedManifestMaps } from './sorted-maps.js';

const wait = { signal: new AbortController().signal };
const SALT = 'salt';

const PATHS = ['/a', '/b', '/d/a', '/d/b', '/d/e/a', '/f'];
/** One commit: path → new content, or null to remove it. */
const commits = fc.array(
  fc.dictionary(fc.constantFrom(...PATHS), fc.option(fc.constantFrom('1', '22', '333')), {
    maxKeys: 3,
  }),
  { minLength: 1, maxLength: 6 },
);
/** What a datum writes: its own path, one path for all, or nothing; from its content. */
const codes = fc.constantFrom('own', 'shared', 'sometimes shared');
const globs = fc.constantFrom('/*', '/**', '/', '/d/*', '/d');

/** One pipeline's life, in memory. */
class Life {
  readonly storage = new Storage(new MemoryStore(), {
    epoch: 1,
    log: silentLog,
    clock: systemClock,
  });
  readonly maps = sortedManifestMaps(this.storage);
  #history: ManifestHistory | undefined;
  #input: DirNode | undefined;
  #jobs = 0;

  constructor(
    readonly glob: string,
    readonly code: string,
    readonly how: 'quick' | 'plain',
  ) {}

  /** Commits, runs the job; answers what an observer can see of it. */
  async next(changes: Record<string, string | null>): Promise<unknown> {
    await this.#commit(changes);
    const job = this.#job();
    const made = await this.#plan(job);
    const board = await this.#run(job, made);
    const base = made.plan.base
      ? await this.storage.getJson<ManifestHeader>(made.plan.base, wait)
      : undefined;
    const deps = { storage: this.storage, maps: this.maps };
    const header = await buildManifest(
      deps,
      { job, plan: made.plan, salt: SALT, board, base },
      wait,
    );
    const from =
      this.how === 'quick' && base?.output !== undefined
        ? { base: { header: base, output: decodeNode(Buffer.from(base.output, 'base64')) } }
        : {};
    const { root } = await mergeOutputs(
      mergeDeps(deps, this.#jobs),
      {
        job: job.id,
        map: header.map,
        ...(from as { base?: { header: ManifestHeader; output: DirNode } }),
        indexes: async () => {
          const list = await enumerate(this.#info().input, this.#source(), wait);
          const entries = await entriesOf(list, wait);
          return new Map(entries.map(({ key, index }) => [key.toString('latin1'), index]));
        },
      },
      wait,
    );
    const output = encodeNode(root).toString('base64');
    const ref = await this.storage.putJson({ ...header, output }, wait);
    const before = this.#history?.manifests ?? [];
    this.#history = { salt: SALT, manifests: [{ ref, job: job.id }, ...before].slice(0, 8) };
    const { total, skipped } = made.plan;
    return { total, skipped, digest: root.hash.toString('hex'), keys: await this.#keys(header) };
  }

  async #keys(header: ManifestHeader): Promise<string[]> {
    const keys: string[] = [];
    for await (const { key } of this.maps.scan(header.map, wait)) keys.push(key.toString('hex'));
    return keys;
  }

  async #commit(changes: Record<string, string | null>): Promise<void> {
    const writer = this.storage.newWriter(wait);
    const ops: RunOp[] = [];
    for (const [path, text] of Object.entries(changes)) {
      const seq = ops.length;
      if (text === null) ops.push({ op: 'delete', path, seq });
      else {
        const content = await writer.writeBytes(Buffer.from(text));
        ops.push({ op: 'set', path, seq, content });
      }
    }
    await writer.flush(wait);
    const run = await writeRun(this.storage, ops, wait);
    this.#input = await this.storage.trees.apply(this.#input, [run], {
      ...wait,
      ordinal: this.#jobs,
      mode: 'put',
    });
  }

  async #plan(job: JobRecord): Promise<MadePlan> {
    const info = this.#info();
    const history = this.#history;
    const source = this.#source();
    // Headers without `input` are never looked at for changes.
    const storage =
      this.how === 'quick' ? this.storage : Object.assign(Object.create(this.storage), PLAIN);
    const deps = { storage, maps: this.maps };
    return makePlan(deps, { job, info, salt: SALT, source, history, slots: 2 }, wait);
  }

  /** Runs every task; results as a worker would publish them. */
  async #run(job: JobRecord, { plan }: MadePlan): Promise<TaskBoard> {
    const board = new TaskBoard(job.id, plan.tasks.length);
    const segments = new SegmentReader(this, plan);
    for (const task of plan.tasks.keys()) {
      const writer = this.storage.newWriter(wait);
      const ops: RunOp[] = [];
      const datums: DatumResult[] = [];
      for (const datum of await segments.task(task, wait)) {
        const { path, text } = this.#output(datum);
        const content = await writer.writeBytes(Buffer.from(text));
        ops.push({ op: 'append', path, seq: datum.index, content });
        const { index, id, tag } = datum;
        datums.push({ index, id, tag, state: 'success', tries: 1, outputs: 1, stats: STATS });
      }
      await writer.flush(wait);
      board.add({
        ...{ pipeline: 'p', job: job.id, task, attempt: 0, worker: 'w', stats: STATS },
        ...{ processed: datums.length, failed: 0, recovered: 0 },
        details: await this.storage.putJson({ datums }, wait),
        run: runToText(await writeRun(this.storage, ops, wait)),
      } satisfies TaskResult);
    }
    return board;
  }

  #output(datum: WorkDatum): { path: string; text: string } {
    const [input] = datum.inputs;
    const text = datum.id.slice(0, 4);
    const own = `/own${input?.path === '/' ? '' : (input?.path ?? '').replaceAll('/', '_')}`;
    const shared = this.code === 'shared' || (this.code !== 'own' && datum.id < '4');
    return { path: shared ? '/shared' : own, text };
  }

  #job(): JobRecord {
    this.#jobs += 1;
    const id = `0190a0b0c0d04abc8def${String(this.#jobs).padStart(12, '0')}`;
    return { id, pipeline: 'p', version: 1, outputRepo: 'p', outputCommit: id } as JobRecord;
  }

  #info(): PipelineInfo {
    const pfs = { name: 'in', repo: 'in', branch: 'master', commit: '', glob: this.glob };
    const flags = { lazy: false, emptyFiles: false, joinOn: '', s3: false, groupBy: '' };
    const input = { pfs: { ...pfs, ...flags, outerJoin: false } };
    return {
      input: { ...input, cross: [], union: [], join: [], group: [] },
      datumTries: 1,
    } as unknown as PipelineInfo;
  }

  #source(): CommitSource {
    const record = { repo: 'in', id: 'c', root: 'x', finished: 1 };
    return new CommitSource(
      {
        meta: { get: async () => ({ value: Buffer.from(JSON.stringify(record)) }) },
        storage: this.storage,
        versioning: { openTree: async () => this.#input ?? this.storage.trees.empty },
      },
      [{ repo: 'in', branch: 'master', commit: 'c' }],
    );
  }
}

const STATS = { downloadMs: 0, processMs: 1, uploadMs: 0, downloadBytes: 0, uploadBytes: 0 };

/** A storage whose manifest headers tell nothing about inputs. */
const PLAIN = {
  async getJson(this: Storage, ref: string): Promise<unknown> {
    const value = await Storage.prototype.getJson.call(Object.getPrototypeOf(this), ref, wait);
    return { ...(value as object), input: undefined };
  },
  async putJson(this: Storage, value: unknown): Promise<string> {
    return Storage.prototype.putJson.call(Object.getPrototypeOf(this), value, wait);
  },
};

describe('planning and merging by changes', () => {
  it('gives what planning and merging everything gives', async () => {
    await fc.assert(
      fc.asyncProperty(commits, codes, globs, async (history, code, glob) => {
        const quick = new Life(glob, code, 'quick');
        const plain = new Life(glob, code, 'plain');
        for (const changes of history) {
          expect(await quick.next(changes)).toEqual(await plain.next(changes));
        }
      }),
      { numRuns: 60 },
    );
  }, 60_000);
});
