/** Bars on a terminal while a command waits for jobs: one per pipeline. */
import { InspectCommitRequest, type Commit } from '../../proto/generated/pfs.js';
import { ListJobRequest, type APIClient, type JobInfo } from '../../proto/generated/pps.js';
import type { Client } from '../client/client.js';
import type { Call } from '../grammar/command.js';
import { LiveLines, pipelineLines } from '../render/progress.js';

const LOOK_MS = 500;

export type Look = () => Promise<readonly JobInfo[]>;

/** Does `work`; meanwhile shows the jobs that `look` finds. Off a terminal it only works. */
export async function withBars<T>(call: Call, look: Look, work: Promise<T>): Promise<T> {
  const { stderr, clock, paint } = call.session;
  if (!stderr.isTTY) return work;
  const live = new LiveLines((text) => void stderr.write(text));
  const over = new AbortController();
  const bars = (async () => {
    while (!over.signal.aborted) {
      // Bars are a favour: what goes wrong with them does not end the wait.
      const jobs = await look().catch(() => []);
      if (over.signal.aborted) return;
      live.show(pipelineLines(jobs, stderr.columns, paint));
      await clock.sleep(LOOK_MS, { signal: over.signal }).catch(() => undefined);
    }
  })();
  try {
    return await work;
  } finally {
    over.abort();
    await bars;
    live.end();
  }
}

/** The items as they come; on a terminal all at the end, with bars until then. */
export async function* streamWithBars<T>(
  call: Call,
  look: Look,
  items: AsyncIterable<T>,
): AsyncGenerator<T> {
  if (!call.session.stderr.isTTY) yield* items;
  else yield* await withBars(call, look, collected(items));
}

async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Looks at the jobs downstream of commits, oldest first; only those since the commits began. */
export function jobsBelow(client: Client, pps: APIClient, commits: readonly Commit[]): Look {
  let since: number | undefined;
  let ids: string[] = [];
  return async () => {
    if (since === undefined) {
      const infos = await Promise.all(
        commits.map((commit) =>
          client.unary(client.pfs.inspectCommit, InspectCommitRequest.fromPartial({ commit })),
        ),
      );
      ids = infos.map((info) => info.commit?.id ?? '');
      since = Math.min(...infos.map((info) => info.started?.seconds ?? 0));
    }
    const request = ListJobRequest.fromPartial({ history: -1, full: true });
    const found: JobInfo[] = [];
    for await (const info of client.stream(pps.listJobStream, request)) {
      if ((info.started?.seconds ?? 0) < since) break;
      found.push(info);
    }
    return below(found.reverse(), ids);
  };
}

/** The jobs that read one of the commits, or the output of such a job; jobs oldest first. */
export function below(jobs: readonly JobInfo[], commits: readonly string[]): JobInfo[] {
  const known = new Set(commits);
  return jobs.filter((job) => {
    const isBelow = inputCommits(job.input).some((id) => known.has(id));
    if (isBelow && job.outputCommit) known.add(job.outputCommit.id);
    return isBelow;
  });
}

function inputCommits(input: JobInfo['input']): string[] {
  if (!input) return [];
  const { pfs, cron, git, cross, union, join, group } = input;
  const own = [pfs?.commit, cron?.commit, git?.commit].filter((id) => id !== undefined);
  return [...own, ...[...cross, ...union, ...join, ...group].flatMap(inputCommits)];
}
