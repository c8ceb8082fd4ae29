/** What workers say about services and spouts, and the commits that spouts make (P2). */
import { ordinalOf } from '../../../core/ids.js';
import { AppError, codeOf, invalidInput, messageOf, unavailable } from '../../../core/errors.js';
import type {
  DutyReply,
  DutyReport,
  SpoutWrite,
  SpoutWritten,
} from '../../../proto/generated/tusk.js';
import { refFromText, runFromText, type RunRef, type Storage } from '../../../storage/index.js';
import type { Wait } from '../../../storage/types.js';
import { EPOCH_KEY, type EpochRecord } from '../../gc/model.js';
import type { Meta, MetaTxn } from '../../meta/index.js';
import { pipelineKey, type PipelineRecord } from '../../pipelines/model.js';
import { startCommitIn } from '../../versioning/commits.js';
import type { Versioning } from '../../versioning/index.js';
import { branchKey, type BranchRecord } from '../../versioning/model.js';
import { baseTree } from '../../versioning/open-commits.js';
import {
  liveCommitKey,
  liveKey,
  liveLogKey,
  liveStateKey,
  SEGMENTS_KEPT,
  type LiveCommit,
  type LiveLogRecord,
  type LiveRecord,
  type LiveState,
} from './model.js';

export interface ReportDeps {
  readonly meta: Meta;
  readonly storage: Storage;
  readonly versioning: Versioning;
}

export const MARKER_BRANCH = 'marker';

/** Takes a report. `address` is where it came from. STATE_CONFLICT when the duty is another's. */
export async function reportDuty(
  deps: ReportDeps,
  report: DutyReport,
  address: string,
  wait: Wait,
): Promise<DutyReply> {
  const { pipeline, run, worker } = report;
  const live = await deps.meta.transact(
    async (t) => {
      const record = await t.getJson<LiveRecord>(liveKey(pipeline));
      if (!isDuty(record, report)) {
        if (await t.getJson(pipelineKey(pipeline))) await addLogs(t, report);
        return undefined;
      }
      const { state, reason, internalPort, externalPort, restarts } = report;
      const ports = { internalPort, externalPort };
      const next: LiveState = { run, worker, state, reason, address, ...ports, restarts };
      const before = await t.getJson<LiveState>(liveStateKey(pipeline));
      const same = JSON.stringify(before) === JSON.stringify(next);
      if (state !== '' && !same) t.putJson(liveStateKey(pipeline), next);
      await addLogs(t, report);
      return record;
    },
    { ...wait, label: `report of ${pipeline}` },
  );
  if (!live) throw new NotYours(report);
  const marker = live.kind === 'spout' ? await markerRoot(deps, pipeline, wait) : undefined;
  return {
    marker: marker === undefined ? Buffer.alloc(0) : Buffer.from(marker, 'base64'),
    epoch: deps.storage.epoch,
  };
}

type DutyName = Pick<DutyReport, 'pipeline' | 'run' | 'worker'>;

async function needDuty(t: MetaTxn, name: DutyName): Promise<void> {
  const record = await t.getJson<LiveRecord>(liveKey(name.pipeline));
  if (!isDuty(record, name)) throw new NotYours(name);
}

function isDuty(record: LiveRecord | undefined, { run, worker }: DutyName): record is LiveRecord {
  return record?.run === run && record.worker === worker;
}

class NotYours extends AppError {
  constructor({ pipeline, worker }: DutyName) {
    super('STATE_CONFLICT', `pipeline ${pipeline} is no longer run by worker ${worker}`);
  }
}

async function addLogs(t: MetaTxn, report: DutyReport): Promise<void> {
  if (report.logs.length === 0) return;
  const key = liveLogKey(report.pipeline);
  const before = (await t.getJson<LiveLogRecord>(key))?.segments ?? [];
  const { floor = 0 } = (await t.getJson<EpochRecord>(EPOCH_KEY)) ?? {};
  // A worker was away for so long that what it stored may be gone again.
  const there = report.logs.filter(({ segment }) => refFromText(segment).epoch >= floor);
  const fresh = there.map(({ number, segment }) => ({
    run: report.run,
    number,
    job: report.job,
    log: segment,
  }));
  const replaced = new Set(fresh.map(({ run, number }) => `${run}/${number}`));
  const kept = before.filter(({ run, number }) => !replaced.has(`${run}/${number}`));
  const segments = [...kept, ...fresh].slice(-SEGMENTS_KEPT);
  t.putJson(key, { segments } satisfies LiveLogRecord);
}

