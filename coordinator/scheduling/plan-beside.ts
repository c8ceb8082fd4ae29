/**
 * Planning a job while earlier jobs of its pipeline run. What those have or wait for is withheld:
 * whether it runs here is known when they have ended. Everything else may begin.
 *
 * B1  A datum is in tasks of one running job at most: a plan beside others leaves out all that they
 *     have in tasks and all that they withhold.
 * B2  The last plan of a job is made when no earlier job runs, from the history as it is then. It
 *     keeps what is in tasks already; carried-over datums, base and counters are those of a job that
 *     began only then.
 */
import { setImmediate } from 'node:timers/promises';
import { invariant } from '../../core/errors.js';
import type { WorkDatum } from '../../queue/messages.js';
import type { Wait } from '../../storage/types.js';
import type { Entry } from './carry.js';
import { datumTag, type Datum } from './datum.js';
import { jobSpec } from './job-spec.js';
import type { JobPlan, SegmentRef } from './model.js';
import {
  cutOpen,
  epochOf,
  findDatums,
  makePlans,
  writeSegments,
  type FoundDatums,
  type MadePlan,
  type PlanDeps,
  type PlanInput,
} from './plan.js';
import { listed } from './plan-changes.js';

/**
 * Datums that running jobs may have in their plans when another one is planned beside them, and that
 * one may have to run.
 */
export const BESIDE_DATUMS_MAX = 20_000;
/** Segments read at once; each has up to 512 datums. */
const READS = 4;
const TURN = 1_024;

/**
 * The plans of a job, each with all that the ones before it have. With `input.beside`: the one plan
 * to begin with, or none at all when it would be too large, which waits for the others' end. With a
 * `before` of that kind: the last plan.
 */
export async function* plansOfJob(
  deps: PlanDeps,
  input: PlanInput,
  wait: Wait,
  before?: JobPlan,
): AsyncGenerator<MadePlan> {
  if (before?.withheld) {
    yield await planRest(deps, input, before, wait);
  } else if (input.beside) {
    const made = await planBeside(deps, input, input.beside, wait);
    if (made) yield made;
  } else {
    yield* makePlans(deps, input, wait, before);
  }
}

/** `plan` as it is now, with all that `last`, made from `before`, has more. */
export function grown(plan: JobPlan, last: JobPlan, before: JobPlan): JobPlan {
  if (!before.withheld) return last;
  // Tasks may have been cut meanwhile: those are at the end of the list of `plan`.
  const tasks = [...plan.tasks, ...last.tasks.slice(before.tasks.length)];
  return { ...last, tasks, ...(plan.since ? { since: plan.since } : {}) };
}

async function planBeside(
  deps: PlanDeps,
  input: PlanInput,
  beside: readonly SegmentRef[],
  wait: Wait,
): Promise<MadePlan | undefined> {
  const { epoch } = deps.storage;
  const found = await findDatums(deps, input, wait);
  const { total, open } = found;
  const most = input.besideMax ?? BESIDE_DATUMS_MAX;
  if (open.length > most + countOf(beside)) return undefined;
  const theirs = await tagsIn(deps, beside, wait);
  const { known, unknown } = await split(input, found, theirs, wait);
  if (unknown.length > most) return undefined;
  const own = { ...found, open: listed(unknown) };
  const writing = { ...wait, epoch };
  const plan: JobPlan = {
    format: 1,
    spec: await deps.storage.putJson(jobSpec(input.info, input.job, epoch), writing),
    ...carriedOf(found),
    total,
    skipped: total - open.length,
    segments: await written(deps, input, own, writing),
    tasks: cutOpen(input, own, input.slots).map(({ segment, from, to }) => [segment, from, to]),
    partial: input.slots,
    withheld: await written(deps, input, { ...found, open: listed(known) }, writing),
  };
  const ref = await deps.storage.putJson(plan, writing);
  return { ref, plan, how: found.how, ...(found.list ? { list: found.list } : {}) };
}

