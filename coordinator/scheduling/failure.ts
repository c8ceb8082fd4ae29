/** Why a job failed, in words a person can act on. */
import type { Input } from '../../proto/generated/pps.js';
import type { DatumResult, TaskDetails, WorkDatum } from '../../queue/messages.js';
import type { Wait } from '../../storage/types.js';
import type { JobRecord } from '../pipelines/model.js';
import { commitKey, type CommitRecord } from '../versioning/model.js';
import type { TaskBoard } from './board.js';
import type { OwnerDeps } from './deps.js';
import { leaves } from './enumerate.js';
import { SegmentReader } from './manifest.js';
import type { JobPlan } from './model.js';

const REASON_CHARS_MAX = 1_200;

/** Names of the inputs whose commit was finished without a tree (its own job failed). */
export async function failedInputs(
  deps: Pick<OwnerDeps, 'meta'>,
  job: JobRecord,
  input: Input | undefined,
  wait: Wait,
): Promise<string[]> {
  const commits = new Map(job.inputs.map((ref) => [`${ref.repo}@${ref.branch}`, ref]));
  const failed: string[] = [];
  for (const leaf of leaves(input)) {
    const ref = commits.get(`${leaf.repo}@${leaf.branch}`);
    if (!ref) continue;
    const kv = await deps.meta.get(commitKey({ repo: ref.repo, id: ref.commit }), wait);
    const record = kv && (JSON.parse(kv.value.toString()) as CommitRecord);
    if (!record || (record.finished !== undefined && record.root === undefined)) {
      failed.push(leaf.name);
    }
  }
  return [...new Set(failed)];
}

/** `failed to process datum: <id>`, its inputs, and what the worker said about it. */
export async function failureReason(
  deps: Pick<OwnerDeps, 'storage'>,
  plan: JobPlan,
  board: TaskBoard,
  wait: Wait,
): Promise<string> {
  const segments = new SegmentReader(deps, plan);
  for (const result of board.results()) {
    if (result.failed === 0) continue;
    const details = await deps.storage.getJson<TaskDetails>(result.details, wait);
    const datum = details.datums.find((one) => one.state === 'failed');
    if (!datum) continue;
    const works = await segments.task(result.task, wait);
    return textOf(
      datum,
      works.find((work) => work.index === datum.index),
    );
  }
  const first = board.firstFailure;
  return first ? `failed to process datum: ${first.datum}: ${first.reason}` : 'datum failed';
}

function textOf(datum: DatumResult, work: WorkDatum | undefined): string {
  const files = (work?.inputs ?? []).map((input) => `${input.name}:${input.path}`);
  const shown = files.slice(0, 4).join(', ') + (files.length > 4 ? ', …' : '');
  const why = datum.reason ? `: ${datum.reason}` : '';
  return `failed to process datum: ${datum.id} (${shown})${why}`.slice(0, REASON_CHARS_MAX);
}
