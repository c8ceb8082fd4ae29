/**
 * The datums of a job for people: from its manifest once it has ended, from plan and results while
 * it runs. Rows come by state (failed first), within a state in manifest order, and are streamed:
 * one pass over the manifest per state that the job's counters say exists.
 */
import type { Input } from '../../proto/generated/pps.js';
import type { DatumResult, TaskDetails, TaskResult, WorkDatum } from '../../queue/messages.js';
import type { TreeReader } from '../../storage/tree-types.js';
import type { DirNode, TreeNode, Wait } from '../../storage/types.js';
import type { InputCommit, JobRecord, JobStats } from '../pipelines/model.js';
import { commitKey, type CommitRecord } from '../versioning/model.js';
import { Aggregate, type Summary } from './aggregate.js';
import { datumId, parseDatumKey } from './datum.js';
import { enumerate, leaves, type DatumList } from './enumerate.js';
import { SegmentReader, type LongFiles } from './manifest.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { JobPlan, ManifestHeader } from './model.js';
import { decodeRecord, type DatumRecord } from './record.js';
import { loadResults } from './results.js';
import { commitSource, type SourceDeps } from './source.js';

export type DatumRowState = 'FAILED' | 'SUCCESS' | 'SKIPPED' | 'STARTING' | 'RECOVERED';

export interface DatumRowFile extends InputCommit {
  readonly name: string;
  /** Absolute; `/` for the root. */
  readonly path: string;
  /** Absent with `statusOnly`, and where the input commit is gone. */
  readonly node?: TreeNode;
}

export interface DatumRow {
  /** 64 hex digits. */
  readonly id: string;
  readonly state: DatumRowState;
  /** The job that ran it; another one for skipped datums, absent before it ran. */
  readonly ranIn?: string;
  readonly files: readonly DatumRowFile[];
  readonly stats?: JobStats;
  readonly tries?: number;
  /** Why it failed. */
  readonly reason?: string;
}

export interface DatumListDeps extends SourceDeps {
  readonly storage: SourceDeps['storage'] & { readonly trees: TreeReader };
  readonly maps: ManifestMaps;
  /** Results of a job that this process runs; newer than the last checkpoint. */
  readonly live: (job: JobRecord) => readonly TaskResult[] | undefined;
}

export interface DatumListOptions extends Wait {
  /** The job's input tree, for the names of its inputs. */
  readonly input: Input | undefined;
  /** Leave out the files' nodes. */
  readonly statusOnly?: boolean;
  /** Leave out so many rows at the beginning; they cost far less than those that are shown. */
  readonly from?: number;
}

const ORDER: readonly DatumRowState[] = ['FAILED', 'SUCCESS', 'SKIPPED', 'RECOVERED'];

/** Every datum of the job. Nothing for a job that ended before it was planned. */
export async function* listDatums(
  deps: DatumListDeps,
  job: JobRecord,
  options: DatumListOptions,
): AsyncGenerator<DatumRow> {
  const files = new FileFinder(deps, job.inputs, options);
  if (job.manifest !== undefined) {
    yield* finishedRows(deps, job, job.manifest, files, options);
  } else if (job.plan !== undefined) {
    yield* runningRows(deps, job, job.plan, files, options);
  } else if (job.total > 0 && options.input) {
    yield* servedRows(deps, job, options.input, options);
  }
}

/** Of a service: nothing is written down about the one datum that its job is about. */
async function* servedRows(
  deps: DatumListDeps,
  job: JobRecord,
  input: Input,
  options: DatumListOptions,
): AsyncGenerator<DatumRow> {
  const rows = await previewDatums(deps, input, job.inputs, options);
  const state = job.state === 'SUCCESS' ? 'SUCCESS' : 'STARTING';
  for (let at = options.from ?? 0; at < rows.length; at += 1) yield { ...rows.at(at), state };
}

/** One datum by id, with the reason of a failure; undefined when the job has none such. */
export async function findDatum(
  deps: DatumListDeps,
  job: JobRecord,
  id: string,
  options: DatumListOptions,
): Promise<DatumRow | undefined> {
  for await (const row of listDatums(deps, job, { ...options, statusOnly: true })) {
    if (row.id !== id) continue;
    const files = await new FileFinder(deps, job.inputs, options).fill(row.files, options);
    if (row.state !== 'FAILED') return { ...row, files };
    const reason = row.reason ?? (await reasonOf(deps, job, id, options));
    return { ...row, files, ...(reason === undefined ? {} : { reason }) };
  }
  return undefined;
}