async function planRest(
  deps: PlanDeps,
  input: PlanInput,
  before: JobPlan,
  wait: Wait,
): Promise<MadePlan> {
  const epoch = await epochOf(deps, before, wait);
  const found = await findDatums(deps, input, wait);
  const { total } = found;
  invariant(total === before.total, 'a job keeps its datums', { job: input.job.id });
  const mine = await tagsIn(deps, before.segments, wait);
  const { unknown } = await split(input, found, mine, wait);
  const rest = { ...found, open: listed(unknown) };
  const writing = { ...wait, epoch };
  const added = await written(deps, input, shifted(rest, total), writing);
  const at = before.segments.length;
  const tasks = cutOpen(input, rest, before.partial ?? input.slots).map(
    ({ segment, from, to }) => [at + segment, from, to] as const,
  );
  const plan: JobPlan = {
    format: 1,
    spec: before.spec,
    ...carriedOf(found),
    total,
    skipped: total - mine.size - unknown.length,
    segments: [...before.segments, ...added],
    tasks: [...before.tasks, ...tasks],
    ...(before.since ? { since: before.since } : {}),
    ...(at > 0 && added.length > 0 ? { renumbered: true } : {}),
  };
  const ref = await deps.storage.putJson(plan, writing);
  return { ref, plan, how: found.how, ...(found.list ? { list: found.list } : {}) };
}

function carriedOf({ base, carried, input }: FoundDatums): Pick<JobPlan, 'carried'> {
  return {
    ...(base === undefined ? {} : { base }),
    carried,
    ...(input === undefined ? {} : { input }),
  };
}

/** The same datums with places that no datum of the first plan has: those are below the total. */
function shifted(found: FoundDatums, by: number): Pick<FoundDatums, 'open' | 'datumOf'> {
  const move = (entry: Entry, way: number): Entry => ({ ...entry, index: entry.index + way });
  const { open, datumOf } = found;
  return {
    open: { length: open.length, at: (index) => move(open.at(index), by) },
    datumOf: (entry) => datumOf(move(entry, -by)),
  };
}

async function written(
  deps: PlanDeps,
  input: PlanInput,
  datums: Pick<FoundDatums, 'open' | 'datumOf'>,
  wait: Wait & { readonly epoch: number },
): Promise<SegmentRef[]> {
  const segments: SegmentRef[] = [];
  for await (const some of writeSegments(deps, input, datums, wait)) segments.push(...some);
  return segments;
}

/** Open datums that are among `tags`, and those that are not. */
async function split(
  input: PlanInput,
  { open, datumOf }: FoundDatums,
  tags: ReadonlySet<string>,
  wait: Wait,
): Promise<{ known: Entry[]; unknown: Entry[] }> {
  const known: Entry[] = [];
  const unknown: Entry[] = [];
  for (let index = 0; index < open.length; index += 1) {
    const entry = open.at(index);
    const same = tags.size > 0 && tags.has(tagOf(input, entry, datumOf(entry)));
    (same ? known : unknown).push(entry);
    if (index % TURN === TURN - 1) {
      wait.signal.throwIfAborted();
      await setImmediate();
    }
  }
  return { known, unknown };
}

/** What two jobs' equal datums have in common: paths, contents, input names, and which twin it is. */
function tagOf({ job: { pipeline }, salt }: PlanInput, entry: Entry, datum: Datum): string {
  const names = datum.map((file) => file.input.name);
  return twinTag(datumTag(entry.id, names, { pipeline, salt }), entry.twin);
}

function twinTag(tag: string, twin = 0): string {
  return twin === 0 ? tag : `${tag}/${twin}`;
}

function countOf(segments: readonly SegmentRef[]): number {
  return segments.reduce((sum, { count }) => sum + count, 0);
}

async function tagsIn(
  deps: PlanDeps,
  segments: readonly SegmentRef[],
  wait: Wait,
): Promise<Set<string>> {
  const tags = new Set<string>();
  const refs = [...new Set(segments.map(({ ref }) => ref))];
  for (let start = 0; start < refs.length; start += READS) {
    const read = (ref: string) => deps.storage.getJson<WorkDatum[]>(ref, wait);
    for (const datums of await Promise.all(refs.slice(start, start + READS).map(read))) {
      for (const { tag, twin } of datums) tags.add(twinTag(tag, twin));
    }
  }
  return tags;
}
