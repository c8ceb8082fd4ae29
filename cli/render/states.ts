/** Words and colours of states, input shorthand, progress bars of commits, triggers. */
import type { CommitInfo, CommitProvenance, Trigger } from '../../proto/generated/pfs.js';
import { DatumState, JobState, PipelineState, type Input } from '../../proto/generated/pps.js';
import type { ColourName, Paint } from './colour.js';

const JOB: Readonly<Record<number, readonly [string, ColourName]>> = {
  [JobState.JOB_STARTING]: ['starting', 'yellow'],
  [JobState.JOB_RUNNING]: ['running', 'yellow'],
  [JobState.JOB_MERGING]: ['merging', 'yellow'],
  [JobState.JOB_EGRESSING]: ['egressing', 'yellow'],
  [JobState.JOB_SUCCESS]: ['success', 'green'],
  [JobState.JOB_FAILURE]: ['failure', 'red'],
  [JobState.JOB_KILLED]: ['killed', 'red'],
};

const PIPELINE: Readonly<Record<number, readonly [string, ColourName]>> = {
  [PipelineState.PIPELINE_STARTING]: ['starting', 'yellow'],
  [PipelineState.PIPELINE_RUNNING]: ['running', 'green'],
  [PipelineState.PIPELINE_RESTARTING]: ['restarting', 'yellow'],
  [PipelineState.PIPELINE_FAILURE]: ['failure', 'red'],
  [PipelineState.PIPELINE_PAUSED]: ['paused', 'yellow'],
  [PipelineState.PIPELINE_STANDBY]: ['standby', 'yellow'],
  [PipelineState.PIPELINE_CRASHING]: ['crashing', 'red'],
};

const DATUM: Readonly<Record<number, readonly [string, ColourName]>> = {
  [DatumState.SUCCESS]: ['success', 'green'],
  [DatumState.FAILED]: ['failed', 'red'],
  [DatumState.SKIPPED]: ['skipped', 'yellow'],
  [DatumState.RECOVERED]: ['recovered', 'yellow'],
};

function worded(
  table: Readonly<Record<number, readonly [string, ColourName]>>,
  state: number,
  paint: Paint,
): string {
  const [text, colour] = table[state] ?? ['-', undefined];
  return colour ? paint(colour, text) : text;
}

export const jobState = (state: JobState, paint: Paint): string => worded(JOB, state, paint);
export const pipelineState = (state: PipelineState, paint: Paint): string =>
  worded(PIPELINE, state, paint);
export const datumState = (state: DatumState, paint: Paint): string => worded(DATUM, state, paint);

const REASON_BYTES = 25;

/** The STATE cell of a job list: a failure carries the start of its reason. */
export function jobStateCell(state: JobState, reason: string, paint: Paint): string {
  const word = jobState(state, paint);
  if (state !== JobState.JOB_FAILURE || reason === '') return word;
  const bytes = Buffer.from(reason, 'utf8');
  const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();
  if (bytes.length < REASON_BYTES) return `${word}: ${oneLine(reason)}`;
  const start = bytes
    .subarray(0, REASON_BYTES)
    .toString('utf8')
    .replace(/\ufffd+$/, '');
  return `${word}: ${oneLine(start)}...`;
}

/** INPUT column: `(images:/* ⨯ labels:/)`. */
export function inputShorthand(input: Input | undefined): string {
  if (!input) return 'none';
  if (input.pfs) return `${input.pfs.repo}:${input.pfs.glob}`;
  const joined = (list: readonly Input[], sign: string): string =>
    `(${list.map(inputShorthand).join(sign)})`;
  if (input.cross.length > 0) return joined(input.cross, ' ⨯ ');
  if (input.union.length > 0) return joined(input.union, ' ∪ ');
  if (input.join.length > 0) return joined(input.join, ' ⋈ ');
  if (input.group.length > 0) return `(Group: ${input.group.map(inputShorthand).join(', ')})`;
  if (input.cron) return `${input.cron.name}:${input.cron.spec}`;
  return input.git ? '' : 'none';
}

const BAR_CELLS = 8;

/** Downstream commits as a bar: done, pending, failed. `-` when there are none. */
export function commitProgress(info: CommitInfo, paint: Paint): string {
  const total = info.subvenantCommitsTotal;
  if (total <= 0) return '-';
  const cells = (count: number): number => Math.trunc((count / total) * BAR_CELLS);
  const done = cells(info.subvenantCommitsSuccess);
  let failed = cells(info.subvenantCommitsFailure);
  if (info.subvenantCommitsFailure > 0) failed = Math.max(1, failed);
  const green = Math.min(done, BAR_CELLS - failed);
  const bar = (count: number): string => '▇'.repeat(Math.max(0, count));
  return (
    paint('green', bar(green)) +
    paint('yellow', bar(BAR_CELLS - green - failed)) +
    paint('red', bar(failed))
  );
}

/** TRIGGER column: `staging on Size(1GB) or Commits(5)`. */
export function triggerText(trigger: Trigger | undefined): string {
  if (!trigger) return '-';
  const conditions = [
    trigger.cronSpec === '' ? [] : [`Cron(${trigger.cronSpec})`],
    trigger.size === '' ? [] : [`Size(${trigger.size})`],
    trigger.commits === 0 ? [] : [`Commits(${trigger.commits})`],
  ].flat();
  return `${trigger.branch} on ${conditions.join(trigger.all ? ' and ' : ' or ')}`;
}

/** Provenance in the order people see it: by repo and branch as bytes. */
export function sortedProvenance(list: readonly CommitProvenance[]): CommitProvenance[] {
  const key = (entry: CommitProvenance): Buffer =>
    Buffer.from(
      `${entry.commit?.repo?.name ?? entry.branch?.repo?.name ?? ''}/${entry.branch?.name ?? ''}`,
    );
  return [...list].sort((a, b) => Buffer.compare(key(a), key(b)));
}
