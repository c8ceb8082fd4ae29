/**
 * Log lines of jobs: stored segments first, then what workers have of the tasks in their hands, then,
 * when following, what comes live. A follower subscribes before it reads what is stored, and drops
 * what it has seen by (task, attempt, line), so nothing is missed and nothing is shown twice.
 */
import { BoundedQueue } from '../../core/bounded-queue.js';
import type { Clock } from '../../core/clock.js';
import { childController } from '../../core/signals.js';
import type { LinesRequest, RunningTask } from '../../queue/index.js';
import type { LinesSoFar, LogLine, TaskResult } from '../../queue/messages.js';
import type { ObjectRef, Wait } from '../../storage/types.js';
import { isTerminal, jobKey, jobsOf, type JobRecord } from '../pipelines/model.js';
import { liveLogKey, type LiveLogRecord } from './live/model.js';
import { segmentLines } from './log-segments.js';
import { MASTER_TASK } from './model.js';
import { loadResults } from './results.js';

export interface LogQuery {
  readonly pipeline: string;
  /** Absent: every job of the pipeline. */
  readonly job?: string;
  readonly datum?: string;
  /** Each must equal the path or the hash (base64 or hex) of one of the datum's files. */
  readonly filters: readonly string[];
  /** Only what user code wrote. */
  readonly userOnly?: boolean;
  /** Lines by the job's owner instead of those of datums. */
  readonly master: boolean;
  readonly follow: boolean;
  /** Only the last n lines of what is stored; 0 = all. */
  readonly tail: number;
  /** Only lines at most this old, in ms; 0 = all. */
  readonly sinceMs: number;
}

export interface LogDeps {
  readonly meta: {
    get(key: string, wait: Wait): Promise<{ value: Buffer } | undefined>;
    scan(prefix: string, wait: Wait): AsyncIterable<{ value: Buffer }>;
  };
  readonly storage: {
    getObject(ref: ObjectRef, wait: Wait): Promise<Buffer>;
    getJson<T>(ref: string, wait: Wait): Promise<T>;
  };
  readonly queue: {
    followLogs(pipeline: string, job: string, wait: Wait): AsyncIterable<LogLine>;
    askLines(worker: string, request: LinesRequest, wait: Wait): Promise<LinesSoFar | undefined>;
  };
  readonly clock: Clock;
  /** Tasks of the pipeline (and job) that workers have in their hands. */
  readonly running: (
    of: { readonly pipeline: string; readonly job?: string },
    wait: Wait,
  ) => Promise<(RunningTask & { readonly worker: string })[]>;
  /** What this process knows of a running job beyond its last checkpoint. */
  readonly live: (
    job: JobRecord,
  ) => { results: readonly TaskResult[]; master: readonly LogLine[] } | undefined;
}

const LIVE_LINES_MAX = 10_000;
const JOB_LOOK_MS = 1_000;

/** Lines that match, oldest job first, in order within a task. */
export async function* readLogs(
  deps: LogDeps,
  query: LogQuery,
  wait: Wait,
): AsyncGenerator<LogLine> {
  if (!query.follow) {
    yield* tailed((seen) => allLines(deps, query, seen, wait), query.tail, new Seen());
    return;
  }
  using scope = childController(wait.signal);
  const inner: Wait = { signal: scope.signal };
  const live = new BoundedQueue<LogLine>({ items: LIVE_LINES_MAX });
  const pumps = [pump(deps, query, live, inner), endWithJob(deps, query, live, inner)];
  const seen = new Seen();
  try {
    // What is left out by `tail` counts as seen, too.
    yield* tailed((known) => allLines(deps, query, known, inner), query.tail, seen);
    for await (const line of live.iterate(inner)) {
      if (seen.isNew(line) && matches(line, query, deps.clock)) yield line;
    }
    // The job has ended: what the live stream missed is stored by now.
    yield* storedLines(deps, query, seen, inner);
  } finally {
    scope.abort(new Error('the reader of the log is gone'));
    await Promise.allSettled(pumps);
  }
}

