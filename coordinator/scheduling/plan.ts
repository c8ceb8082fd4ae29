/**
 * Makes a job's plan: enumerate, find what earlier jobs already did, store the rest as segments and
 * cut them into tasks. Every object is content-addressed and the plan itself is one immutable blob,
 * so making it twice does no harm; it takes effect when the job record refers to it.
 */
import { setImmediate } from 'node:timers/promises';
import { invariant } from '../../core/errors.js';
import type { PipelineInfo } from '../../proto/generated/pps.js';
import type { WorkDatum } from '../../queue/messages.js';
import { encodeNode } from '../../storage/index.js';
import type { Wait } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import { joinByLookup, joinSorted, type Entry, type KeyValue } from './carry.js';
import { datumId, datumTag, KeyMaker, type Datum } from './datum.js';
import { enumerate, type DatumList, type MatchSource } from './enumerate.js';
import { jobSpec } from './job-spec.js';
import type { ManifestMaps } from './manifest-maps.js';
import type { JobPlan, ManifestHeader, ManifestHistory } from './model.js';
import { cutTasks } from './tasks.js';

export interface PlanDeps {
  readonly storage: {
    readonly epoch: number;
    putJson(value: unknown, wait: Wait): Promise<string>;
    getJson<T>(ref: string, wait: Wait): Promise<T>;
  };
  readonly maps: ManifestMaps;
}

export interface PlanInput {
  readonly job: JobRecord;
  readonly info: PipelineInfo;
  readonly salt: string;
  readonly source: MatchSource;
  readonly history: ManifestHistory | undefined;
  /** Tasks that may be in flight at once. */
  readonly slots: number;
}

export interface MadePlan {
  readonly ref: string;
  readonly plan: JobPlan;
  readonly list: DatumList;
}

export const SEGMENT_DATUMS_MAX = 512;
/** Below this many open entries, older manifests are asked by key instead of read whole. */
const LOOKUPS_MAX = 500;
const SEGMENTS_IN_FLIGHT = 4;

export async function makePlan(deps: PlanDeps, input: PlanInput, wait: Wait): Promise<MadePlan> {
  const list = await enumerate(input.info.input, input.source, wait);
  const entries = await entriesOf(list, wait);
  const known = await carryOver(deps, input, entries, wait);
  const open = known.open.sort((a, b) => a.index - b.index);
  const segments = await writeSegments(deps, input, list, open, wait);
  const counts = segments.map((segment) => segment.count);
  const chunk = input.info.chunkSpec;
  const tasks = cutTasks({
    segments: counts,
    slots: input.slots,
    ...(known.meanDatumMs === undefined ? {} : { meanDatumMs: known.meanDatumMs }),
    number: chunk?.number ?? 0,
    sizeBytes: chunk?.sizeBytes ?? 0,
    bytesOf: (segment, index) =>
      sizeOf(list.at((open[segment * SEGMENT_DATUMS_MAX + index] as Entry).index)),
  });
  const plan: JobPlan = {
    format: 1,
    spec: await deps.storage.putJson(jobSpec(input.info, input.job, deps.storage.epoch), wait),
    ...(known.base === undefined ? {} : { base: known.base }),
    carried: known.carried,
    segments,
    tasks: tasks.map((task) => [task.segment, task.from, task.to] as const),
    total: list.length,
    skipped: list.length - open.length,
  };
  return { ref: await deps.storage.putJson(plan, wait), plan, list };
}

/** Every datum's key and id, sorted by key. */
export async function entriesOf(list: DatumList, wait: Wait): Promise<Entry[]> {
  const keys = new KeyMaker();
  const entries: Entry[] = [];
  for (let index = 0; index < list.length; index += 1) {
    const datum = list.at(index);
    entries.push({ ...keys.keyOf(datum), id: datumId(datum), index });
    if ((index & 1023) === 1023) {
      wait.signal.throwIfAborted();
      await setImmediate();
    }
  }
  return entries.sort((a, b) => Buffer.compare(a.key, b.key));
}

