/**
 * Makes a job's plan: enumerate, find what earlier jobs already did, store the rest as segments and
 * cut them into tasks. Every object is content-addressed and the plan itself is one immutable blob,
 * so making it twice does no harm; it takes effect when the job record refers to it.
 */
import { setImmediate } from 'node:timers/promises';
import { invalidInput, invariant } from '../../core/errors.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { JobSpec, WorkDatum } from '../../queue/messages.js';
import { encodeNode } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import { joinSorted, type Entry } from './carry.js';
import { datumId, datumTag, KeyMaker, type Datum } from './datum.js';
import { enumerate, mayRepeat, type DatumList } from './enumerate.js';
import { jobSpec, runsAll } from './job-spec.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { JobPlan, ManifestHeader, ManifestHistory, SegmentRef } from './model.js';
import { askOthers, listed, plannedInput, planChanges, type Found } from './plan-changes.js';
import type { TreeSource } from './source.js';
import { cutTasks, type TaskSlice } from './tasks.js';

export interface PlanDeps {
  readonly storage: {
    readonly epoch: number;
    putJson(value: unknown, wait: Wait & { readonly epoch?: number }): Promise<string>;
    getJson<T>(ref: string, wait: Wait): Promise<T>;
  };
  readonly maps: ManifestMaps;
}

export interface PlanInput {
  readonly job: JobRecord;
  readonly info: PipelineInfo;
  readonly salt: string;
  readonly source: TreeSource;
  readonly history: ManifestHistory | undefined;
  /** Tasks that may be in flight at once. */
  readonly slots: number;
  /** Datums from which on there is a partial plan (EARLY_FROM). */
  readonly earlyFrom?: number;
  /** Datums that earlier jobs, which still run, have or wait for: segments of their plans. */
  readonly beside?: readonly SegmentRef[];
  /** With more datums to run a job is not planned beside others (BESIDE_DATUMS_MAX). */
  readonly besideMax?: number;
}

export interface MadePlan {
  readonly ref: string;
  readonly plan: JobPlan;
  /** Absent when only changes were looked at. */
  readonly list?: DatumList;
  readonly how: 'all' | 'changes';
}

export const SEGMENT_DATUMS_MAX = 512;
const SEGMENTS_IN_FLIGHT = 4;

/** The whole plan at once. */
export async function makePlan(deps: PlanDeps, input: PlanInput, wait: Wait): Promise<MadePlan> {
  let made: MadePlan | undefined;
  for await (const plan of makePlans(deps, input, wait)) made = plan;
  invariant(made, 'a plan is made');
  return made;
}

/**
 * The plan of a job. With very many datums a partial plan comes first, so that work begins before
 * everything is written down; the plan after it only adds segments and tasks. `before` is a partial
 * plan that is in use: its tasks stay as they are. All of it carries one garbage-collection epoch,
 * so that what is made twice is the same.
 */
export async function* makePlans(
  deps: PlanDeps,
  input: PlanInput,
  wait: Wait,
  before?: JobPlan,
): AsyncGenerator<MadePlan> {
  const epoch = before ? await epochOf(deps, before, wait) : deps.storage.epoch;
  const spec = deps.storage.putJson(jobSpec(input.info, input.job, epoch), { ...wait, epoch });
  spec.catch(() => undefined); // Looked at below.
  const found = await findDatums(deps, input, wait);
  const slots = before?.partial ?? input.slots;
  const { open, how } = found;
  const tasks = cutOpen(input, found, slots);
  const head = {
    format: 1 as const,
    ...(found.base === undefined ? {} : { base: found.base }),
    carried: found.carried,
    total: found.total,
    skipped: found.total - open.length,
    ...(found.input === undefined ? {} : { input: found.input }),
  };
  const segments: { ref: string; count: number }[] = [];
  const plan = async (): Promise<MadePlan> => {
    const whole = segments.length * SEGMENT_DATUMS_MAX >= open.length;
    const made: JobPlan = {
      ...head,
      spec: await spec,
      segments: [...segments],
      tasks: tasks
        .filter(({ segment }) => segment < segments.length)
        .map((task) => [task.segment, task.from, task.to] as const),
      ...(whole ? {} : { partial: slots }),
    };
    const ref = await deps.storage.putJson(made, { ...wait, epoch });
    return { ref, plan: made, ...(found.list ? { list: found.list } : {}), how };
  };
  const early =
    before === undefined && open.length > (input.earlyFrom ?? EARLY_FROM) ? EARLY_SEGMENTS : 0;
  for await (const written of writeSegments(deps, input, found, { ...wait, epoch })) {
    segments.push(...written);
    if (early > 0 && segments.length === early) yield await plan();
  }
  const last = await plan();
  invariant(!before || startsWith(last.plan, before), 'a plan only grows', { job: input.job.id });
  yield last;
}

export interface FoundDatums extends Found {
  readonly how: MadePlan['how'];
  /** What a datum took in the pipeline's last job. */
  readonly meanDatumMs?: number;
}