async function pump(
  deps: LogDeps,
  query: LogQuery,
  live: BoundedQueue<LogLine>,
  wait: Wait,
): Promise<void> {
  try {
    for await (const line of deps.queue.followLogs(query.pipeline, query.job ?? '*', wait)) {
      // A slow reader loses live lines; they stay in the stored segments.
      if (live.length < LIVE_LINES_MAX) await live.push(line, wait);
    }
  } catch (error) {
    if (!wait.signal.aborted) live.fail(error);
  }
}

/** Following one job ends with the job; following a pipeline ends with the reader. */
async function endWithJob(
  deps: LogDeps,
  query: LogQuery,
  live: BoundedQueue<LogLine>,
  wait: Wait,
): Promise<void> {
  if (query.job === undefined) return;
  try {
    for (;;) {
      const job = await jobOf(deps, query.pipeline, query.job, wait);
      if (!job || isTerminal(job.state)) break;
      await deps.clock.sleep(JOB_LOOK_MS, wait);
    }
    live.end();
  } catch (error) {
    if (!wait.signal.aborted) live.fail(error);
  }
}

async function* storedLines(
  deps: LogDeps,
  query: LogQuery,
  seen: Seen,
  wait: Wait,
): AsyncGenerator<LogLine> {
  for await (const job of jobs(deps, query, wait)) {
    for await (const line of linesOf(deps, job, query.master, wait)) {
      if (seen.isNew(line) && matches(line, query, deps.clock)) yield line;
    }
  }
  if (query.master) return;
  for await (const line of liveLines(deps, query, wait)) {
    if (seen.isNew(line) && matches(line, query, deps.clock)) yield line;
  }
}

/** What the code of a service or spout wrote, as far as it is stored. */
async function* liveLines(deps: LogDeps, query: LogQuery, wait: Wait): AsyncGenerator<LogLine> {
  const kv = await deps.meta.get(liveLogKey(query.pipeline), wait);
  if (!kv) return;
  const { segments } = JSON.parse(kv.value.toString()) as LiveLogRecord;
  for (const { job, log } of segments) {
    if (query.job === undefined || query.job === job) yield* segmentLines(deps.storage, log, wait);
  }
}

async function* jobs(deps: LogDeps, query: LogQuery, wait: Wait): AsyncGenerator<JobRecord> {
  if (query.job !== undefined) {
    const job = await jobOf(deps, query.pipeline, query.job, wait);
    if (job) yield job;
    return;
  }
  const oldest = query.sinceMs > 0 ? deps.clock.wallMs() - query.sinceMs : 0;
  for await (const kv of deps.meta.scan(jobsOf(query.pipeline), wait)) {
    const job = JSON.parse(kv.value.toString()) as JobRecord;
    if (job.finishedMs === undefined || job.finishedMs >= oldest) yield job;
  }
}

async function* linesOf(
  deps: LogDeps,
  job: JobRecord,
  master: boolean,
  wait: Wait,
): AsyncGenerator<LogLine> {
  const stored = await indexOf(deps, job, wait);
  if (!stored) return;
  if (master) {
    yield* stored.master;
    return;
  }
  const done = new Set<number>();
  for (const result of [...stored.results].sort((a, b) => a.task - b.task)) {
    if (result.log === undefined || done.has(result.task)) continue;
    done.add(result.task);
    for (const ref of [result.log, ...(result.moreLogs ?? [])]) {
      yield* segmentLines(deps.storage, ref, wait);
    }
  }
}