/** What the datums that ran in this job took, each number by itself. */
export type StatsSummary = { readonly [K in keyof JobStats]: Summary };

/** Over the datums that ran in this job so far. */
export async function aggregateDatums(
  deps: DatumListDeps,
  job: JobRecord,
  wait: Wait,
): Promise<StatsSummary> {
  const sums = {
    downloadMs: new Aggregate(),
    processMs: new Aggregate(),
    uploadMs: new Aggregate(),
    downloadBytes: new Aggregate(),
    uploadBytes: new Aggregate(),
  };
  const names = Object.keys(sums) as (keyof JobStats)[];
  for await (const row of listDatums(deps, job, { ...wait, input: undefined, statusOnly: true })) {
    const { stats } = row;
    if (!stats || row.ranIn !== job.id) continue;
    for (const name of names) sums[name].add(stats[name]);
  }
  const summaries = names.map((name) => [name, sums[name].summary()] as const);
  return Object.fromEntries(summaries) as StatsSummary;
}

/** The datums an input would give at these commits; ids as a job would give them. */
export async function previewDatums(
  deps: SourceDeps,
  input: Input,
  commits: readonly InputCommit[],
  wait: Wait,
): Promise<{ readonly length: number; at(index: number): DatumRow }> {
  const list: DatumList = await enumerate(input, commitSource(deps, commits), wait);
  return {
    length: list.length,
    at: (index) => {
      const datum = list.at(index);
      return {
        id: datumId(datum).toString('hex'),
        state: 'STARTING',
        files: datum.map(({ input: { name, repo, branch, commit }, path, node }) => ({
          ...{ name, repo, branch, commit, path, node },
        })),
      };
    },
  };
}

async function* finishedRows(
  deps: DatumListDeps,
  job: JobRecord,
  manifest: string,
  files: FileFinder,
  options: DatumListOptions,
): AsyncGenerator<DatumRow> {
  const header = await deps.storage.getJson<ManifestHeader>(manifest, options);
  const counts: Record<string, number> = {
    FAILED: job.failed,
    SUCCESS: job.processed,
    SKIPPED: job.skipped,
    RECOVERED: job.recovered,
  };
  let skip = options.from ?? 0;
  for (const state of ORDER) {
    const count = counts[state] ?? 0;
    if (skip >= count) {
      skip -= count;
      continue;
    }
    for await (const { key, value } of deps.maps.scan(header.map, options)) {
      const record = decodeRecord(value);
      const is = record.job === job.id ? RAN[record.state] : 'SKIPPED';
      if (is !== state) continue;
      skip -= 1;
      if (skip >= 0) continue;
      const { id, tries } = record;
      yield {
        id: id.toString('hex'),
        state,
        ranIn: record.job,
        files: await files.of(key, record, options),
        stats: statsOf(record),
        tries,
      };
    }
  }
}

const RAN = { success: 'SUCCESS', failed: 'FAILED', recovered: 'RECOVERED' } as const;

async function* runningRows(
  deps: DatumListDeps,
  job: JobRecord,
  planRef: string,
  files: FileFinder,
  options: DatumListOptions,
): AsyncGenerator<DatumRow> {
  const plan = await deps.storage.getJson<JobPlan>(planRef, options);
  const segments = new SegmentReader(deps, plan);
  const results = new Map<number, TaskResult>();
  for (const result of await resultsOf(deps, job, options)) {
    if (!results.has(result.task)) results.set(result.task, result);
  }
  let skip = options.from ?? 0;
  for (let task = 0; task < plan.tasks.length; task += 1) {
    const [, from, to] = plan.tasks[task] as readonly [number, number, number];
    if (skip >= to - from) {
      skip -= to - from;
      continue;
    }
    const result = results.get(task);
    const details =
      result && (await deps.storage.getJson<TaskDetails>(result.details, options)).datums;
    for (const work of await segments.task(task, options)) {
      skip -= 1;
      if (skip >= 0) continue;
      const done = details?.find((one) => one.index === work.index);
      const row = { id: work.id, files: await files.ofWork(work, options) };
      yield done ? { ...row, ...doneRow(job, done) } : { ...row, state: 'STARTING' };
    }
  }
  for (const { ref } of plan.withheld ?? []) {
    for (const work of await deps.storage.getJson<WorkDatum[]>(ref, options)) {
      skip -= 1;
      if (skip >= 0) continue;
      yield { id: work.id, files: await files.ofWork(work, options), state: 'STARTING' };
    }
  }
  for await (const { key, value } of deps.maps.scan(plan.carried, options)) {
    skip -= 1;
    if (skip >= 0) continue;
    const record = decodeRecord(value);
    yield {
      id: record.id.toString('hex'),
      state: 'SKIPPED',
      ranIn: record.job,
      files: await files.of(key, record, options),
      stats: statsOf(record),
      tries: record.tries,
    };
  }
}

