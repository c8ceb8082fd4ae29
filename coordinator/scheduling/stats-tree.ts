/**
 * The stats tree of a job (docs/formats/work.md, "Stats"): one directory per datum. It is made from
 * the tree of the job that the manifest was made from, so its cost follows what changed: directories
 * of datums that vanished or ran anew go, those that ran come from the runs their workers wrote, and
 * those reused from yet another job are taken over by reference.
 */
import { setImmediate } from 'node:timers/promises';
import { ordinalOf } from '../../core/ids.js';
import type { DatumResult, TaskDetails, WorkDatum } from '../../queue/messages.js';
import {
  datumStatsOps,
  decodeNode,
  RECOVERED_TEXT,
  runFromText,
  RunWriter,
  type ContentWriter,
  type RunRef,
  type Storage,
} from '../../storage/index.js';
import type { DirNode, RunOp, TreeNode, Wait } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import type { TaskBoard } from './board.js';
import { parseDatumKey } from './datum.js';
import { SegmentReader } from './manifest.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { JobPlan, ManifestHeader } from './model.js';
import { decodeRecord, type DatumRecord } from './record.js';

export interface StatsTreeDeps {
  readonly storage: Storage;
  readonly maps: ManifestMaps;
}

export interface StatsTreeInput {
  readonly job: JobRecord;
  readonly plan: JobPlan;
  readonly board: TaskBoard;
  /** The manifest of this job. */
  readonly header: ManifestHeader;
  /** The manifest it was made from. */
  readonly base: ManifestHeader | undefined;
  /** Manifests that datums may have been reused from, newest first. */
  readonly others: readonly ManifestHeader[];
}

/** What is in the way goes before what comes. */
const DELETES = 0;
const ADDITIONS = 1;
const TURN = 1024;

export async function buildStatsTree(
  deps: StatsTreeDeps,
  input: StatsTreeInput,
  wait: Wait,
): Promise<DirNode> {
  const writer = deps.storage.newWriter(wait);
  try {
    return await new StatsTree(deps, input, writer, wait).build();
  } finally {
    writer.abort();
  }
}

/** The tree that `ManifestHeader.stats` holds. */
export function statsRoot(header: ManifestHeader | undefined): DirNode | undefined {
  if (header?.stats === undefined) return undefined;
  return decodeNode(Buffer.from(header.stats, 'base64')) as DirNode;
}

class StatsTree {
  readonly #run: RunWriter;
  readonly #roots: DirNode[];

  constructor(
    readonly deps: StatsTreeDeps,
    readonly input: StatsTreeInput,
    readonly writer: ContentWriter,
    readonly wait: Wait,
  ) {
    this.#run = new RunWriter(deps.storage, { ...wait, flush: () => writer.flush(wait) });
    this.#roots = input.others.map(statsRoot).filter((root) => root !== undefined);
  }

  async build(): Promise<DirNode> {
    const { job, base, board } = this.input;
    const from = statsRoot(base);
    await (from && base ? this.#changes(base) : this.#everything());
    await this.#unwritten();
    await this.writer.flush(this.wait);
    const own = await this.#run.finish();
    // Several tasks may be in one run; each run counts once.
    const texts = new Set(board.results().map(({ statsRun }) => statsRun));
    texts.delete(undefined);
    const runs: RunRef[] = [own, ...[...texts].map((text) => runFromText(text as string))];
    const ordinal = ordinalOf(job.statsCommit ?? job.outputCommit);
    return this.deps.storage.trees.apply(from, runs, { ...this.wait, ordinal, mode: 'put' });
  }

  async #changes(base: ManifestHeader): Promise<void> {
    const { maps } = this.deps;
    for await (const { key, a, b } of maps.diff(base.map, this.input.header.map, this.wait)) {
      if (parseDatumKey(key).twin > 0) continue;
      const now = b && decodeRecord(b);
      if (a) await this.#add({ op: 'delete', path: `/${hex(decodeRecord(a))}`, seq: DELETES });
      if (now) await this.#add({ op: 'delete', path: `/${hex(now)}`, seq: DELETES });
      if (now) await this.#reused(now);
    }
  }

  async #everything(): Promise<void> {
    let seen = 0;
    for await (const { key, value } of this.deps.maps.scan(this.input.header.map, this.wait)) {
      if (parseDatumKey(key).twin === 0) await this.#reused(decodeRecord(value));
      if ((seen += 1) % TURN === 0) await setImmediate();
    }
  }

  /** A datum that another job ran: its directory there, or, where none was kept, what is known. */
  async #reused(record: DatumRecord): Promise<void> {
    if (record.job === this.input.job.id) return;
    const node = await this.#earlier(hex(record));
    if (node) {
      await this.#add({ op: 'graft', path: `/${hex(record)}`, seq: ADDITIONS, node });
      return;
    }
    const datum = { id: hex(record), job: record.job, index: record.seq, stats: record };
    await this.#write({ ...datum, inputs: [], outputs: [] });
  }

  async #earlier(id: string): Promise<TreeNode | undefined> {
    for (const root of this.#roots) {
      const node = await this.deps.storage.trees.lookup(root, `/${id}`, this.wait);
      if (node) return node;
    }
    return undefined;
  }

  /** Datums of tasks whose result tells nothing for the tree: nobody could run them to the end. */
  async #unwritten(): Promise<void> {
    const { board, plan, job } = this.input;
    const segments = new SegmentReader(this.deps, plan);
    for (const result of board.results()) {
      if (result.statsRun !== undefined) continue;
      const { storage } = this.deps;
      const { datums } = await storage.getJson<TaskDetails>(result.details, this.wait);
      const works = await segments.task(result.task, this.wait);
      for (const done of datums) {
        const work = works.find((one) => one.index === done.index);
        if (work && !(work.twin ?? 0)) await this.#write(ofResult(job.id, work, done));
      }
    }
  }

  async #write(datum: Parameters<typeof datumStatsOps>[0]): Promise<void> {
    const write = (bytes: Buffer) => this.writer.writeBytes(bytes);
    for await (const op of datumStatsOps(datum, write)) await this.#add({ ...op, seq: ADDITIONS });
  }

  async #add(op: RunOp): Promise<void> {
    const waiting = this.#run.add(op);
    if (waiting) await waiting;
  }
}

function ofResult(job: string, work: WorkDatum, done: DatumResult) {
  const { id, index, stats, state } = done;
  const failure = state === 'recovered' ? RECOVERED_TEXT : (done.reason ?? 'failed');
  const inputs = work.inputs.map(({ name, path, node }) => ({
    ...{ name, path },
    node: decodeNode(Buffer.from(node, 'base64')),
  }));
  return {
    ...{ id, job, index, stats, inputs, outputs: [] },
    ...(state === 'success' ? {} : { failure }),
  };
}

function hex(record: DatumRecord): string {
  return record.id.toString('hex');
}
