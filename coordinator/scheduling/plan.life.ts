/**
 * For tests: a pipeline with one input over its commits, on real trees in memory. Plans, runs and
 * merges its jobs, one after the other or beside each other.
 */
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { DatumResult, TaskResult, WorkDatum } from '../../queue/messages.js';
import { decodeNode, encodeNode, runToText, Storage, writeRun } from '../../storage/index.js';
import { MemoryStore } from '../../storage/memory-store.js';
import type { DirNode, RunOp } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import { TaskBoard } from './board.js';
import { enumerate } from './enumerate.js';
import { buildManifest, SegmentReader } from './manifest.js';
import { mergeDeps } from './merge-deps.js';
import { mergeOutputs } from './merge.js';
import type { JobPlan, ManifestHeader, ManifestHistory, SegmentRef } from './model.js';
import { placesOf, type PlanInput } from './plan.js';
import { plansOfJob } from './plan-beside.js';
import { sortedManifestMaps } from './sorted-maps.js';
import { CommitSource } from './source.js';

const wait = { signal: new AbortController().signal };
const SALT = 'salt';
const STATS = { downloadMs: 0, processMs: 1, uploadMs: 0, downloadBytes: 0, uploadBytes: 0 };

/** One commit: path → new content, or null to remove it. */
export type Changes = Readonly<Record<string, string | null>>;

/** What a datum writes, from its content: its own path, or one path that others write too. */
export type LifeCode = 'own' | 'shared' | 'sometimes shared' | 'sometimes failing';

/** What an observer can see of a job. */
export interface Seen {
  readonly total: number;
  readonly skipped: number;
  /** Hash of the output; absent when a datum failed. */
  readonly digest?: string;
  /** Datums of the manifest. */
  readonly keys: readonly string[];
  /** Datums that ran in this job, by id. */
  readonly ran: readonly string[];
}

export class Life {
  readonly storage = new Storage(new MemoryStore(), {
    epoch: 1,
    log: silentLog,
    clock: systemClock,
  });
  readonly maps = sortedManifestMaps(this.storage);
  /** Jobs, from 1, in which every datum fails. */
  readonly failing = new Set<number>();
  history: ManifestHistory | undefined;
  #tree: DirNode | undefined;
  #jobs = 0;

  constructor(
    readonly glob: string,
    readonly code: LifeCode,
    readonly how: 'quick' | 'plain',
  ) {}

  /** Commits, runs the job. */
  async next(changes: Changes): Promise<Seen> {
    const job = await this.begin(changes);
    await job.plan();
    await job.run();
    return job.end();
  }