/** What a job consists of, and what of it earlier jobs did. */
export async function findDatums(
  deps: PlanDeps,
  input: PlanInput,
  wait: Wait,
): Promise<FoundDatums> {
  const headers = await loadHeaders(deps, input, wait);
  const quick = await planChanges(deps, input, headers, wait);
  const found = quick ?? (await planAll(deps, input, headers, wait));
  const mean = headers.find(({ header }) => header.meanDatumMs !== undefined)?.header.meanDatumMs;
  const how = quick ? 'changes' : 'all';
  return { ...found, how, ...(mean === undefined ? {} : { meanDatumMs: mean }) };
}

/** The tasks of open datums that are written as segments in their order. */
export function cutOpen(
  input: PlanInput,
  { open, datumOf, meanDatumMs }: Pick<FoundDatums, 'open' | 'datumOf' | 'meanDatumMs'>,
  slots: number,
): TaskSlice[] {
  const chunk = input.info.chunkSpec;
  return cutTasks({
    segments: segmentSizes(open.length),
    slots,
    ...(meanDatumMs === undefined ? {} : { meanDatumMs }),
    number: chunk?.number ?? 0,
    queueSize: input.info.maxQueueSize,
    sizeBytes: chunk?.sizeBytes ?? 0,
    bytesOf: (segment, index) => sizeOf(datumOf(open.at(segment * SEGMENT_DATUMS_MAX + index))),
  });
}

/** Datums from which on the first ones run while the others are still written down. */
const EARLY_FROM = 20_000;
/** A cross of two large repos has more than any machines would ever run, or hold the plan of. */
const JOB_DATUMS_MAX = 10_000_000;
const EARLY_SEGMENTS = 4;

/** The epoch that a job writes in. */
export async function epochOf(deps: PlanDeps, plan: JobPlan, wait: Wait): Promise<number> {
  return (await deps.storage.getJson<JobSpec>(plan.spec, wait)).epoch;
}

function startsWith(plan: JobPlan, before: JobPlan): boolean {
  return (
    before.segments.every(({ ref }, i) => plan.segments[i]?.ref === ref) &&
    before.tasks.every((task, i) => String(plan.tasks[i]) === String(task))
  );
}

function segmentSizes(datums: number): number[] {
  const count = Math.ceil(datums / SEGMENT_DATUMS_MAX);
  return Array.from({ length: count }, (_, i) =>
    Math.min(SEGMENT_DATUMS_MAX, datums - i * SEGMENT_DATUMS_MAX),
  );
}

/** Manifests that may be reused from, newest first; none when the spec wants every datum run. */
async function loadHeaders(
  deps: PlanDeps,
  input: PlanInput,
  wait: Wait,
): Promise<{ ref: string; header: ManifestHeader }[]> {
  const { history } = input;
  const refs = history && history.salt === input.salt ? history.manifests : [];
  const load = async (ref: string) => ({
    ref,
    header: await deps.storage.getJson<ManifestHeader>(ref, wait),
  });
  return Promise.all(refs.map(({ ref }) => load(ref)));
}

/** Enumerates everything and joins it with what is known. */
async function planAll(
  deps: PlanDeps,
  input: PlanInput,
  headers: readonly { ref: string; header: ManifestHeader }[],
  wait: Wait,
): Promise<Found> {
  const list = await enumerate(input.info.input, input.source, wait);
  if (list.length > JOB_DATUMS_MAX) {
    const [datums, most] = [list.length, JOB_DATUMS_MAX].map((count) => count.toLocaleString('en'));
    throw invalidInput(
      `the input gives ${datums} datums and a job may have ${most}: choose globs that match fewer ` +
        'files (a directory is one datum), or join or group the inputs in place of a cross',
    );
  }
  const known = await openOf(deps, input, headers, list, wait);
  const planned = await plannedInput(input, wait);
  return {
    ...known,
    total: list.length,
    datumOf: (entry) => list.at(entry.index),
    list,
    ...(planned ? { input: planned } : {}),
  };
}

async function openOf(
  deps: PlanDeps,
  input: PlanInput,
  headers: readonly { ref: string; header: ManifestHeader }[],
  list: DatumList,
  wait: Wait,
): Promise<Pick<Found, 'open' | 'carried' | 'base'>> {
  const fresh = runsAll(input.info) || headers.length === 0;
  if (fresh && !mayRepeat(input.info.input)) {
    // All of them run and none has a twin: nothing has to be known about them before their turn.
    const carried = await deps.maps.build([], wait);
    return { open: { length: list.length, at: (index) => lazyEntry(list, index) }, carried };
  }
  const entries = await entriesOf(list, wait);
  const known = fresh
    ? { open: entries, carried: await deps.maps.build([], wait) }
    : await carryOver(deps, headers, entries, wait);
  return { ...known, open: listed(known.open.sort((a, b) => a.index - b.index)) };
}

/** An entry without its key, which only joins need. */
function lazyEntry(list: DatumList, index: number): Entry {
  return { key: NO_KEY, id: datumId(list.at(index)), index, twin: 0 };
}

const NO_KEY = Buffer.alloc(0);

