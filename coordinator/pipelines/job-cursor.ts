/**
 * Jobs of several pipelines, newest first, without holding them all: a merge of one reverse cursor
 * per pipeline. Job ids sort by time, so a reverse range of `job/<pipeline>/` is newest first.
 */
import type { Wait } from '../../storage/types.js';
import type { Meta } from '../meta/index.js';
import { jobsOf, type JobRecord } from './model.js';

const PAGE = 100;
const PARALLEL = 16;

interface Cursor {
  readonly prefix: string;
  page: JobRecord[];
  at: number;
  /** Last key read; undefined before the first page. */
  last: string | undefined;
  more: boolean;
}

/** Job records of the pipelines named, newest first. */
export async function* newestFirst(
  meta: Meta,
  pipelines: readonly string[],
  wait: Wait,
): AsyncGenerator<JobRecord> {
  const cursors = pipelines.map((name): Cursor => ({
    prefix: jobsOf(name),
    page: [],
    at: 0,
    last: undefined,
    more: true,
  }));
  for (let at = 0; at < cursors.length; at += PARALLEL) {
    await Promise.all(cursors.slice(at, at + PARALLEL).map((cursor) => fill(meta, cursor, wait)));
  }
  for (;;) {
    let best: Cursor | undefined;
    for (const cursor of cursors) {
      const job = cursor.page[cursor.at];
      if (job && (!best || job.id > (best.page[best.at]?.id ?? ''))) best = cursor;
    }
    const job = best?.page[best.at];
    if (!best || !job) return;
    best.at += 1;
    if (best.at === best.page.length) await fill(meta, best, wait);
    yield job;
  }
}

async function fill(meta: Meta, cursor: Cursor, wait: Wait): Promise<void> {
  cursor.page = [];
  cursor.at = 0;
  if (!cursor.more) return;
  const { kvs } = await meta.range(cursor.prefix, {
    ...wait,
    limit: PAGE,
    reverse: true,
    ...(cursor.last === undefined ? {} : { after: cursor.last }),
  });
  cursor.page = kvs.map((kv) => JSON.parse(kv.value.toString()) as JobRecord);
  cursor.last = kvs.at(-1)?.key;
  cursor.more = kvs.length === PAGE;
}