interface Known {
  readonly open: Entry[];
  /** Root text of the map of datums that need no run. */
  readonly carried: string;
  /** Header of the newest manifest with an output; the merge starts from it. */
  readonly base?: string;
  readonly meanDatumMs?: number;
}

async function carryOver(
  deps: PlanDeps,
  input: PlanInput,
  entries: Entry[],
  wait: Wait,
): Promise<Known> {
  const { history } = input;
  const refs = history && history.salt === input.salt ? history.manifests : [];
  const headers: { ref: string; header: ManifestHeader }[] = [];
  for (const { ref } of refs) {
    headers.push({ ref, header: await deps.storage.getJson<ManifestHeader>(ref, wait) });
  }
  const timed = headers.find(({ header }) => header.meanDatumMs !== undefined)?.header;
  const mean = timed?.meanDatumMs === undefined ? {} : { meanDatumMs: timed.meanDatumMs };
  if (input.info.reprocessSpec === 'every_job') {
    return { open: entries, carried: await deps.maps.build([], wait), ...mean };
  }
  const base = headers.find(({ header }) => header.output !== undefined);
  const joined = base
    ? await joinSorted(entries, deps.maps.scan(base.header.map, wait), wait)
    : { open: entries, carried: [], dropped: [] };
  let open = joined.open;
  const added: KeyValue[] = [];
  for (const { header } of headers) {
    if (header === base?.header || open.length === 0) continue;
    const more =
      open.length <= LOOKUPS_MAX
        ? await joinByLookup(open, (key, w) => deps.maps.get(header.map, key, w), wait)
        : await joinSorted(open, deps.maps.scan(header.map, wait), wait);
    open = more.open;
    added.push(...more.carried);
  }
  added.sort((a, b) => Buffer.compare(a.key, b.key));
  const back = new Set(added.map(({ key }) => key.toString('latin1')));
  const deletes = joined.dropped.filter((key) => !back.has(key.toString('latin1')));
  const carried = base
    ? await deps.maps.patch(base.header.map, { puts: added, deletes }, wait)
    : await deps.maps.build(added, wait);
  return { open, carried, ...(base ? { base: base.ref } : {}), ...mean };
}

async function writeSegments(
  deps: PlanDeps,
  input: PlanInput,
  list: DatumList,
  open: readonly Entry[],
  wait: Wait,
): Promise<{ ref: string; count: number }[]> {
  const segments: { ref: string; count: number }[] = [];
  for (let start = 0; start < open.length; start += SEGMENT_DATUMS_MAX * SEGMENTS_IN_FLIGHT) {
    const batch: WorkDatum[][] = [];
    for (let i = 0; i < SEGMENTS_IN_FLIGHT; i += 1) {
      const from = start + i * SEGMENT_DATUMS_MAX;
      const part = open.slice(from, from + SEGMENT_DATUMS_MAX);
      if (part.length === 0) break;
      batch.push(part.map((entry) => workDatum(entry, list.at(entry.index), input)));
      await setImmediate();
    }
    const refs = await Promise.all(batch.map((datums) => deps.storage.putJson(datums, wait)));
    refs.forEach((ref, i) => segments.push({ ref, count: batch[i]?.length ?? 0 }));
  }
  return segments;
}

function workDatum(entry: Entry, datum: Datum, input: PlanInput): WorkDatum {
  invariant(datum.length > 0, 'a datum has at least one file', { index: entry.index });
  const names = datum.map((file) => file.input.name);
  const salted = { pipeline: input.job.pipeline, salt: input.salt };
  return {
    index: entry.index,
    id: entry.id.toString('hex'),
    tag: datumTag(entry.id, names, salted),
    inputs: datum.map((file) => ({
      name: file.input.name,
      repo: file.input.repo,
      branch: file.input.branch,
      commit: file.input.commit,
      path: file.path,
      ...(file.input.lazy ? { lazy: true } : {}),
      ...(file.input.emptyFiles ? { emptyFiles: true } : {}),
      node: encodeNode(file.node).toString('base64'),
    })),
    ...(entry.twin > 0 ? { twin: entry.twin } : {}),
  };
}

function sizeOf(datum: Datum): number {
  return datum.reduce((sum, file) => sum + file.node.size, 0);
}