/** Everything there is now: what is stored, then what workers have in their hands. */
async function* allLines(
  deps: LogDeps,
  query: LogQuery,
  seen: Seen,
  wait: Wait,
): AsyncGenerator<LogLine> {
  // Asked first: a task that ends meanwhile is found among the stored ones.
  const { pipeline, job } = query;
  const of = { pipeline, ...(job === undefined ? {} : { job }) };
  const running = query.master ? [] : await deps.running(of, wait);
  yield* storedLines(deps, query, seen, wait);
  let gone = false;
  for (const task of running) {
    for await (const line of linesInHand(deps, task, wait)) {
      if (line === 'gone') gone = true;
      else if (seen.isNew(line) && matches(line, query, deps.clock)) yield line;
    }
  }
  if (gone) yield* storedLines(deps, query, seen, wait);
}

async function* linesInHand(
  deps: LogDeps,
  { worker, job, task, attempt }: RunningTask & { readonly worker: string },
  wait: Wait,
): AsyncGenerator<LogLine | 'gone'> {
  for (let from: number | undefined = 0; from !== undefined;) {
    const request: LinesRequest = { job, task, attempt, from };
    const answer: LinesSoFar | undefined = await deps.queue
      .askLines(worker, request, wait)
      .catch(() => undefined);
    wait.signal.throwIfAborted();
    if (!answer) {
      yield 'gone';
      return;
    }
    if ('segment' in answer) yield* segmentLines(deps.storage, answer.segment, wait);
    else yield* answer.lines;
    from = answer.next;
  }
}

async function indexOf(
  deps: LogDeps,
  job: JobRecord,
  wait: Wait,
): Promise<{ results: readonly TaskResult[]; master: readonly LogLine[] } | undefined> {
  const live = deps.live(job);
  if (live) return live;
  if (job.results === undefined) return undefined;
  const { head, results } = await loadResults(deps.storage, job.results, wait);
  return { results, master: head.master };
}

async function jobOf(
  deps: LogDeps,
  pipeline: string,
  job: string,
  wait: Wait,
): Promise<JobRecord | undefined> {
  const kv = await deps.meta.get(jobKey(pipeline, job), wait);
  return kv && (JSON.parse(kv.value.toString()) as JobRecord);
}

/** Whether a line passes every filter of the query. */
export function matches(line: LogLine, query: LogQuery, clock: Clock): boolean {
  if (query.master !== (line.task === MASTER_TASK)) return false;
  if (query.userOnly && !line.user) return false;
  if (query.job !== undefined && line.job !== query.job) return false;
  if (query.datum !== undefined && line.datum !== query.datum) return false;
  if (query.sinceMs > 0 && line.ts < clock.wallMs() - query.sinceMs) return false;
  return query.filters.every((filter) =>
    (line.data ?? []).some(
      ({ path, hash }) =>
        path === filter ||
        hash === filter ||
        Buffer.from(hash, 'base64').toString('hex') === filter,
    ),
  );
}

/** The lines seen so far: per (job, task, attempt) they come in order, so one number is enough. */
export class Seen {
  readonly #last = new Map<string, number>();

  isNew(line: LogLine): boolean {
    const key = `${line.job}/${line.task}/${line.attempt}/${line.worker}`;
    if (line.line <= (this.#last.get(key) ?? -1)) return false;
    this.#last.set(key, line.line);
    return true;
  }
}

/** Beyond so many lines `tail` counts first and reads again, so that none need to be held. */
const TAIL_HELD_MAX = 10_000;

async function* tailed(
  read: (seen: Seen) => AsyncIterable<LogLine>,
  tail: number,
  seen: Seen,
): AsyncGenerator<LogLine> {
  if (tail <= 0) {
    yield* read(seen);
    return;
  }
  if (tail > TAIL_HELD_MAX) {
    let count = 0;
    for await (const _line of read(new Seen())) count += 1;
    let skip = count - tail;
    for await (const line of read(seen)) {
      skip -= 1;
      if (skip < 0) yield line;
    }
    return;
  }
  const last = new Array<LogLine>(tail);
  let count = 0;
  for await (const line of read(seen)) {
    last[count % tail] = line;
    count += 1;
  }
  for (let at = Math.max(0, count - tail); at < count; at += 1) yield last[at % tail] as LogLine;
}