function doneRow(job: JobRecord, done: DatumResult): Omit<DatumRow, 'id' | 'files'> {
  return {
    state: RAN[done.state],
    ranIn: job.id,
    stats: statsOf(done.stats),
    tries: done.tries,
    ...(done.reason === undefined ? {} : { reason: done.reason }),
  };
}

async function resultsOf(
  deps: DatumListDeps,
  job: JobRecord,
  wait: Wait,
): Promise<readonly TaskResult[]> {
  const live = deps.live(job);
  if (live) return live;
  if (job.results === undefined) return [];
  return (await loadResults(deps.storage, job.results, wait)).results;
}

async function reasonOf(
  deps: DatumListDeps,
  job: JobRecord,
  id: string,
  wait: Wait,
): Promise<string | undefined> {
  for (const result of await resultsOf(deps, job, wait)) {
    if (result.failed === 0) continue;
    const details = await deps.storage.getJson<TaskDetails>(result.details, wait);
    const found = details.datums.find((one) => one.id === id);
    if (found) return found.reason;
  }
  return undefined;
}

function statsOf(stats: JobStats): JobStats {
  const { downloadMs, processMs, uploadMs, downloadBytes, uploadBytes } = stats;
  return { downloadMs, processMs, uploadMs, downloadBytes, uploadBytes };
}

/** Resolves the files of datums in the input commits of the job. */
class FileFinder {
  readonly #inputs = new Map<string, InputCommit>();
  readonly #roots = new Map<string, Promise<DirNode | undefined>>();

  constructor(
    readonly deps: DatumListDeps,
    commits: readonly InputCommit[],
    readonly options: DatumListOptions,
  ) {
    for (const leaf of leaves(options.input)) {
      const found = commits.find((c) => c.repo === leaf.repo && c.branch === leaf.branch);
      if (found && !this.#inputs.has(leaf.name)) this.#inputs.set(leaf.name, found);
    }
  }

  async of(key: Buffer, record: DatumRecord, wait: Wait): Promise<DatumRowFile[]> {
    if (record.files === undefined) return this.#named(parseDatumKey(key).files, wait);
    const files = await this.deps.storage.getJson<LongFiles>(record.files, wait);
    return this.#named(
      files.map(([name, path]) => ({ name, path })),
      wait,
    );
  }

  ofWork(work: WorkDatum, wait: Wait): Promise<DatumRowFile[]> {
    return this.#named(work.inputs, wait);
  }

  async #named(
    named: readonly { readonly name: string; readonly path: string }[],
    wait: Wait,
  ): Promise<DatumRowFile[]> {
    const files = named.map(({ name, path }) => {
      const input = this.#inputs.get(name);
      const { repo, branch, commit } = input ?? { repo: name, branch: '', commit: '' };
      return { name, repo, branch, commit, path };
    });
    return this.options.statusOnly ? files : this.fill(files, wait);
  }

  async fill(files: readonly DatumRowFile[], wait: Wait): Promise<DatumRowFile[]> {
    const filled: DatumRowFile[] = [];
    for (const file of files) {
      const root = file.commit === '' ? undefined : await this.#root(file, wait);
      const path = file.path === '/' ? '' : file.path;
      const node = root && (await this.deps.storage.trees.lookup(root, path, wait));
      filled.push(node ? { ...file, node } : file);
    }
    return filled;
  }

  #root(file: InputCommit, wait: Wait): Promise<DirNode | undefined> {
    const key = commitKey({ repo: file.repo, id: file.commit });
    let root = this.#roots.get(key);
    if (!root) {
      root = this.#open(key, wait);
      this.#roots.set(key, root);
    }
    return root;
  }

  async #open(key: string, wait: Wait): Promise<DirNode | undefined> {
    const kv = await this.deps.meta.get(key, wait);
    const commit = kv && (JSON.parse(kv.value.toString()) as CommitRecord);
    if (!commit || (commit.finished !== undefined && commit.root === undefined)) return undefined;
    return this.deps.versioning.openTree(commit, wait);
  }
}