async function markerRoot(
  { meta, versioning }: ReportDeps,
  pipeline: string,
  wait: Wait,
): Promise<string | undefined> {
  const key = branchKey({ repo: pipeline, name: MARKER_BRANCH });
  const branch = await meta.getJson<BranchRecord>(key, wait);
  if (branch?.head === undefined) return undefined;
  const commit = await versioning.commit({ repo: pipeline, id: branch.head }, wait);
  return commit?.root;
}

/** Makes the commit of one archive, with its marker, in one transaction; once per number. */
export async function commitSpout(
  deps: ReportDeps,
  write: SpoutWrite,
  wait: Wait,
): Promise<SpoutWritten> {
  const { pipeline } = write;
  const { epoch } = deps.storage;
  const record = await deps.meta.getJson<PipelineRecord>(pipelineKey(pipeline), wait);
  const known = await deps.meta.getJson<LiveCommit>(liveCommitKey(pipeline), wait);
  if (known?.run === write.run && known.number >= write.number) {
    return { commit: known.commit, epoch };
  }
  const guardIn = async (t: MetaTxn, made: string): Promise<void> => {
    await needDuty(t, write);
    await needEpoch(t, write.epoch);
    const last = await t.getJson<LiveCommit>(liveCommitKey(pipeline));
    if (last?.run === write.run && last.number >= write.number) throw new Done(last.commit);
    const next: LiveCommit = { run: write.run, number: write.number, commit: made };
    t.putJson(liveCommitKey(pipeline), next);
  };
  const branch = { repo: pipeline, name: record?.outputBranch ?? 'master' };
  const marker = { repo: pipeline, name: MARKER_BRANCH };
  try {
    if (write.data === '') {
      await deps.versioning.oneShot(marker, runsOf(write.marker), {
        ...wait,
        guardIn: (t) => guardIn(t, ''),
      });
      return { commit: '', epoch };
    }
    const made = await deps.versioning.oneShot(branch, runsOf(write.data), {
      ...wait,
      guardIn: async (t, { id }) => {
        await guardIn(t, id);
        if (write.marker !== '') await moveMarkerIn(deps, t, pipeline, runsOf(write.marker), wait);
      },
    });
    return { commit: made.id, epoch };
  } catch (error) {
    if (error instanceof Done) return { commit: error.commit, epoch };
    throw notLost(error);
  }
}

/** A conflict tells the worker that its duty is another's: other ones go by other names. */
function notLost(error: unknown): unknown {
  if (codeOf(error) !== 'STATE_CONFLICT' || error instanceof NotYours) return error;
  const message = messageOf(error);
  const options = { cause: error };
  // Somebody has a commit open there: its end lets this one in.
  if (/has not been finished/.test(message)) return unavailable(message, options);
  return invalidInput(`the tar stream does not fit what is there: ${message}`, options);
}

/** Objects that nothing referred to while a collection passed their epoch may be gone. */
async function needEpoch(t: MetaTxn, epoch: number): Promise<void> {
  const { floor = 0 } = (await t.getJson<EpochRecord>(EPOCH_KEY)) ?? {};
  if (epoch >= floor) return;
  throw invalidInput(
    `what the spout wrote took so long that a garbage collection (epoch ${floor}) passed it ` +
      `(epoch ${epoch}); it has to write it again`,
  );
}

/** The same write was heard before. */
class Done extends Error {
  override readonly name = 'Done';
  constructor(readonly commit: string) {
    super('this write is committed already');
  }
}

function runsOf(text: string): RunRef[] {
  return [runFromText(text)];
}

async function moveMarkerIn(
  { versioning, storage }: ReportDeps,
  t: MetaTxn,
  repo: string,
  runs: readonly RunRef[],
  wait: Wait,
): Promise<void> {
  const scope = versioning.scope(t);
  const branch = { repo, name: MARKER_BRANCH };
  const head = (await scope.branch(branch))?.head;
  const base = head === undefined ? undefined : await baseTree(scope, { repo, parent: head });
  const id = versioning.newId();
  const root = await storage.trees.apply(base, runs, {
    ...wait,
    ordinal: ordinalOf(id),
    mode: 'put',
  });
  await startCommitIn(scope, { repo, branch: MARKER_BRANCH, id }, { kind: 'input', root });
}