  /** The job of a new commit. */
  async begin(changes: Changes): Promise<LifeJob> {
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
    const options = { ...wait, ordinal: this.#jobs, mode: 'put' as const };
    this.#tree = await this.storage.trees.apply(this.#tree, [run], options);
    return new LifeJob(this, (this.#jobs += 1), this.#tree);
  }
}

export class LifeJob {
  readonly job: JobRecord;
  #plan: JobPlan | undefined;
  #board: TaskBoard;
  readonly #ran: string[] = [];

  constructor(
    readonly life: Life,
    readonly ordinal: number,
    readonly tree: DirNode,
  ) {
    const id = `0190a0b0c0d04abc8def${String(ordinal).padStart(12, '0')}`;
    this.job = {
      ...{ id, pipeline: 'p', version: 1, outputRepo: 'p', outputCommit: id },
    } as JobRecord;
    this.#board = new TaskBoard(id, 0);
  }

  get told(): readonly SegmentRef[] {
    return [...(this.#plan?.segments ?? []), ...(this.#plan?.withheld ?? [])];
  }

  get now(): JobPlan {
    if (!this.#plan) throw new Error('not planned yet');
    return this.#plan;
  }

  /** Makes the plan, or beside the datums of other jobs its first part, or after that the rest. */
  async plan(beside?: readonly SegmentRef[]): Promise<void> {
    const { history, maps } = this.life;
    const before = this.#plan;
    const input: PlanInput = {
      ...{ job: this.job, info: this.#info(), salt: SALT, source: this.#source(), history },
      ...{ slots: 2, ...(beside ? { beside } : {}) },
    };
    const deps = { storage: this.#storage(), maps };
    for await (const { plan } of plansOfJob(deps, input, wait, before)) this.#plan = plan;
    this.#board.grow(this.now.tasks.length, this.now.partial !== undefined);
  }

  /** Runs tasks that have no result, at most so many; publishes as a worker would. */
  async run(most = Infinity): Promise<void> {
    const segments = new SegmentReader(this.life, this.now);
    for (const task of this.#board.missing().slice(0, most)) {
      await this.#task(task, await segments.task(task, wait));
    }
  }

  /** Merges, and puts the manifest into the history. */
  async end(): Promise<Seen> {
    const plan = this.now;
    if (!this.#board.complete) throw new Error('the job is not done');
    const { life, job } = this;
    const base = plan.base
      ? await life.storage.getJson<ManifestHeader>(plan.base, wait)
      : undefined;
    const deps = { storage: life.storage, maps: life.maps };
    const header = await buildManifest(
      deps,
      { job, plan, salt: SALT, board: this.#board, base },
      wait,
    );
    const root = this.#board.counts.failed > 0 ? undefined : await this.#merge(header, base);
    const output = root ? { output: encodeNode(root).toString('base64') } : {};
    const ref = await life.storage.putJson({ ...header, ...output }, wait);
    const before = life.history?.manifests ?? [];
    life.history = { salt: SALT, manifests: [{ ref, job: job.id }, ...before].slice(0, 8) };
    const { total, skipped } = plan;
    const keys: string[] = [];
    for await (const { key } of life.maps.scan(header.map, wait)) keys.push(key.toString('hex'));
    const digest = root ? { digest: root.hash.toString('hex') } : {};
    return { total, skipped, ...digest, keys, ran: this.#ran.sort() };
  }

  async #merge(header: ManifestHeader, base: ManifestHeader | undefined): Promise<DirNode> {
    const from =
      this.life.how === 'quick' && base?.output !== undefined
        ? { base: { header: base, output: decodeNode(Buffer.from(base.output, 'base64')) } }
        : {};
    const { root } = await mergeOutputs(
      mergeDeps(this.life, this.ordinal),
      {
        job: this.job.id,
        map: header.map,
        ...(from as { base?: { header: ManifestHeader; output: DirNode } }),
        renumbered: this.now.renumbered === true,
        indexes: async () => {
          const list = await enumerate(this.#info().input, this.#source(), wait);
          return placesOf(list, wait);
        },
      },
      wait,
    );
    return root;
  }

  async #task(task: number, works: readonly WorkDatum[]): Promise<void> {
    const { storage } = this.life;
    const writer = storage.newWriter(wait);
    const ops: RunOp[] = [];
    const datums: DatumResult[] = [];
    for (const work of works) {
      const { index, id, tag } = work;
      this.#ran.push(id);
      const done = { index, id, tag, tries: 1, stats: STATS };
      if (this.#fails(id)) {
        datums.push({ ...done, state: 'failed', outputs: 0, reason: 'no luck in this job' });
        continue;
      }
      const { path, text } = this.#output(work);
      const content = await writer.writeBytes(Buffer.from(text));
      ops.push({ op: 'append', path, seq: index, content });
      datums.push({ ...done, state: 'success', outputs: 1 });
    }
    await writer.flush(wait);
    const failed = datums.filter(({ state }) => state === 'failed').length;
    this.#board.add({
      ...{ pipeline: 'p', job: this.job.id, task, attempt: 0, worker: 'w', stats: STATS },
      ...{ processed: datums.length - failed, failed, recovered: 0 },
      details: await storage.putJson({ datums }, wait),
      ...(ops.length > 0 ? { run: runToText(await writeRun(storage, ops, wait)) } : {}),
    } satisfies TaskResult);
  }

  /** Depends on the job, too: what failed in one may succeed in the next. */
  #fails(id: string): boolean {
    if (this.life.failing.has(this.ordinal)) return true;
    const drawn = Number.parseInt(id.slice(0, 2), 16) + this.ordinal;
    return this.life.code === 'sometimes failing' && drawn % 3 === 0;
  }

  #output(datum: WorkDatum): { path: string; text: string } {
    const { code } = this.life;
    const [input] = datum.inputs;
    const text = datum.id.slice(0, 4);
    const own = `/own${input?.path === '/' ? '' : (input?.path ?? '').replaceAll('/', '_')}`;
    const shared = code === 'shared' || (code !== 'own' && datum.id < '8');
    return { path: shared ? '/shared' : own, text };
  }

  #storage(): Storage {
    const { storage, how } = this.life;
    // Headers without `input` are never looked at for changes.
    return how === 'quick' ? storage : (Object.assign(Object.create(storage), PLAIN) as Storage);
  }

  #info(): PipelineInfo {
    const pfs = { name: 'in', repo: 'in', branch: 'master', commit: '', glob: this.life.glob };
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
        storage: this.life.storage,
        versioning: { openTree: async () => this.tree },
      },
      [{ repo: 'in', branch: 'master', commit: 'c' }],
    );
  }
}

/** A storage whose manifest headers tell nothing about inputs. */
const PLAIN = {
  async getJson(this: Storage, ref: string): Promise<unknown> {
    const value = await Storage.prototype.getJson.call(Object.getPrototypeOf(this), ref, wait);
    return Array.isArray(value) ? value : { ...(value as object), input: undefined };
  },
  async putJson(this: Storage, value: unknown): Promise<string> {
    return Storage.prototype.putJson.call(Object.getPrototypeOf(this), value, wait);
  },
};
