/** Turns a job's results into the manifest of its datums. */
import { setImmediate } from 'node:timers/promises';
import { invariant } from '../../core/errors.js';
import type { DatumResult, TaskDetails, TaskResult, WorkDatum } from '../../queue/messages.js';
import { refToText, runFromText } from '../../storage/index.js';
import type { ObjectKind, ObjectRef, Wait } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import type { TaskBoard } from './board.js';
import { datumKey, parseDatumKey } from './datum.js';
import { EntryColumns } from './entry-columns.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { JobPlan, ManifestHeader } from './model.js';
import { encodeRecord, type DatumRecord } from './record.js';

export interface ManifestDeps {
  readonly storage: {
    getJson<T>(ref: string, wait: Wait): Promise<T>;
    putJson(value: unknown, wait: Wait): Promise<string>;
    putObject(kind: ObjectKind, bytes: Uint8Array, wait: Wait): Promise<ObjectRef>;
  };
  readonly maps: ManifestMaps;
}

export interface ManifestInput {
  readonly job: JobRecord;
  readonly plan: JobPlan;
  readonly salt: string;
  readonly board: TaskBoard;
  readonly base: ManifestHeader | undefined;
}

const DETAILS_IN_FLIGHT = 8;

/**
 * The manifest of everything that has a result: carried-over datums and those that ran. The output
 * is added by the caller once it is merged.
 */
export async function buildManifest(
  deps: ManifestDeps,
  input: ManifestInput,
  wait: Wait,
): Promise<ManifestHeader> {
  const { board, plan, job, base } = input;
  const puts = new EntryColumns();
  const segments = new SegmentReader(deps, plan);
  for (let start = 0; start < plan.tasks.length; start += DETAILS_IN_FLIGHT) {
    const tasks = plan.tasks.slice(start, start + DETAILS_IN_FLIGHT).map((_, i) => start + i);
    const done = await Promise.all(
      tasks.map(async (task) => {
        const result = board.resultOf(task);
        return result && loadDone(deps, result, wait);
      }),
    );
    for (const one of done) {
      if (!one) continue;
      const datums = await segments.task(one.task, wait);
      for (const datum of one.datums) {
        const work = datums.find(({ index }) => index === datum.index);
        invariant(work, 'a result is about a datum of its task', { job: job.id, task: one.task });
        const key = keyOfWork(work);
        const files = parseDatumKey(key).long
          ? { files: await deps.storage.putJson(longFiles(work), wait) }
          : {};
        puts.add(key, encodeRecord({ ...recordOf(job.id, work, datum, one), ...files }));
      }
    }
    await setImmediate();
  }
  await puts.sort(wait);
  const { processed, stats } = board.counts;
  const meanDatumMs =
    processed > 0
      ? (stats.downloadMs + stats.processMs + stats.uploadMs) / processed
      : base?.meanDatumMs;
  return {
    format: 1,
    pipeline: job.pipeline,
    salt: input.salt,
    job: job.id,
    commit: job.outputCommit,
    map: await deps.maps.patch(plan.carried, { puts, deletes: [] }, wait),
    total: plan.total,
    unsuccessful: board.counts.failed + board.counts.recovered,
    ...(plan.input === undefined ? {} : { input: plan.input }),
    hasMkdir: (base?.hasMkdir ?? false) || board.results().some((r) => r.hasMkdir === true),
    ...(meanDatumMs === undefined ? {} : { meanDatumMs }),
  };
}

interface Done {
  readonly task: number;
  readonly datums: readonly DatumResult[];
  /** Run object; absent = no outputs. */
  readonly run: string | undefined;
}

/**
 * What a finished task did. A run that travelled in the message becomes an object: many records
 * will name it.
 */
async function loadDone(deps: ManifestDeps, result: TaskResult, wait: Wait): Promise<Done> {
  const { datums } = await deps.storage.getJson<TaskDetails>(result.details, wait);
  const { task } = result;
  if (result.run === undefined) return { task, datums, run: undefined };
  const run = runFromText(result.run);
  const ref = 'object' in run ? run.object : await deps.storage.putObject('run', run.inline, wait);
  return { task, datums, run: refToText(ref) };
}

/** Reads the datums of tasks; tasks of one segment follow each other, so one segment is kept. */
export class SegmentReader {
  #at = -1;
  #datums: readonly WorkDatum[] = [];

  constructor(
    readonly deps: { readonly storage: Pick<ManifestDeps['storage'], 'getJson'> },
    readonly plan: JobPlan,
  ) {}

  async task(task: number, wait: Wait): Promise<readonly WorkDatum[]> {
    const slice = this.plan.tasks[task];
    invariant(slice, 'a task of the plan', { task });
    const [segment, from, to] = slice;
    return (await this.segment(segment, wait)).slice(from, to);
  }

  async segment(segment: number, wait: Wait): Promise<readonly WorkDatum[]> {
    if (segment !== this.#at) {
      const { ref } = this.plan.segments[segment] as { ref: string };
      this.#datums = await this.deps.storage.getJson<WorkDatum[]>(ref, wait);
      this.#at = segment;
    }
    return this.#datums;
  }
}

/** The manifest key of a datum in a segment. */
export function keyOfWork(datum: WorkDatum): Buffer {
  return datumKey(
    datum.inputs.map((input) => input.name),
    datum.inputs.map((input) => input.path),
    datum.twin ?? 0,
  );
}

/** What a record's `files` refers to. */
export type LongFiles = readonly (readonly [name: string, path: string])[];

function longFiles({ inputs }: WorkDatum): LongFiles {
  return inputs.map(({ name, path }) => [name, path]);
}

function recordOf(
  job: string,
  work: WorkDatum,
  done: DatumResult,
  { task, run }: Done,
): DatumRecord {
  const hasRun = done.state === 'success' && done.outputs > 0 && run !== undefined;
  return {
    id: Buffer.from(work.id, 'hex'),
    state: done.state,
    job,
    task,
    seq: done.index,
    outputs: hasRun ? done.outputs : 0,
    tries: done.tries,
    ...done.stats,
    ...(hasRun ? { run } : {}),
  };
}