/** Every datum's key and id, sorted by key. */
async function entriesOf(list: DatumList, wait: Wait): Promise<Entry[]> {
  const entries: Entry[] = [];
  await eachKeyed(list, wait, (key, datum, index) => {
    entries.push({ ...key, id: datumId(datum), index });
  });
  return entries.sort((a, b) => Buffer.compare(a.key, b.key));
}

/** Place of each datum in the enumeration, by its key (latin1). */
export async function placesOf(list: DatumList, wait: Wait): Promise<ReadonlyMap<string, number>> {
  const places = new Map<string, number>();
  await eachKeyed(list, wait, ({ key }, _datum, index) => {
    places.set(key.toString('latin1'), index);
  });
  return places;
}

/** Goes through the datums with their keys; other work runs meanwhile. */
async function eachKeyed(
  list: DatumList,
  wait: Wait,
  look: (key: ReturnType<KeyMaker['keyOf']>, datum: Datum, index: number) => void,
): Promise<void> {
  const keys = new KeyMaker();
  for (let index = 0; index < list.length; index += 1) {
    const datum = list.at(index);
    look(keys.keyOf(datum), datum, index);
    if ((index & 1023) === 1023) {
      wait.signal.throwIfAborted();
      await setImmediate();
    }
  }
}

async function carryOver(
  deps: PlanDeps,
  headers: readonly { ref: string; header: ManifestHeader }[],
  entries: Entry[],
  wait: Wait,
): Promise<Pick<Found, 'carried' | 'base'> & { open: Entry[] }> {
  const base = headers.find(({ header }) => header.output !== undefined);
  const joined = base
    ? await joinSorted(entries, deps.maps.scan(base.header.map, wait), wait)
    : { open: entries, carried: [], dropped: [] };
  const others = headers.filter((entry) => entry !== base).map(({ header }) => header);
  const { open, added } = await askOthers(deps, others, joined.open, wait);
  const back = new Set(added.map(({ key }) => key.toString('latin1')));
  const deletes = joined.dropped.filter((key) => !back.has(key.toString('latin1')));
  const carried = base
    ? await deps.maps.patch(base.header.map, { puts: added, deletes }, wait)
    : await deps.maps.build(added, wait);
  return { open, carried, ...(base ? { base: base.ref } : {}) };
}

/** Stores the segments, some at a time, in order. */
export async function* writeSegments(
  deps: PlanDeps,
  input: PlanInput,
  { open, datumOf }: Pick<Found, 'open' | 'datumOf'>,
  wait: Wait & { readonly epoch: number },
): AsyncGenerator<{ ref: string; count: number }[]> {
  for (let start = 0; start < open.length; start += SEGMENT_DATUMS_MAX * SEGMENTS_IN_FLIGHT) {
    const batch: Promise<{ ref: string; count: number }>[] = [];
    for (let i = 0; i < SEGMENTS_IN_FLIGHT; i += 1) {
      const from = start + i * SEGMENT_DATUMS_MAX;
      const to = Math.min(open.length, from + SEGMENT_DATUMS_MAX);
      if (to <= from) break;
      const datums: WorkDatum[] = [];
      for (let index = from; index < to; index += 1) {
        const entry = open.at(index);
        datums.push(workDatum(entry, datumOf(entry), input));
      }
      const count = datums.length;
      const stored = deps.storage.putJson(datums, wait).then((ref) => ({ ref, count }));
      stored.catch(() => undefined); // Looked at below.
      batch.push(stored);
      await setImmediate();
    }
    yield await Promise.all(batch);
  }
}

function workDatum(entry: Entry, datum: Datum, input: PlanInput): WorkDatum {
  invariant(datum.length > 0, 'a datum has at least one file', { index: entry.index });
  const names = datum.map((file) => file.input.name);
  const salted = { pipeline: input.job.pipeline, salt: input.salt };
  return {
    index: entry.index,
    id: entry.id.toString('hex'),
    tag: datumTag(entry.id, names, salted),
    inputs: datum.map(workInput),
    ...(entry.twin > 0 ? { twin: entry.twin } : {}),
  };
}

/** The only datum of a job, as workers get it. */
export function oneDatum(datum: Datum, pipeline: string, salt: string): WorkDatum {
  const names = datum.map((file) => file.input.name);
  const id = datumId(datum);
  return {
    index: 0,
    id: id.toString('hex'),
    tag: datumTag(id, names, { pipeline, salt }),
    inputs: datum.map(workInput),
  };
}

function workInput(file: Datum[number]): WorkDatum['inputs'][number] {
  return {
    name: file.input.name,
    repo: file.input.repo,
    branch: file.input.branch,
    commit: file.input.commit,
    path: file.path,
    ...(file.input.lazy ? { lazy: true } : {}),
    ...(file.input.emptyFiles ? { emptyFiles: true } : {}),
    ...(file.input.s3 ? { s3: true } : {}),
    node: encodeNode(file.node).toString('base64'),
  };
}

function sizeOf(datum: Datum): number {
  return datum.reduce((sum, file) => sum + file.node.size, 0);
}
