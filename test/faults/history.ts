/** What happened in etcd, from the first revision on: nothing that was undone later is missed. */
import { NEVER } from '../../core/signals.js';
import { systemClock } from '../../core/clock.js';
import { silentLog } from '../../core/log.js';
import { openMeta } from '../../coordinator/meta/index.js';

/** Key of a commit or job → how often it was written as finished. */
export type Ends = Readonly<Record<string, number>>;

const ENDED = ['SUCCESS', 'FAILURE', 'KILLED'];

/** How often each commit and job of the repo or pipeline was finished, up to now. */
export async function endsOf(etcd: string, name: string): Promise<Ends> {
  await using meta = await openMeta({ endpoints: [etcd], log: silentLog, clock: systemClock });
  const last = 'test/last';
  await meta.transact(
    (t) => {
      t.putJson(last, {});
      return Promise.resolve();
    },
    { signal: NEVER, label: 'the end of the history' },
  );
  const ends: Record<string, number> = {};
  for await (const { puts } of meta.changes('', { signal: NEVER, from: 1 })) {
    for (const { key, value } of puts) {
      if (key === last) return ends;
      if (!key.startsWith(`cm/${name}/`) && !key.startsWith(`job/${name}/`)) continue;
      const record = JSON.parse(value.toString()) as { finished?: number; state?: string };
      if (record.finished === undefined && !ENDED.includes(record.state ?? '')) continue;
      ends[key] = (ends[key] ?? 0) + 1;
    }
  }
  throw new Error('the history of etcd has no end');
}
